"""Published families of soft compressors: latents are their own code's, and folders that are wrong are refused.

`tests/data/soft-lclm.safetensors` and `soft-arc.safetensors` hold weights drawn at random and what the families' own
code made of them in fp32 on a CPU, one text at a time: LCLM at commit e04ceb9, its adapter's attention left in fp32 and
without the mask that flash attention alone takes; ARC-Encoder at 3e04c97, its block-diagonal attention a dense mask.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from laconic.models import Card, Catalogue, LatentInput, ModelError, ModelInput, load_model, load_tokenizer
from laconic.models.card import CardError
from laconic.models.hf import applies, digested, read_card

from .needs import RANK, TORCH

torch = pytest.importorskip("torch", reason=TORCH)
transformers = pytest.importorskip("transformers", reason=RANK)

from safetensors.torch import load_file, save_file  # noqa: E402

from laconic.models.soft import lclm  # noqa: E402
from laconic.models.soft.backend import SoftBackend, open_soft  # noqa: E402
from laconic.models.soft.checks import held  # noqa: E402

DATA = Path(__file__).parent / "data"
LCLM, ARC = load_file(str(DATA / "soft-lclm.safetensors")), load_file(str(DATA / "soft-arc.safetensors"))
CLOSE = 1e-5
ENCODER = {
    **{"model_type": "qwen3", "architectures": ["Qwen3Model"], "vocab_size": 64, "hidden_size": 16},
    **{"intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2},
    **{"head_dim": 8, "max_position_embeddings": 64, "rope_theta": 10000.0, "rms_norm_eps": 1e-6},
    **{"tie_word_embeddings": True, "attention_bias": False},
}
DECODER = ENCODER | {"architectures": ["Qwen3ForCausalLM"], "hidden_size": 24, "intermediate_size": 40, "head_dim": 6}
LCLM_CASES = [tuple(name.split(".")[1:]) for name in LCLM if name.startswith("latents.")]
ARC_CASES = [tuple(name.split(".")[1:]) for name in ARC if name.startswith("latents.")]
ARC_CONFIG = {  # as the hub's mixin writes it
    "bridge_args": {"bridge_type": "mlp", "in_dim": 16, "hidden_dim": 12, "out_dim": 20},
    "embedder_args": {
        **{"causal_embedder": False, "cont_tok": True, "rec_tok": True, "n_truncated_layers": 1},
        **{"compress_rates": [-8], "pooling_module": {"pool_type": "mean_pooled_queries", "where": "before"}},
    },
    "embedder": None,
    "empty_init": 1,
    "llms": [],
    "model_args": {
        **{"dim": 16, "n_layers": 4, "head_dim": 8, "hidden_dim": 24, "n_heads": 4, "n_kv_heads": 2},
        **{"norm_eps": 1e-5, "vocab_size": 64, "rope_theta": 500000.0, "max_batch_size": 1},
    },
}
ARC_CHANGES: dict[str, dict[str, dict[str, Any]]] = {
    "multi": {"bridge_args": {"bridge_type": "multi_module"}},
    "linear": {"bridge_args": {"bridge_type": "linear"}},
    "rms": {"bridge_args": {"bridge_type": "rms"}},
    "none": {"bridge_args": {"bridge_type": None}},
    "plain": {"embedder_args": {"cont_tok": False, "rec_tok": False}},
    "twice": {"embedder_args": {"compress_rates": [-2, -3]}},
}
TOKENIZER = {
    "version": "1.0",
    "added_tokens": [{"id": 3, "content": "<pad>", "special": True}],
    "model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "c": 2, "<pad>": 3}, "unk_token": "a"},
}


def write(path: Path, found: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found))


def tokenizer(path: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, models

    made = Tokenizer(models.WordLevel(TOKENIZER["model"]["vocab"], unk_token="a"))
    made.add_special_tokens([AddedToken("<pad>")])
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save(str(path))


def under(found: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in found.items() if k.startswith(prefix)}


def lclm_folder(folder: Path, pooling: str = "mean", adapter: str = "mlp", mask: str = "bidirectional") -> Path:
    """A checkpoint in LCLM's layout."""
    config = {"compression_ratio": 4, "encoder_window_size": 16, "pooling": pooling, "encoder_mask_type": mask}
    layers = {"num_adapter_layers": 2 if adapter == "attn_mlp" else 1} if adapter != "mlp" else {}
    write(folder / "model_config.json", config | {"boundary_overlap": 8, "adapter_type": adapter} | layers)
    write(folder / "encoder" / "config.json", ENCODER)
    write(folder / "encoder" / "tokenizer_config.json", {"pad_token": "<pad>"})
    write(folder / "decoder" / "config.json", DECODER)
    tokenizer(folder / "encoder" / "tokenizer.json")
    (folder / "adapter").mkdir()
    save_file(under(LCLM, "encoder."), str(folder / "encoder" / "model.safetensors"), {"format": "pt"})
    kind = "concat" if pooling == "concat" else "plain"
    save_file(under(LCLM, f"adapter.{adapter}.{kind}."), str(folder / "adapter" / "adapter.safetensors"))
    return folder


