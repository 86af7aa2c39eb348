"""Causal language models out of Hugging Face folders: losses and attention are those of plain forward passes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from laconic.models import Card, LossInput, LossOutput, ModelInput, load_model

from .needs import RANK, TORCH

torch = pytest.importorskip("torch", reason=TORCH)
transformers = pytest.importorskip("transformers", reason=RANK)

from laconic.models.causal import SHORT, CausalBackend, open_causal  # noqa: E402

POSITIONS = 128
CARD = Card(name="tiny", revision="1", summary="", licence="", files={}, sha256={}, kind="causal")
SIZES = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
}
KINDS = {
    "llama": ("LlamaConfig", SIZES | {"num_key_value_heads": 2, "max_position_embeddings": POSITIONS}),
    "qwen2": (  # two of its layers see no further back than 24 tokens
        "Qwen2Config",
        SIZES
        | {"num_key_value_heads": 2, "max_position_embeddings": POSITIONS, "pad_token_id": 0}
        | {"use_sliding_window": True, "sliding_window": 24, "max_window_layers": 1},
    ),
    "gpt2": (
        "GPT2Config",
        {"vocab_size": 300, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": POSITIONS, "bos_token_id": 0}
        | {"eos_token_id": 0},
    ),
    "bloom": (  # no positions, and attention that "sdpa" does not do
        "BloomConfig",
        {"vocab_size": 300, "hidden_size": 32, "n_layer": 3, "n_head": 4},
    ),
}


@pytest.fixture(scope="module", params=list(KINDS))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with weights so large that attention and losses differ from token to token."""
    name, facts = KINDS[request.param]
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, name)(**facts))
    for p in model.parameters():
        if p.dim() > 1:
            p.data *= 6
    target = tmp_path_factory.mktemp("causal") / request.param
    model.save_pretrained(target)
    return target


@pytest.fixture
def backend(folder: Path) -> CausalBackend:
    return open_causal(CARD, folder, "cpu", "float32")


def inputs() -> list[LossInput]:
    """Texts of many lengths behind one long beginning, and behind short ones of their own."""
    rng = np.random.default_rng(0)

    def ids(n: int) -> tuple[int, ...]:
        return tuple(map(int, rng.integers(0, 300, n)))

    shared = ids(SHORT + 8)
    lengths = [(1, 0), (5, 0), (30, 7), (31, 6), (28, 9), (0, 3), (0, 0), (70, 0), (68, 2), (2, 1)]
    long = [LossInput(before=shared, text=ids(n), after=ids(m)) for n, m in lengths]
    return long + [LossInput(before=ids(1 + n % 3), text=ids(n), after=ids(m)) for n, m in lengths]


def plain(folder: Path, i: LossInput) -> LossOutput:
    """All tokens in one pass of the library's own eager attention."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    ids = torch.tensor([(*i.before, *i.text, *i.after)])
    with torch.no_grad():
        found = model(ids, output_attentions=True)
    at, n = len(i.before), len(i.text)
    loss = torch.nn.functional.cross_entropy(found.logits[0, at - 1 : -1], ids[0, at:], reduction="none").numpy()
    attention = np.stack([a[0, :, -1, at : at + n].numpy() for a in found.attentions])
    return LossOutput(text=loss[:n], after=loss[n:], attention=attention)


def values(o: LossOutput) -> list[np.ndarray]:
    return [o.text, o.after, o.attention]


def close(a: LossOutput, b: LossOutput) -> bool:
    """The same shapes, and no number a hundred-thousandth apart."""
    pairs = list(zip(values(a), values(b), strict=True))
    return all(x.shape == y.shape and np.abs(x - y).max(initial=0) < 1e-5 for x, y in pairs)


def test_numbers_are_those_of_a_plain_pass(backend: CausalBackend, folder: Path) -> None:
    """Losses and the last row of attention, beginnings shared or not, rows padded or not."""
    given = [i for i in inputs() if i.tokens]
    wanted = [plain(folder, i) for i in given]
    assert np.concatenate([w.text for w in wanted]).std() > 0.1
    for together in (False, True):
        backend.together = together
        found = backend.forward(given, True)
        assert all(o.text.dtype == np.float32 and o.attention.dtype == np.float32 for o in found)
        assert [close(a, b) for a, b in zip(found, wanted, strict=True)] == [True] * len(given)


def test_alone_equals_batched_to_the_bit(backend: CausalBackend) -> None:
    """On the CPU company changes nothing at all, nor does order."""
    given = inputs()
    batched, backwards = backend.forward(given, False), backend.forward(given[::-1], False)[::-1]
    for i, one, other in zip(given, batched, backwards, strict=True):
        [alone] = backend.forward([i], True)
        assert all(np.array_equal(a, b) for a, b in zip(values(one), values(alone), strict=True))
        assert all(np.array_equal(a, b) for a, b in zip(values(other), values(alone), strict=True))


def test_a_shared_beginning_is_read_once(backend: CausalBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten texts behind one beginning take eleven passes at most, none of which has the beginning in it again."""
    widths = []
    model = backend.model

    def spy(ids: Any, **more: Any) -> Any:
        widths.append(ids.shape[1])
        return model(ids, **more)

    monkeypatch.setattr(backend, "model", spy)
    given = inputs()[:10]
    backend.forward(given, True)
    assert sorted(widths) == sorted([SHORT + 8, *(i.tokens for i in given if i.tokens)])


