"""Documents ranked by somebody else's model: bi-encoders and cross-encoders of sentence-transformers, and BM25."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import httpx
import pytest

from laconic.compressors import Budget, Compressor, Document, InvalidRequest, Request, UnknownName
from laconic.models import ModelError, load_model, load_ranker
from laconic.models.catalogue import EMBEDDED
from laconic.service.settings import Settings

from .conftest import serving
from .needs import RANK

TEXTS = [
    "Bananas are yellow and grow in warm countries.",
    "The treaty was signed by Ada Lovelace in Geneva.",
    "A treaty of peace ended the war; Ada was there.",
]
QUESTION = "Who signed the treaty?"


def request(**more: object) -> Request:
    documents = [Document(id=str(n), text=t) for n, t in enumerate(TEXTS)]
    given = {"query": QUESTION, "budget": Budget(kind="rate", value=1.0), "top_documents": 1, **more}
    return Request(documents=documents, **given)  # type: ignore[arg-type]


def test_bm25_ranks(compressor: Compressor) -> None:
    """The ranker's order decides which documents stay, and no probability is claimed for it."""
    found = compressor(request(order="relevance"), recipe="token.v1", ranker="bm25")
    assert found.text == TEXTS[1]
    assert [d.text for d in found.documents] == ["", TEXTS[1], ""]
    assert {d.score for d in found.documents} == {None}


def test_a_ranker_wants_a_query_and_a_name(compressor: Compressor) -> None:
    """Without a query there is nothing to rank by; unknown names and models of other kinds are told apart."""
    with pytest.raises(InvalidRequest, match="query"):
        compressor(request(query=None, top_documents=None), ranker="bm25")
    with pytest.raises(UnknownName, match="laconic-mini"):
        compressor(request(), ranker="nobody")
    with pytest.raises(InvalidRequest, match="is a scorer"):
        compressor(request(), ranker="laconic-mini")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny bi-encoder and a tiny cross-encoder, weights drawn at random."""
    pytest.importorskip("sentence_transformers", reason=RANK)
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer
    from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizerFast

    root = tmp_path_factory.mktemp("rankers")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    torch.manual_seed(0)
    for name, kind, more in (("bare", BertModel, {}), ("cross", BertForSequenceClassification, {"num_labels": 1})):
        model = kind(BertConfig(**sizes, **more))
        for p in model.parameters():
            if p.dim() > 1:
                p.data *= 5
        model.save_pretrained(root / name)
        file = str(EMBEDDED / "laconic-mini" / "tokenizer.json")
        BertTokenizerFast(tokenizer_file=file, model_max_length=128).save_pretrained(root / name)
    word = Transformer(str(root / "bare"))
    SentenceTransformer(modules=[word, Pooling(32)]).save(str(root / "bi"))
    shutil.rmtree(root / "bare")
    return root


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["bi", "cross"])
def test_anyones_ranker(models: Path, name: str) -> None:
    """Scores are the library's own, the same to the bit in any company, and decide the order."""
    from sentence_transformers import CrossEncoder, SentenceTransformer

    ranker = load_ranker(models / name)
    found = ranker(QUESTION, TEXTS)
    assert [ranker(QUESTION, [t])[0] for t in TEXTS] == list(found)
    if name == "bi":
        own = SentenceTransformer(str(models / name))
        wanted = own.similarity(own.encode(QUESTION), own.encode(TEXTS))[0].tolist()
    else:
        import torch

        own = CrossEncoder(str(models / name))
        wanted = own.predict([(QUESTION, t) for t in TEXTS], activation_fn=torch.nn.Identity()).tolist()
    assert found == pytest.approx(wanted, abs=1e-4)
    assert ranker(QUESTION, []) == []
    best = max(range(3), key=lambda n: found[n])
    result = Compressor(models_dir=models)(request(), ranker=name)
    assert [bool(d.text) for d in result.documents] == [n == best for n in range(3)]


@pytest.mark.filterwarnings("ignore")
def test_rankers_over_the_wire(models: Path) -> None:
    """Listed as what they are, named by requests, and no model to compress with."""
    with serving(Settings(models_dir=models)) as address:
        listed = {m["name"]: m for m in httpx.get(f"{address}/v1/models").json()["models"]}
        assert listed["bi"]["kind"] == listed["cross"]["kind"] == "ranker"
        body = {"documents": [{"text": t} for t in TEXTS], "query": QUESTION, "top_documents": 2, "ranker": "cross"}
        answer = httpx.post(f"{address}/v1/compress", json=body, timeout=60)
        assert answer.status_code == 200
        assert sum(bool(d["text"]) for d in answer.json()["documents"]) <= 2
        wrong = httpx.post(f"{address}/v1/compress", json={**body, "ranker": "nobody"})
        assert (wrong.status_code, wrong.json()["error"]["param"]) == (404, "ranker")


def test_no_ranker_is_loaded_as_a_model(models: Path, tmp_path: Path) -> None:
    """Nor a broken folder as a ranker: each error says what is wrong."""
    with pytest.raises(ModelError, match="as the ranker"):
        load_model(models / "cross")
    broken = tmp_path / "broken"
    shutil.copytree(models / "cross", broken)
    (broken / "model.safetensors").write_bytes(b"x")
    with pytest.raises(ModelError, match="does not hold a ranker"):
        load_ranker(broken)


def test_no_code_of_a_hub_runs(models: Path, tmp_path: Path) -> None:
    """A configuration may name an attention kernel that its library would fetch and run: such a folder is refused."""
    folder = tmp_path / "evil"
    shutil.copytree(models / "cross", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "_attn_implementation": "evil/kernel"}))
    with pytest.raises(ModelError, match="code of a hub"):
        load_ranker(folder)