def arc_folder(folder: Path, case: str = "mlp") -> Path:
    """A checkpoint in ARC-Encoder's layout."""
    config = json.loads(json.dumps(ARC_CONFIG)) | ({"empty_init": 2} if case == "multi" else {})
    for name, changes in ARC_CHANGES.get(case, {}).items():
        config[name] |= changes
    write(folder / "config.json", config)
    tokenizer(folder / "tokenizer.json")
    own = {k: v for k, v in ARC.items() if k.startswith("embedder.") and (case == "multi" or "cont_tok.1" not in k)}
    own |= under(ARC, f"{case}.")
    save_file(own, str(folder / "model.safetensors"))
    return folder


def opened(folder: Path) -> SoftBackend:
    return open_soft(digested(folder), folder, "cpu", "float32")


def texts(ids: Any, lengths: tuple[int, ...], rate: int, decoder: str = "") -> list[LatentInput]:
    parts = ids.split(lengths)
    return [LatentInput(ids=tuple(p.tolist()), rate=rate, decoder=decoder) for p in parts]


def lclm_texts() -> list[LatentInput]:
    return texts(LCLM["ids"], (1, 3, 4, 9, 16), 4)


def arc_texts(rate: int = 8, decoder: str = "") -> list[LatentInput]:
    return texts(ARC["ids"], (2, 7, 8, 9, 17, 30, 33), rate, decoder)


def apart(found: list[np.ndarray], wanted: Any) -> float:
    """The largest difference from what the family's own code made of all texts."""
    assert all(f.dtype == np.float32 for f in found)
    rows = np.concatenate(found)
    assert rows.shape == wanted.shape
    return float(np.abs(rows - wanted.numpy()).max())


@pytest.mark.parametrize("case", LCLM_CASES, ids=".".join)
def test_lclm_is_its_own_code(tmp_path: Path, case: tuple[str, str, str]) -> None:
    """Every pooling, adapter and mask: each text alone, and on a GPU's way padded among others."""
    backend = opened(lclm_folder(tmp_path / "a", *case))
    wanted = LCLM["latents." + ".".join(case)]
    assert wanted.abs().mean() > 0.1
    assert apart(backend.forward(lclm_texts(), True), wanted) < CLOSE
    backend.together = True
    assert apart(backend.forward(lclm_texts(), False), wanted) < CLOSE


def test_lclm_windows_stand_alone(tmp_path: Path) -> None:
    """A text of three windows is three segments."""
    backend = opened(lclm_folder(tmp_path / "a", "mean", "mlp", "causal"))
    assert apart(backend.forward(texts(LCLM["long.ids"], (16, 16, 7), 4), True), LCLM["long.latents"]) < CLOSE


@pytest.mark.parametrize("case", ARC_CASES, ids=".".join)
def test_arc_is_its_own_code(tmp_path: Path, case: tuple[str, str]) -> None:
    """Every bridge, both decoders, two stages of pooling, with and without the vector behind the latents."""
    backend = opened(arc_folder(tmp_path / "a", case[0]))
    rate, decoder = (6 if case[0] == "twice" else 8), (f"decoder{case[1]}" if case[0] == "multi" else "decoder")
    wanted = ARC["latents." + ".".join(case)]
    assert wanted.abs().mean() > 0.1
    assert apart(backend.forward(arc_texts(rate, decoder), True), wanted) < CLOSE
    backend.together = True
    assert apart(backend.forward(arc_texts(rate, decoder), False), wanted) < CLOSE


