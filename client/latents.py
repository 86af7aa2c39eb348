"""What a caller does with the latents of `POST /v1/encode`: read them, and hand them to whoever runs the decoder.

vLLM and SGLang take them over HTTP; for transformers see `embeds`. Reading and writing need the standard library alone;
numpy and torch are imported where their arrays are asked for. Nothing here is ever unpickled.
"""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass
from io import BytesIO
from pickle import BINPERSID, BINUNICODE, EMPTY_TUPLE, GLOBAL, LONG1, MARK, NEWFALSE, PROTO, REDUCE, STOP, TUPLE, TUPLE2
from typing import Any
from zipfile import ZipFile, ZipInfo

from .wire_latents import EncodeAnswer

HEADER = 100_000_000  # bytes: the most that the format allows
ALIGNED = 64  # bytes: where the entries of a torch archive begin


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A format of numbers: its bytes, and what `struct`, torch's storages and torch call it."""

    size: int
    code: str
    storage: str
    torch: str


KINDS = {
    "F32": Kind(size=4, code="f", storage="FloatStorage", torch="float32"),
    "F16": Kind(size=2, code="e", storage="HalfStorage", torch="float16"),
    "BF16": Kind(size=2, code="f", storage="BFloat16Storage", torch="bfloat16"),  # to struct a float32, once widened
}


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """Latents under a name: `data` holds [latents, width] numbers of `dtype` row by row, lowest byte first."""

    name: str
    dtype: str
    shape: tuple[int, int]
    data: bytes | memoryview

    def __post_init__(self) -> None:
        if self.dtype not in KINDS:
            raise ValueError(f"tensor {self.name!r} holds {self.dtype!r}; latents are {', '.join(KINDS)}")
        if len(self.shape) != 2 or min(self.shape) < 0:
            raise ValueError(f"tensor {self.name!r} has the shape {self.shape}; latents are [latents, width]")
        if len(self.data) != self.shape[0] * self.shape[1] * KINDS[self.dtype].size:
            raise ValueError(f"tensor {self.name!r} has {len(self.data)} bytes for {self.shape} of {self.dtype}")

    def rows(self) -> list[list[float]]:
        """The numbers, one list per latent."""
        n, width = self.shape
        flat = struct.unpack(f"<{n * width}{KINDS[self.dtype].code}", self._wide())
        return [list(flat[i * width : (i + 1) * width]) for i in range(n)]

    def array(self) -> Any:
        """A numpy array [latents, width], float16 or float32: numpy has no bfloat16, float32 holds all of it."""
        import numpy as np

        return np.frombuffer(self._wide(), "<f2" if self.dtype == "F16" else "<f4").reshape(self.shape)

    def torch(self) -> Any:
        """A torch tensor [latents, width] of its own memory, on the CPU."""
        import torch

        dtype = getattr(torch, KINDS[self.dtype].torch)
        if not len(self.data):
            return torch.empty(self.shape, dtype=dtype)  # frombuffer takes no empty buffer
        return torch.frombuffer(bytearray(self.data), dtype=dtype).reshape(self.shape)

    def _wide(self) -> bytes | bytearray | memoryview:
        if self.dtype != "BF16":
            return self.data
        made = bytearray(2 * len(self.data))  # a bfloat16 is the upper half of a float32
        made[2::4], made[3::4] = self.data[0::2], self.data[1::2]
        return made


@dataclass(frozen=True, kw_only=True)
class Latents:
    """A safetensors answer: tensors by name ("0", "1", … one per document, or "latents"), and its header's metadata."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]

    @property
    def answer(self) -> EncodeAnswer:
        """All else that the service answered; ValueError where the file says nothing of the kind."""
        if "laconic" not in self.metadata:
            raise ValueError("the metadata holds no `laconic`: not an answer of /v1/encode")
        return EncodeAnswer.model_validate_json(self.metadata["laconic"])


def read_safetensors(data: bytes) -> Latents:
    """What a safetensors file holds, its numbers not copied; ValueError says what is wrong with it."""
    length = int.from_bytes(data[:8], "little")
    if length > min(HEADER, len(data) - 8):
        raise ValueError(f"no safetensors file: {length} bytes of header in {len(data)} of file")
    header = parsed(data[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("the metadata must map strings to strings")
    body = memoryview(data).toreadonly()[8 + length :]
    tensors: dict[str, Tensor] = {}
    end = 0
    for begin, stop, name in sorted((*place(name, row), name) for name, row in header.items()):
        if begin != end:
            raise ValueError(f"tensor {name!r} begins at byte {begin}; what comes before it ends at {end}")
        dtype, shape = header[name]["dtype"], tuple(header[name]["shape"])
        tensors[name] = Tensor(name=name, dtype=dtype, shape=shape, data=body[begin:stop])
        end = stop
    if end != len(body):
        raise ValueError(f"the tensors end at byte {end} of {len(body)}")
    return Latents(tensors=tensors, metadata=metadata)


def parsed(header: bytes) -> dict[str, Any]:
    if header[:1] != b"{":
        raise ValueError("the header is not a JSON object")
    try:
        return dict(json.loads(header.decode(), object_pairs_hook=once))
    except (ValueError, RecursionError) as e:
        raise ValueError(f"the header is not JSON: {e}") from None


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A key that comes twice is an error: another reader could take the other one."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key comes twice")
    return made


def place(name: str, row: Any) -> tuple[int, int]:
    """Where in the file's body a tensor begins and ends, in bytes, once its row of the header is seen to be one."""
    if not isinstance(row, dict) or row.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {name!r} needs dtype, shape and data_offsets, nothing else")
    shape, offsets = row["shape"], row["data_offsets"]
    if not isinstance(row["dtype"], str) or not all(
        isinstance(v, list) and all(type(x) is int and x >= 0 for x in v) for v in (shape, offsets)
    ):
        raise ValueError(f"tensor {name!r}: dtype is a string, shape and data_offsets are whole numbers")
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ValueError(f"tensor {name!r}: data_offsets are its first byte and the one after its last")
    return offsets[0], offsets[1]