def test_nothing_asked_is_nothing_answered(backend: CausalBackend) -> None:
    """No tokens, no losses; attention has the model's layers and heads all the same."""
    [found] = backend.forward([LossInput(before=(1,), text=())], True)
    assert [v.shape for v in values(found)] == [(0,), (0,), (3, 4, 0)]


def test_what_cannot_be_read_raises(backend: CausalBackend) -> None:
    """More tokens than positions, and a text with nothing before it."""
    with pytest.raises(ValueError, match="nothing stands before"):
        backend.forward([LossInput(before=(), text=(1, 2))], True)
    long = LossInput(before=(1,), text=(2,) * POSITIONS)
    if backend.positions:
        with pytest.raises(ValueError, match=f"{POSITIONS + 1} tokens are more than the {POSITIONS}"):
            backend.forward([long], True)
    else:
        assert backend.forward([long], True)[0].text.shape == (POSITIONS,)


def test_memory_that_ends_is_said(backend: CausalBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the scheduler expects it: a smaller batch may fit."""

    def full(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(backend, "model", full)
    with pytest.raises(MemoryError, match="full"):
        backend.forward(inputs(), False)


def test_the_lane_can_probe_it(backend: CausalBackend) -> None:
    """The scheduler's empty input, a scorer's, is answered."""
    assert len(backend.forward([ModelInput(query=(), segment=(0, 0), skip=1, count=0)], False)) == 1


def test_a_folder_is_a_model(folder: Path, backend: CausalBackend) -> None:
    """`load_model` opens it by its config.json, and its lane gives the same numbers."""
    if not (folder / "tokenizer.json").exists():
        tokens = transformers.PreTrainedTokenizerFast(tokenizer_object=words())
        tokens.save_pretrained(folder)
    model = load_model(folder)
    given = inputs()
    assert (model.card.kind, model.profile) == ("causal", "torch-fp32")
    pairs = zip(model.backend.run(given), backend.forward(given, False), strict=True)
    assert all(np.array_equal(a, b) for x, y in pairs for a, b in zip(values(x), values(y), strict=True))
    model.backend.close()


def words() -> Any:
    from tokenizers import Tokenizer, models

    return Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))


def test_other_folders_are_refused(folder: Path, tmp_path: Path) -> None:
    """Weights that are missing, wholly or in part, and networks without keys and values."""
    facts = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="safetensors"):
        open_causal(CARD, tmp_path, "cpu", "float32")
    (tmp_path / "config.json").write_text(
        json.dumps(facts | {"num_hidden_layers": 4, "n_layer": 4, "layer_types": None})
    )
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(ValueError, match="its files lack"):
        open_causal(CARD, tmp_path, "cpu", "float32")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mamba", "architectures": ["MambaForCausalLM"]}))
    with pytest.raises(ValueError, match="mamba is not a causal language model that keeps keys and values"):
        open_causal(CARD, tmp_path, "cpu", "float32")


def test_a_missing_gpu_is_said(folder: Path) -> None:
    """Before anything is read."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(RuntimeError, match="torch-fp32"):
        open_causal(CARD, folder, "cuda", "float16")