KINDS: dict[str, Callable[[Path], Path]] = {
    "lclm-mean": lclm_folder,
    "lclm-eos": lambda folder: lclm_folder(folder, "eos", "attn_mlp", "causal"),
    "lclm-concat": lambda folder: lclm_folder(folder, "concat", "mlp_attn"),
    "arc-one": arc_folder,
    "arc-multi": lambda folder: arc_folder(folder, "multi"),
}


@pytest.fixture(params=list(KINDS))
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return KINDS[request.param](tmp_path / "some-name")


def of(folder: Path) -> list[LatentInput]:
    """Texts of many lengths, for every decoder; one is empty."""
    facts = read_card(folder).latent
    assert facts is not None
    rng = np.random.default_rng(0)
    lengths = (*range(17), 5, 5, 13)
    ids = [tuple(map(int, rng.integers(0, 64, n))) for n in lengths]
    return [LatentInput(ids=i, rate=facts.rates[0], decoder=d) for i in ids for d in ("", *facts.decoders)]


def test_alone_equals_batched_to_the_bit(folder: Path) -> None:
    """On the CPU company changes nothing at all, nor does order."""
    backend, given = opened(folder), of(folder)
    batched, backwards = backend.forward(given, False), backend.forward(given[::-1], False)[::-1]
    for i, one, other in zip(given, batched, backwards, strict=True):
        [alone] = backend.forward([i], True)
        assert np.array_equal(one, alone) and np.array_equal(other, alone)
    assert {len(one) for i, one in zip(given, batched, strict=True) if not i.ids} == {0}


def test_padding_is_no_text(folder: Path) -> None:
    """Batches as a GPU has them give the same numbers, but for the order of sums."""
    backend, given = opened(folder), of(folder)
    wanted = backend.forward(given, False)
    backend.together = True
    found = backend.forward(given, False)
    assert [f.shape for f in found] == [w.shape for w in wanted]
    assert max(float(np.abs(f - w).max(initial=0)) for f, w in zip(found, wanted, strict=True)) < CLOSE
    widths = []
    network = backend.network
    backend.network = Spy(network, widths)
    backend.forward(given, False)
    assert max(widths) > 1


class Spy:
    """A network that notes how many rows each forward has."""

    def __init__(self, inner: Any, rows: list[int]) -> None:
        self.inner, self.rows = inner, rows
        self.count, self.vocabulary = inner.count, inner.vocabulary

    def __call__(self, ids: Any, *more: Any) -> Any:
        self.rows.append(len(ids))
        return self.inner(ids, *more)


def test_what_is_not_there_is_said(folder: Path) -> None:
    """Rates and decoders that the card does not name, ids past the vocabulary, texts longer than it reads."""
    backend = opened(folder)
    rate = backend.latent.rates[0]
    wrong = {
        "no rate 3; there are": LatentInput(ids=(1, 2), rate=3),
        "no decoder 'gpt'; there are decoder": LatentInput(ids=(1, 2), rate=rate, decoder="gpt"),
        "not all among the 64": LatentInput(ids=(1, 64), rate=rate),
        "not all among the 6": LatentInput(ids=(-1, 1), rate=rate),
        "tokens are more than the": LatentInput(ids=(1,) * 600, rate=rate),
    }
    for message, one in wrong.items():
        with pytest.raises(ValueError, match=message):
            backend.forward([one], True)


def test_the_lane_can_probe_it(folder: Path) -> None:
    """The scheduler's empty input, a scorer's, is answered."""
    [found] = opened(folder).forward([ModelInput(query=(), segment=(0, 0), skip=1, count=0)], False)
    assert len(found)


