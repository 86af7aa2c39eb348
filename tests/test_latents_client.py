"""Latents at a caller's: read from a file, written for torch, let in by vLLM's own checks, spliced into a decoder."""

from __future__ import annotations

import base64
import json
import re
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pickletools import genops
from typing import Any
from zipfile import ZipFile

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from laconic.client.embeds import chat_embeds, inputs_embeds
from laconic.client.latents import (
    KINDS,
    Tensor,
    read_safetensors,
    sglang_body,
    tensor,
    torch_bytes,
    vllm_chat_part,
    vllm_completion,
)
from laconic.client.wire_latents import EncodeAnswer, EncodeRequest, ExpandAnswer, ExpandRequest
from laconic.models.catalogue import EMBEDDED

from .needs import RANK, TORCH

WIDTH, POSITIONS, BYTES = 8, 32, 4096  # of the decoder behind the stub: numbers, tokens, bytes of one prompt
ANSWER = {
    "id": "r1",
    "model": {"name": "laconic-soft", "revision": "1", "profile": "cpu-int8"},
    "decoder": "laconic-lm",
    "rate": 4,
    "dtype": "float16",
    "width": WIDTH,
    "before": "<memory>",
    "after": "</memory>",
    "documents": [{"id": "a", "latents": 3, "tokens_in": 12, "segments": [[0, 40, 0, 3, 12]], "cached": "0/1"}],
    "usage": {"tokens_in": 12, "latents": 3, "rate": 4.0, "segments": 1, "cache_hits": 0, "compute_ms": 1.5},
    "warnings": [],
}


def made(dtype: str, n: int, width: int = WIDTH, name: str = "0") -> Tensor:
    """Numbers that every format holds exactly: halves from -64 to 63."""
    values = (np.arange(n * width) % 128 - 64).astype("<f4") / 2
    data = values.astype("<f2").tobytes() if dtype == "F16" else values.tobytes()
    if dtype == "BF16":
        data = (values.view("<u4") >> 16).astype("<u2").tobytes()
    return Tensor(name=name, dtype=dtype, shape=(n, width), data=data)


