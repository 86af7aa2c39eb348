"""The embedded language model through the real thing: recipes, profiles, the service; classifiers exported."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx
import numpy as np
import pytest

from laconic.compressors import RECIPES, Budget, Compressor, Document, InvalidRequest, Request
from laconic.models import Card, Catalogue, EngineError, LossInput, ModelInput, load_model
from laconic.models.onnx_lm import POSITIONS, OnnxLM

from .needs import RANK, TORCH

TEXTS = [
    "It rained all day in the valley. The treaty was signed by Ada Lovelace in Paris. Lunch was served at noon.",
    "Bananas are yellow. They grow in warm countries, and they are eaten everywhere in the world.",
]
QUESTION = "Who signed the treaty?"


@pytest.fixture(scope="module")
def lm(compressor: Compressor) -> OnnxLM:
    found = compressor.model("laconic-lm").backend.forward
    assert isinstance(found, OnnxLM)
    return found


@pytest.mark.parametrize("recipe", sorted(r.name for r in RECIPES.values() if r.kind == "causal"))
def test_recipes_answer(compressor: Compressor, recipe: str) -> None:
    """Real weights: within the budget, spans of the source, and a smaller budget keeps less of the same."""
    documents = [Document(id=str(i), text=t, title="News") for i, t in enumerate(TEXTS)]
    kept: list[set[tuple[int, int]]] = []
    for rate in (0.3, 0.6):
        request = Request(documents=documents, query=QUESTION, budget=Budget(kind="rate", value=rate), unit="word")
        result = compressor(request, recipe=recipe)
        assert 0 < result.tokens_out <= rate * result.tokens_in
        kept.append({(n, i) for n, d in enumerate(result.documents) for s in d.spans for i in range(*s)})
        for d, t in zip(result.documents, TEXTS, strict=True):
            assert d.text == "".join(t[a:b] for a, b in d.spans)
    assert {x for x in kept[0] if not TEXTS[x[0]][x[1]].isspace()} <= kept[1]


def test_a_repeated_phrase_surprises_less(lm: OnnxLM, compressor: Compressor) -> None:
    """What the model has just read costs it less the second time, and common words less than rare ones."""
    (e,) = compressor.model("laconic-lm").tokenizer.encode(["the cat sat on the mat because the zeppelin exploded"])
    first, again = lm.run([LossInput(before=(101,), text=e.ids), LossInput(before=(101, *e.ids), text=e.ids)])
    assert again.text.mean() < first.text.mean()
    assert first.text[0] < first.text[-1]


def test_a_shared_beginning_changes_nothing(lm: OnnxLM) -> None:
    """Keys and values kept of what stands before give what reading it again gives, to the bit."""
    inputs = [LossInput(before=(101, 2040, 2001), text=(1996, 3899, 1012), after=(2054, 1029)) for _ in range(2)]
    lm._begun.cache_clear()
    (cold,) = lm.run(inputs[:1])
    (warm,) = lm.run(inputs[1:])
    assert np.array_equal(cold.text, warm.text) and np.array_equal(cold.after, warm.after)
    assert cold.attention.shape[-1] == 3 and len(cold.after) == 2


def test_too_long_is_said(lm: OnnxLM) -> None:
    """More tokens than positions are refused by number."""
    with pytest.raises(ValueError, match=f"{POSITIONS + 1} tokens"):
        lm.run([LossInput(before=(101,), text=(1996,) * POSITIONS)])


def test_one_that_fails_leaves_the_lane_well(compressor: Compressor) -> None:
    """An input that cannot be read fails its request alone: the lane finds its device still there."""
    lane = compressor.model("laconic-lm").backend
    with pytest.raises(EngineError):
        lane.run([LossInput(before=(101,), text=(1996,) * POSITIONS)])
    assert lane.trouble() is None
    assert len(lane.run([LossInput(before=(101,), text=(1996, 3899))])[0].text) == 2


def test_the_longest_segment_fits(compressor: Compressor) -> None:
    """A long text with a long title and question stays inside the positions, in every recipe."""
    document = Document(text="The old bridge near Paris was built by Ada. " * 120, title="A very long title " * 20)
    for recipe in ("longllmlingua.v1", "perception.v1", "dspc.v1"):
        request = Request(documents=[document], query="Who built it? " * 60, budget=Budget(kind="rate", value=0.2))
        assert compressor(request, recipe=recipe).tokens_out > 0


def test_the_service_runs_it(address: str) -> None:
    """Over HTTP, by the recipe's own model; a model of another kind is refused by name."""
    body = {"text": TEXTS[0], "query": QUESTION, "budget": {"rate": 0.4}, "recipe": "longllmlingua.v1"}
    answer = httpx.post(f"{address}/v1/compress", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    wrong = httpx.post(f"{address}/v1/compress", json={**body, "model": "laconic-mini"}, timeout=60)
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (422, "model")
    kinds = {m["name"]: m["kind"] for m in httpx.get(f"{address}/v1/models").json()["models"]}
    assert kinds["laconic-lm"] == "causal"


def test_llmlingua2_needs_a_checkpoint(compressor: Compressor) -> None:
    """Without a classifier named there is none to run."""
    request = Request(documents=[Document(text=TEXTS[0])], budget=Budget(kind="rate", value=0.5))
    with pytest.raises(InvalidRequest, match="needs a classifier model; laconic-mini is a scorer"):
        compressor(request, recipe="llmlingua2.v1")


def test_torch_runs_the_same_model(lm: OnnxLM) -> None:
    """The torch profile's weights are the int8 file's: surprisal differs by what int8 activations cost."""
    pytest.importorskip("torch", reason=TORCH)
    pytest.importorskip("transformers", reason=RANK)
    from laconic.models.lm_hf import open_lm

    folder = Catalogue().folder("laconic-lm")
    other = open_lm(Card.read(folder), folder, "cpu", "float32")
    given = [LossInput(before=(101,), text=tuple(range(2000, 2060)), after=(2054, 1029))]
    (a,), (b,) = lm.run(given), other.forward(given, True)
    assert np.abs(a.text - b.text).mean() < 0.3
    assert a.attention.shape == b.attention.shape
    assert np.corrcoef(a.text, b.text)[0, 1] > 0.98


@pytest.mark.filterwarnings("ignore")  # torch's exporter warns of its own future
def test_a_classifier_is_exported(tmp_path: Path) -> None:
    """A checkpoint as it is and exported in fp32 and int8: the same scores; the recipe runs it to the budget."""
    torch = pytest.importorskip("torch", reason=TORCH)
    transformers = pytest.importorskip("transformers", reason=RANK)
    from laconic.models.export import convert

    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    for name, kind in (("bert", "Bert"), ("xlmr", "XLMRoberta")):
        more = {"max_position_embeddings": 514, "pad_token_id": 1} if name == "xlmr" else {}
        config = getattr(transformers, f"{kind}Config")(vocab_size=30522, **sizes, **more)
        folder = tmp_path / name
        getattr(transformers, f"{kind}ForTokenClassification")(config).save_pretrained(folder)
        shutil.copy(Catalogue().folder("laconic-lm") / "tokenizer.json", folder)
        for profile in ("cpu-fp32", "cpu-int8"):
            assert convert(folder, tmp_path / f"{name}-onnx", profile).kind == "classifier"
        given = [ModelInput(query=(), segment=tuple(range(1000, 1100)), skip=1, count=98)]
        own = load_model(folder, "torch-fp32", 1).backend.run(given)[0].keep
        for profile, gap in (("cpu-fp32", 1e-5), ("cpu-int8", 0.2)):
            found = load_model(tmp_path / f"{name}-onnx", profile, 1).backend.run(given)[0].keep
            assert np.abs(found - own).max() < gap
    request = Request(documents=[Document(text=TEXTS[0])], query=QUESTION, budget=Budget(kind="rate", value=0.5))
    made = Compressor(models_dir=tmp_path)
    as_is, exported = (made(request, recipe="llmlingua2.v1", model=m) for m in ("bert", "bert-onnx"))
    assert 0 < as_is.tokens_out <= as_is.tokens_in / 2 and 0 < exported.tokens_out <= exported.tokens_in / 2
    made.close()