def test_memory_that_ends_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the scheduler expects it: a smaller batch may fit."""
    backend = opened(folder)

    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError("full")

    spy = Spy(backend.network, [])
    spy.inner = full
    monkeypatch.setattr(backend, "network", spy)
    with pytest.raises(MemoryError, match="full"):
        backend.forward(of(folder), False)


def test_a_folder_is_a_model(folder: Path) -> None:
    """`load_model` opens it by its files, the catalogue lists it, and its lane gives the same numbers."""
    assert applies(folder)
    model = load_model(folder)
    try:
        assert (model.card.kind, model.card.name, model.profile) == ("soft", "some-name", "torch-fp32")
        pairs = zip(model.backend.run(of(folder)), opened(folder).forward(of(folder), False), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)
    finally:
        model.backend.close()
    assert load_tokenizer(folder).count(["a"]) == [1]
    found = Catalogue(extra=folder.parent).cards()["some-name"]
    assert isinstance(found, Card) and found.latent == model.card.latent
    read = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert set(model.card.sha256) == read


def test_cards_say_what_folders_do(tmp_path: Path) -> None:
    """Rates, decoders with their widths, the longest segment, and what the decoder reads around the latents."""
    one, two = read_card(lclm_folder(tmp_path / "a")), read_card(arc_folder(tmp_path / "b", "multi"))
    assert one.latent is not None and two.latent is not None
    assert (one.latent.rates, one.latent.decoders, one.segment_tokens) == ([4], {"decoder": 24}, 16)
    assert (one.latent.before, one.latent.after) == ("<|memory_start|>", "<|memory_end|>")
    assert (two.latent.rates, two.latent.decoders) == ([8], {"decoder0": 20, "decoder1": 20})
    shutil.rmtree(tmp_path / "a" / "decoder")  # nobody needs it: the adapter has its width
    assert read_card(tmp_path / "a").latent == one.latent


def test_an_encoder_saved_with_its_head(tmp_path: Path) -> None:
    """A causal language model's checkpoint, in shards, serves as the encoder it has within."""
    folder = lclm_folder(tmp_path / "a")
    wanted = opened(folder).forward(lclm_texts(), True)
    own = {f"model.{k}": v for k, v in under(LCLM, "encoder.").items()}
    names = sorted(own)
    (folder / "encoder" / "model.safetensors").unlink()
    index = {}
    for n, part in enumerate((names[:7], names[7:])):
        save_file({k: own[k] for k in part}, str(folder / "encoder" / f"model-{n}.safetensors"), {"format": "pt"})
        index |= dict.fromkeys(part, f"model-{n}.safetensors")
    write(folder / "encoder" / "model.safetensors.index.json", {"metadata": {}, "weight_map": index})
    found = opened(folder).forward(lclm_texts(), True)  # other places in memory, other orders of sums
    assert max(float(np.abs(f - w).max()) for f, w in zip(found, wanted, strict=True)) < CLOSE
    write(folder / "encoder" / "model.safetensors.index.json", {"weight_map": dict.fromkeys(names, "../x.safetensors")})
    (folder / "encoder" / "x.safetensors").write_bytes(b"")
    with pytest.raises(CardError, match=r"lists files of other folders: \.\./x\.safetensors"):
        read_card(folder)


def changed(path: Path, **changes: Any) -> None:
    found = json.loads(path.read_text())
    write(path, {k: v for k, v in (found | changes).items() if v is not ...})


def within(path: Path, part: str, **changes: Any) -> None:
    found = json.loads(path.read_text())
    found[part] |= changes
    write(path, found)


def tensors(path: Path, **changes: Any) -> None:
    """A file of weights with some changed; None takes one away."""
    found = load_file(str(path)) | {k.replace("__", "."): v for k, v in changes.items()}
    save_file({k: v for k, v in found.items() if v is not None}, str(path))


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def header(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """A file of weights whose header says something else."""
    raw = path.read_bytes()
    (n,) = struct.unpack("<Q", raw[:8])
    found = json.loads(raw[8 : 8 + n])
    text = json.dumps(change(found) or found).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + n :])