def torch_bytes(tensor: Tensor) -> bytes:
    """What `torch.save` would write of the tensor; `torch.load(weights_only=True)` reads it."""
    entries = {
        "data.pkl": program(KINDS[tensor.dtype].storage, *tensor.shape),
        ".format_version": b"1",
        ".storage_alignment": str(ALIGNED).encode(),
        "byteorder": b"little",
        "data/0": tensor.data,
        "version": b"3\n",
    }
    out = BytesIO()
    with ZipFile(out, "w") as archive:
        for name, content in entries.items():
            entry = ZipInfo(f"archive/{name}")
            # 30 bytes of header, the name, and an extra field (a sign, its length, its content) that fills up
            gap = -(out.tell() + 30 + len(entry.filename) + 4) % ALIGNED
            entry.extra = b"FB" + gap.to_bytes(2, "little") + bytes(gap)
            archive.writestr(entry, content)
    return out.getvalue()


def program(storage: str, n: int, width: int) -> bytes:
    """The pickle program that makes the tensor: torch's function, called with a storage and how to look at it."""
    steps = (
        *(PROTO, b"\2", called("torch._utils", "_rebuild_tensor_v2"), MARK),
        *(MARK, word("storage"), called("torch", storage), word("0"), word("cpu"), number(n * width), TUPLE, BINPERSID),
        *(number(0), number(n), number(width), TUPLE2, number(width), number(1), TUPLE2),  # offset, shape, strides
        *(NEWFALSE, called("collections", "OrderedDict"), EMPTY_TUPLE, REDUCE),  # wants no gradient, has no hooks
        *(TUPLE, REDUCE, STOP),
    )
    return b"".join(steps)


def called(module: str, name: str) -> bytes:
    return GLOBAL + f"{module}\n{name}\n".encode()


def word(text: str) -> bytes:
    return BINUNICODE + struct.pack("<I", len(text)) + text.encode()


def number(n: int) -> bytes:
    return LONG1 + b"\x08" + n.to_bytes(8, "little")


def tensor(given: Any) -> Tensor:
    """Latents as a `Tensor`: one already, a torch tensor [n, width] or [1, n, width], or rows of numbers."""
    if isinstance(given, Tensor):
        return given
    if not hasattr(given, "detach"):
        rows = [[float(v) for v in row] for row in given]
        if not rows or any(len(r) != len(rows[0]) for r in rows):
            raise ValueError("rows of numbers: at least one, and all of one width")
        data = b"".join(struct.pack(f"<{len(r)}f", *r) for r in rows)
        return Tensor(name="latents", dtype="F32", shape=(len(rows), len(rows[0])), data=data)
    import torch

    held = given.detach().cpu()
    held = held[0] if held.dim() == 3 and len(held) == 1 else held
    dtype = next((k for k, v in KINDS.items() if getattr(torch, v.torch) == held.dtype), str(held.dtype))
    data = held.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return Tensor(name="latents", dtype=dtype, shape=tuple(held.shape), data=data)


def filled(given: Any) -> Tensor:
    """Refuses what has no rows: no decoder goes on from nothing."""
    found = tensor(given)
    if not found.shape[0]:
        raise ValueError(f"tensor {found.name!r} is empty")
    return found


def encoded(given: Any) -> str:
    """Latents as vLLM takes them: base64 of a saved torch tensor. What is a string is taken to be that already."""
    return given if isinstance(given, str) else base64.b64encode(torch_bytes(filled(given))).decode()


def one_or_all(prompts: list[Any]) -> Any:
    if not prompts:
        raise ValueError("no prompt")
    return prompts if len(prompts) > 1 else prompts[0]


def vllm_completion(model: str, *prompts: Any, **options: Any) -> dict[str, Any]:
    """The body of vLLM's `POST /v1/completions`, for a server started with `--enable-prompt-embeds`.

    vLLM applies no chat template here: each prompt is all that the decoder reads, as `chat_embeds` makes it.
    """
    return {"model": model, "prompt_embeds": one_or_all([encoded(p) for p in prompts]), **options}


def vllm_chat_part(latents: Any) -> dict[str, str]:
    """A part of a message's `content` for vLLM's `POST /v1/chat/completions`, beside parts of text.

    The server applies the chat template around it: it holds the latents alone. Where a template takes strings, vLLM
    puts a newline between parts.
    """
    return {"type": "prompt_embeds", "data": encoded(latents)}


def sglang_body(*prompts: Any, sampling_params: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """The body of SGLang's `POST /generate`, for a server started with `--disable-radix-cache`; prompts are whole."""
    embeds = one_or_all([filled(p).rows() for p in prompts])
    return {"input_embeds": embeds, "sampling_params": sampling_params or {}, **options}