def file_of(header: Any, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def saved(tensors: list[Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """A safetensors file, written by what the format says."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata is not None else {}
    body = b""
    for t in tensors:
        ends = [len(body), len(body) + len(t.data)]
        header[t.name] = {"dtype": t.dtype, "shape": list(t.shape), "data_offsets": ends}
        body += t.data
    return file_of(header, body)


# reading


@given(st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.integers(0, 5), st.integers(0, 9)), max_size=4))
def test_files_come_back(shapes: list[tuple[str, int, int]]) -> None:
    """Every tensor of a file is read as it was written, in every format, with its numbers."""
    tensors = [made(d, n, width, str(i)) for i, (d, n, width) in enumerate(shapes)]
    found = read_safetensors(saved(tensors, {"laconic": json.dumps(ANSWER)}))
    assert found.tensors == {t.name: t for t in tensors}
    for t in found.tensors.values():
        n, width = t.shape
        wanted = ((np.arange(n * width) % 128 - 64) / 2).reshape(n, width)
        assert t.array().dtype == (np.float16 if t.dtype == "F16" else np.float32)
        assert np.array_equal(t.array(), wanted)
        assert t.rows() == wanted.tolist()
    assert found.answer == EncodeAnswer.model_validate(ANSWER)


def test_the_librarys_files_are_read() -> None:
    """What the safetensors library writes is read to the bit, bfloat16 and empty tensors included."""
    torch = pytest.importorskip("torch", reason=TORCH)
    save = pytest.importorskip("safetensors.torch", reason=TORCH).save
    kinds = {"0": torch.float16, "1": torch.bfloat16, "2": torch.float32, "3": torch.float16}
    given = {k: torch.randn(0 if k == "3" else 5, WIDTH).to(d) for k, d in kinds.items()}
    found = read_safetensors(save(given, {"laconic": "{}"}))
    assert found.tensors.keys() == given.keys()
    assert all(torch.equal(found.tensors[k].torch(), t) for k, t in given.items())
    load = pytest.importorskip("safetensors.torch", reason=TORCH).load
    assert all(torch.equal(v, given[k]) for k, v in load(saved(list(found.tensors.values()))).items())


ROW = {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]}
EIGHT = bytes(8)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no safetensors file"),
        (bytes(7), "no safetensors file"),
        (b"\xff" * 8, "18446744073709551615 bytes of header in 8"),
        (file_of({})[:-1], "2 bytes of header in 9"),
        (file_of(b""), "not a JSON object"),
        (file_of(b"[]"), "not a JSON object"),
        (file_of(b" {}"), "not a JSON object"),
        (file_of(b"{\xff}"), "not JSON"),
        (file_of(b"{'a': 1}"), "not JSON"),
        (file_of(b'{"a": ' + b"[" * 100_000), "not JSON"),
        (file_of(b'{"a": 1, "a": 1}'), "a key comes twice"),
        (file_of({"__metadata__": 1}), "strings to strings"),
        (file_of({"__metadata__": {"laconic": 1}}), "strings to strings"),
        (file_of({}, b"x"), "end at byte 0 of 1"),
        (file_of({"0": ROW}), "0 bytes for"),
        (file_of({"0": ROW}, bytes(9)), "end at byte 8 of 9"),
        (file_of({"0": ROW, "1": ROW}, EIGHT), "'1' begins at byte 0; what comes before it ends at 8"),
        (file_of({"0": ROW | {"data_offsets": [1, 9]}}, bytes(9)), "'0' begins at byte 1"),
        (file_of({"0": ROW | {"data_offsets": [0, 16]}}, EIGHT), "end at byte 16 of 8"),
        (file_of({"0": ROW | {"data_offsets": [8, 0]}}, EIGHT), "first byte"),
        (file_of({"0": ROW | {"data_offsets": [0]}}, EIGHT), "first byte"),
        (file_of({"0": ROW | {"data_offsets": [-1, 7]}}, EIGHT), "whole numbers"),
        (file_of({"0": ROW | {"shape": [1, 2.0]}}, EIGHT), "whole numbers"),
        (file_of({"0": ROW | {"shape": [True, 2]}}, EIGHT), "whole numbers"),
        (file_of({"0": ROW | {"shape": [2**62, 2**62]}}, EIGHT), "8 bytes for"),
        (file_of({"0": ROW | {"shape": [2]}}, EIGHT), "shape"),
        (file_of({"0": ROW | {"shape": []}}, EIGHT), "shape"),
        (file_of({"0": ROW | {"dtype": "I32"}}, EIGHT), "holds 'I32'"),
        (file_of({"0": ROW | {"dtype": ["F32"]}}, EIGHT), "dtype is a string"),
        (file_of({"0": ROW | {"more": 1}}, EIGHT), "nothing else"),
        (file_of({"0": [ROW]}, EIGHT), "nothing else"),
    ],
)
def test_broken_files_are_named(data: bytes, message: str) -> None:
    """Each thing that can be wrong with a file is told from the others."""
    with pytest.raises(ValueError, match=message):
        read_safetensors(data)


def test_an_answer_is_wanted() -> None:
    """A file of somebody else's has tensors but no answer, and a broken answer is no answer."""
    with pytest.raises(ValueError, match="not an answer"):
        read_safetensors(saved([made("F16", 1)])).answer  # noqa: B018
    with pytest.raises(ValueError, match="width"):
        read_safetensors(saved([], {"laconic": "{}"})).answer  # noqa: B018


def read(data: bytes) -> None:
    """Reads or refuses; anything but ValueError is a failure."""
    try:
        for t in read_safetensors(data).tensors.values():
            t.rows()
    except ValueError:
        pass


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(sorted(KINDS)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
NUMBERS = st.lists(st.integers(-1, 20) | VALUES, max_size=3) | VALUES
ROWS = st.fixed_dictionaries(
    {"dtype": st.sampled_from(sorted(KINDS)) | VALUES, "shape": NUMBERS, "data_offsets": NUMBERS}
)
HEADERS = st.dictionaries(st.sampled_from(["0", "1", "__metadata__"]) | st.text(max_size=3), ROWS | VALUES, max_size=3)


@given(HEADERS, st.binary(max_size=40))
def test_any_header_is_read_or_refused(header: Any, body: bytes) -> None:
    """JSON of any shape where the header should be: read, or a ValueError."""
    read(file_of(header, body))


@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 3), st.booleans())
def test_any_bytes_are_read_or_refused(noise: bytes, at: int, cut: int, whole: bool) -> None:
    """Noise, with a sane length or without, and a good file with noise in it: read, or a ValueError."""
    good = saved([made("F16", 2), made("BF16", 1, name="1")], {"laconic": "{}"})
    read(noise if whole else file_of(noise))
    read(good[:at] + noise + good[at + cut :])


# writing for torch


def entries(data: bytes) -> dict[str, bytes]:
    """What an archive holds, less the name that torch gives each file it writes."""
    with ZipFile(BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {n: archive.read(n) for n in archive.namelist() if not n.endswith("serialization_id")}


def steps(program: bytes) -> list[Any]:
    """A pickle program by what it does: numbers alike however they are written, and without what it remembers."""
    found = [(op.name, arg) for op, arg, _ in genops(program) if op.name != "BINPUT"]
    return [arg if isinstance(arg, int) and name != "PROTO" else (name, arg) for name, arg in found]


@pytest.mark.parametrize("dtype", sorted(KINDS))
@pytest.mark.parametrize("shape", [(0, 8), (1, 1), (3, 8), (700, 5), (2, 0)])
def test_torch_loads_what_we_write(dtype: str, shape: tuple[int, int]) -> None:
    """`torch.load(weights_only=True)` gives the tensor, and the archive is that of `torch.save`, entry by entry."""
    torch = pytest.importorskip("torch", reason=TORCH)
    ours = made(dtype, *shape)
    found = torch.load(BytesIO(torch_bytes(ours)), weights_only=True)
    assert found.dtype == getattr(torch, KINDS[dtype].torch)
    assert found.is_contiguous() and torch.equal(found, ours.torch()) and found.tolist() == ours.rows()
    assert tensor(found) == tensor(found[None]) == Tensor(name="latents", dtype=dtype, shape=shape, data=ours.data)
    theirs = BytesIO()
    torch.save(found, theirs)
    a, b = entries(torch_bytes(ours)), entries(theirs.getvalue())
    assert steps(a.pop("archive/data.pkl")) == steps(b.pop("archive/data.pkl"))
    assert a == b


def test_numbers_begin_where_they_may_be_mapped() -> None:
    """Each entry's content begins at a multiple of 64 bytes, as torch's own do."""
    data = torch_bytes(made("F32", 3))
    with ZipFile(BytesIO(data)) as archive:
        for entry in archive.infolist():
            at = entry.header_offset
            name, extra = struct.unpack("<HH", data[at + 26 : at + 30])
            assert (at + 30 + name + extra) % 64 == 0


def test_a_file_is_read_and_written_without_numpy_or_torch() -> None:
    """The base install has neither: from a file's bytes to each server's body takes the standard library."""
    script = """
import sys
sys.modules.update(dict.fromkeys(["numpy", "torch", "safetensors", "transformers"]))  # importing them raises
from laconic.client.latents import read_safetensors, sglang_body, vllm_chat_part, vllm_completion

for t in read_safetensors(sys.stdin.buffer.read()).tensors.values():
    print(len(str((sglang_body(t), vllm_chat_part(t), vllm_completion("m", t, t)))) > 1000)
"""
    sent = saved([made(d, 2, name=d) for d in KINDS])
    run = subprocess.run([sys.executable, "-c", script], input=sent, capture_output=True, check=True)
    assert run.stdout.split() == [b"True"] * 3


def test_tensors_are_checked() -> None:
    """Rows of numbers are float32; what is ragged, empty, of other numbers or of other sizes is refused."""
    torch = pytest.importorskip("torch", reason=TORCH)
    assert tensor([[1, 2.5], [0, -3]]).rows() == [[1.0, 2.5], [0.0, -3.0]]
    for wrong in ([], [[1.0], [1.0, 2.0]], torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.long), torch.zeros(3)):
        with pytest.raises(ValueError, match=r"rows of numbers|shape|int64"):
            tensor(wrong)
    with pytest.raises(ValueError, match="5 bytes"):
        Tensor(name="0", dtype="F16", shape=(1, 2), data=bytes(5))
    rows = tensor(torch.arange(12, dtype=torch.float32).reshape(3, 4).T)  # columns side by side in memory
    assert rows.rows()[1] == [1.0, 5.0, 9.0]


# over a socket, to a server that checks as vLLM and SGLang do


def admitted(text: str, answer: int) -> Any:
    """A prompt [n, width] that leaves room for `answer` tokens, by vLLM's steps; ValueError where it refuses."""
    import torch

    raw = base64.b64decode(text, validate=True)
    with torch.sparse.check_sparse_tensor_invariants():
        try:
            found = torch.load(BytesIO(raw), weights_only=True, map_location=torch.device("cpu"))
        except Exception as e:
            raise ValueError("could not be deserialized as a torch tensor") from e
        if not isinstance(found, torch.Tensor):
            raise ValueError("did not deserialize to a torch.Tensor")
        if found.dtype not in (torch.float32, torch.bfloat16, torch.float16):
            raise ValueError(f"dtype {found.dtype} is not a floating-point type")
        if (size := found.numel() * found.element_size()) > BYTES:
            raise ValueError(f"would allocate {size} bytes")
        found = found.to_dense()
    if found.dim() > 2:
        found = found.squeeze(0)
    if found.dim() != 2:
        raise ValueError(f"must be a 2D tensor; got shape {tuple(found.shape)}")
    if found.shape[1] != WIDTH:
        raise ValueError(f"hidden_size {found.shape[1]} does not match")
    if not len(found):
        raise ValueError("the decoder prompt cannot be empty")
    if len(found) > POSITIONS - answer:
        raise ValueError(f"{len(found)} input tokens for a context of {POSITIONS}")
    return found.float().tolist()


def completion(body: dict[str, Any]) -> list[Any]:
    prompts = body.get("prompt_embeds")
    if not prompts:
        raise ValueError("Either prompt or prompt_embeds must be provided and non-empty.")
    return [admitted(p, body.get("max_tokens", 16)) for p in (prompts if isinstance(prompts, list) else [prompts])]


def chat(body: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    for part in (p for m in body["messages"] for p in m["content"]):
        if part["type"] == "text":
            if "<prompt_embeds>" in part["text"]:
                raise ValueError("Text content may not contain the reserved placeholder")
            found.append(part["text"])
        elif part["type"] == "prompt_embeds":
            if not part.get("data"):
                raise ValueError("requires a non-empty `data` field")
            found.append(admitted(part["data"], body.get("max_tokens", 0)))
        else:
            raise ValueError(f"Unsupported chat content part type: {part['type']!r}")
    return found


def generate(body: dict[str, Any]) -> list[Any]:
    """SGLang tells one prompt from several by its first number."""
    embeds = body["input_embeds"]
    prompts = [embeds] if isinstance(embeds[0][0], float) else embeds
    if not all(isinstance(v, float) and len(row) == WIDTH for p in prompts for row in p for v in row):
        raise ValueError("input_embeds must be floats of the model's width")
    return prompts


class Door(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        route = {"/v1/completions": completion, "/v1/chat/completions": chat, "/generate": generate}[self.path]
        try:
            status, answer = 200, {"read": route(body)}
        except ValueError as e:
            status, answer = 400, {"error": str(e)}
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def door() -> Iterator[str]:
    """The address of a stand-in for vLLM and SGLang."""
    pytest.importorskip("torch", reason=TORCH)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@pytest.mark.parametrize("dtype", sorted(KINDS))
def test_vllm_takes_completions(door: str, dtype: str) -> None:
    """One prompt or several, as read from a file, as a torch tensor of three dimensions, or as the service sent it."""
    ours = made(dtype, 5)
    sent = base64.b64encode(torch_bytes(ours)).decode()
    for body, n in (
        (vllm_completion("m", ours, max_tokens=4), 1),
        (vllm_completion("m", ours.torch()[None], sent, ours.rows(), max_tokens=4, temperature=0), 3),
    ):
        assert body["model"] == "m" and body["max_tokens"] == 4
        assert isinstance(body["prompt_embeds"], str if n == 1 else list)
        answer = httpx.post(f"{door}/v1/completions", json=body)
        assert (answer.status_code, answer.json()) == (200, {"read": [ours.rows()] * n})


def test_vllm_takes_parts_of_a_chat(door: str) -> None:
    """Latents stand among a message's texts."""
    ours = made("BF16", 5)
    content = [{"type": "text", "text": "Who signed?"}, vllm_chat_part(ours), {"type": "text", "text": "Be brief."}]
    body = {"model": "m", "messages": [{"role": "user", "content": content}]}
    answer = httpx.post(f"{door}/v1/chat/completions", json=body)
    assert answer.json() == {"read": ["Who signed?", ours.rows(), "Be brief."]}


def torch_saved(value: Any) -> str:
    import torch

    out = BytesIO()
    torch.save(value, out)
    return base64.b64encode(out.getvalue()).decode()


def test_the_door_refuses_what_vllm_refuses(door: str) -> None:
    """The stand-in is no open door: each of vLLM's checks refuses what it is there for."""
    import torch

    good = torch.zeros(5, WIDTH)
    reach = torch.sparse_coo_tensor([[9], [9]], [1.0], (5, WIDTH), check_invariants=False)
    for sent, said in (
        ("", "non-empty"),
        ("not base64!", "(?i)base64|padding"),
        (base64.b64encode(b"no archive").decode(), "deserialized"),
        (torch_saved(good)[:-400], "deserialized"),
        (torch_saved({"a": good}), "did not deserialize to a torch.Tensor"),
        (torch_saved(reach), "deserialized"),
        (torch_saved(good.long()), "floating-point"),
        (torch_saved(good[0]), "2D"),
        (torch_saved(good[None, None]), "2D"),
        (torch_saved(good[:, 1:].clone()), "hidden_size 7"),
        (torch_saved(good[:0].clone()), "empty"),
        (base64.b64encode(torch_bytes(made("F16", 0))).decode(), "empty"),
        (base64.b64encode(torch_bytes(made("F16", POSITIONS))).decode(), "input tokens"),
        (base64.b64encode(torch_bytes(made("F32", 200))).decode(), "would allocate 6400 bytes"),
    ):
        answer = httpx.post(f"{door}/v1/completions", json=vllm_completion("m", sent))
        assert answer.status_code == 400
        assert re.search(said, answer.json()["error"])


def test_sglang_takes_rows(door: str) -> None:
    """One prompt or several, as lists of floats even where they are whole numbers."""
    a, b = made("F16", 4), made("BF16", 2)
    for body, wanted in (
        (sglang_body(a, sampling_params={"max_new_tokens": 8}), [a.rows()]),
        (sglang_body(a.torch(), b, [[1] * WIDTH], stream=False), [a.rows(), b.rows(), [[1.0] * WIDTH]]),
    ):
        answer = httpx.post(f"{door}/generate", json=body)
        assert (answer.status_code, answer.json()) == (200, {"read": wanted})
    assert sglang_body(a)["sampling_params"] == {}


def test_nothing_is_not_sent() -> None:
    """A prompt that no server would take is refused before it is sent."""
    for make in (sglang_body, lambda *p: vllm_completion("m", *p)):
        for prompts, said in (((), "no prompt"), ((made("F16", 1), made("F16", 0)), "'0' is empty")):
            with pytest.raises(ValueError, match=said):
                make(*prompts)
    with pytest.raises(ValueError, match="empty"):
        vllm_chat_part(made("F16", 0))


# in process, in the embedded language model

TEMPLATE = "{% for m in messages %}[CLS] {{ m.role }} : {{ m.content }} [SEP] {% endfor %}"
TEMPLATE += "{% if add_generation_prompt %}assistant : {% endif %}"


@pytest.fixture(scope="module")
def decoder() -> tuple[Any, Any]:
    """The model and its tokenizer, both transformers' own classes."""
    pytest.importorskip("torch", reason=TORCH)
    transformers = pytest.importorskip("transformers", reason=RANK)
    from laconic.models.lm_hf import hf_model

    folder = EMBEDDED / "laconic-lm"
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    tokenizer.chat_template = TEMPLATE
    return hf_model(folder / "lm.int8.onnx"), tokenizer


def test_embeddings_of_text_are_the_text(decoder: tuple[Any, Any]) -> None:
    """Where the latents are the embeddings of a text, the model says what it says of the text's ids."""
    import torch

    model, tokenizer = decoder
    before, middle, after = "It rained all day.", "The treaty was signed by Ada", "in Paris . Lunch was good."
    ids = [tokenizer(t, add_special_tokens=False)["input_ids"] for t in (before, middle, after)]
    whole = [*ids[0], *ids[1], *ids[2]]
    table = model.get_input_embeddings().weight
    latents = tensor(table[ids[1]])  # through bytes and back
    with torch.no_grad():
        wanted = model(torch.tensor([whole])).logits
        for head, tail in ((before, after), (ids[0], ids[2])):
            ready = inputs_embeds(model, tokenizer, head, latents, tail)
            assert ready["inputs_embeds"].shape == (*ready["attention_mask"].shape, table.shape[1])
            assert torch.equal(model(**ready).logits, wanted)
        bare = inputs_embeds(model, tokenizer, "", table[whole], [])
        assert torch.equal(model(**bare).logits, wanted)
    assert ready["attention_mask"].all() and ready["inputs_embeds"].dtype == model.dtype


def test_latents_stand_in_a_chat(decoder: tuple[Any, Any]) -> None:
    """The template is applied first; the placeholder gives way to the latents, and the rest is the model's own."""
    import torch

    pytest.importorskip("jinja2")
    model, tokenizer = decoder
    table = model.get_input_embeddings().weight
    latents = tensor(torch.randn(3, table.shape[1]).half())
    chat = [{"role": "user", "content": "read <|latents|> : who signed ?"}]
    ready = chat_embeds(model, tokenizer, chat, latents)["inputs_embeds"]
    head, tail = (
        tokenizer(t, add_special_tokens=False)["input_ids"]
        for t in ("[CLS] user : read ", " : who signed ? [SEP] assistant : ")
    )
    assert torch.equal(ready[0, len(head) : len(head) + 3], latents.torch().to(ready.dtype))
    assert torch.equal(ready[0, : len(head)], table[head]) and torch.equal(ready[0, len(head) + 3 :], table[tail])
    shorter = chat_embeds(model, tokenizer, chat, latents, add_generation_prompt=False)["inputs_embeds"]
    assert shorter.shape[1] < ready.shape[1]
    answer = model.generate(inputs_embeds=ready, attention_mask=torch.ones(ready.shape[:2]), max_new_tokens=2)
    assert answer.shape == (1, 2)


def test_what_cannot_be_spliced_is_refused(decoder: tuple[Any, Any]) -> None:
    """Latents made for another decoder, and chats that name no place for them or several."""
    pytest.importorskip("jinja2")
    model, tokenizer = decoder
    width = model.config.hidden_size
    with pytest.raises(ValueError, match=f"latents of width 8 for a decoder of width {width}"):
        inputs_embeds(model, tokenizer, "a", made("F16", 2), "b")
    for text, n in (("no place", 0), ("<|latents|> and <|latents|>", 2)):
        with pytest.raises(ValueError, match=f"comes {n} times"):
            chat_embeds(model, tokenizer, [{"role": "user", "content": text}], made("F16", 2, width))


# the contract

T = {"text": "Some text here."}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"documents": [{"text": "a"}], "text": "b"},
        {**T, "rate": 0},
        {**T, "rate": 65},
        {**T, "rate": 1.5},
        {**T, "dtype": "int8"},
        {**T, "format": "pickle"},
        {**T, "colour": "red"},
        {**T, "model": ""},
        {**T, "timeout_ms": 0},
        {"text": "a\ud800"},
        {"documents": [{"text": "a", "budget": {"rate": 0.5}}]},
        {"documents": [{"text": "a", "compress": False}]},
        {"documents": [{"text": "a", "metadata": {"x": float("nan")}}]},
    ],
)
def test_bad_encode_requests_are_refused(body: dict[str, Any]) -> None:
    """What /v1/encode cannot do is refused, not passed over."""
    with pytest.raises(ValidationError):
        EncodeRequest.model_validate(body)


def test_what_is_left_out_of_a_request() -> None:
    """A text alone asks for a file of halves, four tokens to a latent."""
    body = EncodeRequest.model_validate(T)
    assert (body.model, body.decoder, body.rate, body.join) == ("laconic-soft", None, 4, False)
    assert (body.dtype, body.format, body.timeout_ms) == ("float16", "safetensors", None)


def test_expansion_is_by_name() -> None:
    """Segments are asked for by their hash, at most a thousand at a time; a forgotten one has no text."""
    name = "0123456789abcdef" * 4
    assert ExpandRequest(ids=[name] * 1000).ids[0] == name
    for wrong in ([], [name] * 1001, [name[1:]], [name.upper()], [name + "\n"], ["../" + name]):
        with pytest.raises(ValidationError):
            ExpandRequest(ids=wrong)
    answer = {"segments": [{"id": name, "text": "kept"}, {"id": name}]}
    assert ExpandAnswer.model_validate(answer).model_dump(exclude_none=True) == answer