ADAPTER, ENCODED = "adapter/adapter.safetensors", "encoder/model.safetensors"
BROKEN_LCLM: dict[str, Callable[[Path], Any]] = {
    "adapter.safetensors is cut short or too long": lambda f: cut(f / ADAPTER, -5),
    "adapter.safetensors is cut short or no safetensors": lambda f: cut(f / ADAPTER, 40),
    "0 bytes, a header of 0": lambda f: cut(f / ADAPTER, 0),
    "adapter.safetensors is not a safetensors file": lambda f: (f / ADAPTER).write_bytes(b"\2" + b"\0" * 7 + b"{]12"),
    "model.safetensors is cut short or too long": lambda f: cut(f / ENCODED, -1),
    "entry of fc1.bias is not a": lambda f: header(f / ADAPTER, lambda h: h["fc1.bias"].update(shape=[10**12])),
    "entry of fc1.weight is not a": lambda f: header(f / ADAPTER, lambda h: h["fc1.weight"].update(shape=[-1])),
    "entry of norm.weight is not": lambda f: header(f / ADAPTER, lambda h: h["norm.weight"].update(dtype="F31")),
    "tensors overlap or leave gaps at byte 8": lambda f: header(f / ADAPTER, lambda h: h.update(x=entry(8, 12))),
    "lacks the tensor norm.weight": lambda f: tensors(f / ADAPTER, norm__weight=None),
    "lacks the tensor fc2.weight": lambda f: tensors(f / ADAPTER, fc2__weight=None),
    r"fc1.weight is \[24, 15\]; the configuration asks for \[24, 16\]": lambda f: tensors(
        f / ADAPTER, fc1__weight=torch.zeros(24, 15)
    ),
    "fc1.bias is in I64; supported are F32": lambda f: tensors(f / ADAPTER, fc1__bias=torch.zeros(24).long()),
    "another adapter: no mlp has attention": lambda f: tensors(f / ADAPTER, attention=torch.zeros(3)),
    "weights as pickle, which is not opened: save them as adapter": lambda f: (f / ADAPTER).rename(f / "adapter/a.pt"),
    "weights as pickle, which is not opened: save them as model": lambda f: (f / ENCODED).rename(f / "encoder/a.bin"),
    "adapter.safetensors does not exist": lambda f: (f / ADAPTER).unlink(),
    "fast tokenizer there, the encoder's": lambda f: (f / "encoder/tokenizer.json").unlink(),
    "model_config.json cannot be read": lambda f: (f / "model_config.json").write_text("[" * 100_000),
    "model_config.json is not a configuration": lambda f: write(f / "model_config.json", []),
    "compression_ratio is 0": lambda f: changed(f / "model_config.json", compression_ratio=0),
    "compression_ratio is True": lambda f: changed(f / "model_config.json", compression_ratio=True),
    "encoder_window_size is 10": lambda f: changed(f / "model_config.json", encoder_window_size=10**30),
    "encoder_window_size 18 is no multiple": lambda f: changed(f / "model_config.json", encoder_window_size=18),
    "64 positions are fewer than the 128": lambda f: changed(f / "model_config.json", encoder_window_size=128),
    "boundary_overlap is -1": lambda f: changed(f / "model_config.json", boundary_overlap=-1),
    "pooling is 'max'; supported are mean": lambda f: changed(f / "model_config.json", pooling="max"),
    "encoder_mask_type is None": lambda f: changed(f / "model_config.json", encoder_mask_type=...),
    "adapter_type is": lambda f: changed(f / "model_config.json", adapter_type=["mlp"]),
    "width, which concatenated states do not have": lambda f: changed(
        f / "model_config.json", pooling="concat", adapter_type="attn_mlp"
    ),
    "num_adapter_layers is 1000000": lambda f: changed(
        f / "model_config.json", adapter_type="attn_mlp", num_adapter_layers=10**6
    ),
    "has 3 layers of attention, more than the model": lambda f: changed(
        f / "model_config.json", adapter_type="attn_mlp", num_adapter_layers=3
    ),
    "lacks the tensor attention_layers.0.decoder_layer.self_attn.q_proj.weight": lambda f: changed(
        f / "model_config.json", adapter_type="attn_mlp"
    ),
    "num_hidden_layers is 1000000": lambda f: changed(f / "encoder/config.json", num_hidden_layers=10**6),
    "hidden_size is 1000000000": lambda f: changed(f / "encoder/config.json", hidden_size=10**9),
    "vocab_size is 'many'": lambda f: changed(f / "encoder/config.json", vocab_size="many"),
    r"norm.weight is \[16\]; the configuration asks for \[32\]": lambda f: changed(
        f / "encoder/config.json", hidden_size=32
    ),
    r"fc1.weight is \[24, 16\]; the configuration asks for \[25, 16\]": lambda f: changed(
        f / "decoder/config.json", hidden_size=25
    ),
    "quantized weights": lambda f: changed(f / "encoder/config.json", quantization_config={"bits": 4}),
    "low-rank adapters": lambda f: write(f / "encoder/adapter_config.json", {}),
    "needs the id of padding": lambda f: (
        changed(f / "model_config.json", pooling="eos"),
        write(f / "encoder/tokenizer_config.json", {"pad_token": {"content": "<none>"}}),
    ),
}
OPENED_LCLM: dict[str, Callable[[Path], Any]] = {  # what the encoder's class knows, and nothing before it
    "lacks the tensor layers.1.mlp.up_proj.weight": lambda f: tensors(
        f / ENCODED, **{"layers__1__mlp__up_proj__weight": None}
    ),
    r"norm.weight is \[15\]; the configuration asks": lambda f: tensors(f / ENCODED, norm__weight=torch.ones(15)),
    r"q_proj.weight is \[32, 16\]; the configuration asks for \[64, 16\]": lambda f: changed(
        f / "encoder/config.json", head_dim=16
    ),
    "lacks the tensor layers.2": lambda f: changed(f / "encoder/config.json", num_hidden_layers=3),
    "embed_tokens.weight is in I32": lambda f: tensors(f / ENCODED, embed_tokens__weight=torch.zeros(64, 16).int()),
    "is not the configuration of a model": lambda f: changed(f / "encoder/config.json", model_type="unheard-of"),
    "'head_dim' expected int, got str": lambda f: changed(f / "encoder/config.json", head_dim="x"),
    "layers that do not see the whole window": lambda f: changed(
        f / "encoder/config.json", layer_types=["full_attention", "sliding_attention"], use_sliding_window=True
    ),
    "is not an encoder whose attention takes a mask": lambda f: changed(f / "encoder/config.json", model_type="bloom"),
}
BROKEN_ARC: dict[str, Callable[[Path], Any]] = {
    "model.safetensors is cut short or too long": lambda f: cut(f / "model.safetensors", -3),
    "weights as pickle, which is not opened": lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
    "lacks the tensor embedder.layers.2.attention.wk.weight": lambda f: tensors(
        f / "model.safetensors", **{"embedder__layers__2__attention__wk__weight": None}
    ),
    r"layers.0.attention.wq.weight is \[32, 16\]; the configuration asks for \[64, 16\]": lambda f: within(
        f / "config.json", "model_args", n_heads=8
    ),
    "lacks the tensor embedder.cont_tok.1.weight": lambda f: changed(f / "config.json", empty_init=2),
    "lacks the tensor bridge_module.0.layer1": lambda f: within(
        f / "config.json", "bridge_args", bridge_type="multi_module"
    ),
    "bridge_type is 'relu'": lambda f: within(f / "config.json", "bridge_args", bridge_type="relu"),
    "a bridge from 4096 does not follow": lambda f: within(f / "config.json", "bridge_args", in_dim=4096),
    "without memory tokens": lambda f: within(f / "config.json", "embedder_args", memory_tokens=8),
    "only bidirectional encoders": lambda f: within(f / "config.json", "embedder_args", causal_embedder=True),
    r"compress_rates is \[32\]; supported": lambda f: within(f / "config.json", "embedder_args", compress_rates=[32]),
    r"compress_rates is \[\]": lambda f: within(f / "config.json", "embedder_args", compress_rates=[]),
    "fewer than pool": lambda f: within(f / "config.json", "embedder_args", n_truncated_layers=4),
    "n_truncated_layers is 9": lambda f: within(f / "config.json", "embedder_args", n_truncated_layers=9),
    "pool_type is 'kmeans'": lambda f: within(
        f / "config.json", "embedder_args", pooling_module={"pool_type": "kmeans", "where": "before"}
    ),
    "pooling_module is not an object": lambda f: within(f / "config.json", "embedder_args", pooling_module=None),
    "do not go together": lambda f: within(f / "config.json", "model_args", n_kv_heads=3),
    "n_layers is 99999": lambda f: within(f / "config.json", "model_args", n_layers=99999),
    "norm_eps is -1": lambda f: within(f / "config.json", "model_args", norm_eps=-1),
    "rope_theta is inf": lambda f: within(f / "config.json", "model_args", rope_theta=float("inf")),
    "Llama 3's, which does not come with the weights": lambda f: (f / "tokenizer.json").unlink(),
}


def entry(begin: int, end: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [(end - begin) // 4], "data_offsets": [begin, end]}


@pytest.fixture
def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that are read fail the test."""

    def read(*_: Any, **__: Any) -> Any:
        raise AssertionError("weights were read")

    monkeypatch.setattr(lclm, "load_file", read)
    monkeypatch.setattr(lclm.AutoModel, "from_pretrained", read)
    monkeypatch.setattr("laconic.models.soft.arc.safe_open", read)


BROKEN = [(lclm_folder, *i) for i in BROKEN_LCLM.items()] + [(arc_folder, *i) for i in BROKEN_ARC.items()]


@pytest.mark.parametrize(("make", "message", "damage"), BROKEN, ids=[f"{m.__name__}-{t}" for m, t, _ in BROKEN])
@pytest.mark.usefixtures("no_memory")
def test_broken_folders_say_what_is_wrong(
    tmp_path: Path, make: Callable[[Path], Path], message: str, damage: Callable[[Path], Any]
) -> None:
    """By configurations and headers alone, in the catalogue and at opening."""
    folder = make(tmp_path / "a")
    damage(folder)
    with pytest.raises(CardError, match=message):
        read_card(folder)
    assert isinstance(Catalogue(extra=tmp_path).cards()["a"], CardError)
    with pytest.raises(ModelError, match=message):
        load_model(folder)


@given(at=st.integers(0, 1500), what=st.binary(min_size=1, max_size=12), stop=st.integers(0, 8000))
def test_headers_damaged_in_any_way(at: int, what: bytes, stop: int) -> None:
    """Are read as something else or refused: no other error."""
    raw = bytearray((DATA / "soft-arc.safetensors").read_bytes())
    raw[at : at + len(what)] = what
    with TemporaryDirectory() as folder:
        path = Path(folder) / "some.safetensors"
        path.write_bytes(raw[: -stop or None])
        try:
            found = held(path)
        except CardError as e:
            assert str(path) in str(e)
        else:
            assert not stop and found


@pytest.mark.parametrize(("message", "damage"), OPENED_LCLM.items(), ids=list(OPENED_LCLM))
@pytest.mark.usefixtures("no_memory")
def test_other_encoders_are_refused(tmp_path: Path, message: str, damage: Callable[[Path], Any]) -> None:
    """An encoder that its own class would not have, before any of its weights is read."""
    folder = lclm_folder(tmp_path / "a")
    damage(folder)
    with pytest.raises(ModelError, match=message):
        load_model(folder)


def test_code_that_came_with_an_encoder_stays_where_it_is(tmp_path: Path) -> None:
    """A configuration that names code of its own is read by the library's class, or not at all."""
    folder = lclm_folder(tmp_path / "a")
    (folder / "encoder" / "evil.py").write_text("raise SystemExit('ran')")
    changed(folder / "encoder/config.json", auto_map={"AutoModel": "evil.Evil", "AutoConfig": "evil.Evil"})
    changed(folder / "encoder/config.json", attn_implementation="evil/attention", _attn_implementation="evil/attention")
    assert len(opened(folder).forward(lclm_texts(), True)) == 5
    changed(folder / "encoder/config.json", model_type="evil")
    with pytest.raises(ModelError, match="is not the configuration of a model"):
        load_model(folder)


def test_a_missing_gpu_is_said(tmp_path: Path) -> None:
    """Before anything is read."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(ModelError, match="torch-fp32"):
        load_model(arc_folder(tmp_path / "a"), "gpu-fp16")


def test_half_precision_is_close(folder: Path) -> None:
    """The networks of the GPU profiles, here on the CPU: the same latents to what bfloat16 can tell apart."""
    wanted = opened(folder).forward(of(folder), False)
    found = open_soft(digested(folder), folder, "cpu", "bfloat16").forward(of(folder), False)
    assert all(f.dtype == np.float32 for f in found)
    pairs = [(f, w) for f, w in zip(found, wanted, strict=True) if len(w)]
    assert 0 < max(float(np.abs(f - w).max() / np.abs(w).max()) for f, w in pairs) < 0.1
