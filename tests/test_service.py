"""The service over a real socket with the real model: answers, errors, limits, health."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from laconic.compressors import Compressor
from laconic.service.settings import Settings

from .conftest import serving, wait_until

DOCUMENTS = [
    {
        "id": "a",
        "text": "It rained all day. The treaty was signed by Ada Lovelace in 1932. Lunch was good.",
        "title": "Diary",
    },
    {
        "id": "b",
        "text": "Paris has many bridges. They are old. Tourists like them very much in summer.",
        "metadata": {"page": 3},
    },
]


def ask(address: str, **body):
    return httpx.post(f"{address}/v1/compress", json=body, timeout=30)


def test_compresses_documents(address: str) -> None:
    """The answer's sentence survives, ids, metadata and order are kept, spans are the text, usage adds up."""
    response = ask(address, query="Who signed the treaty?", documents=DOCUMENTS, budget={"rate": 0.4})
    assert response.status_code == 200
    found = response.json()
    assert "signed by Ada Lovelace" in found["text"]
    assert [d["id"] for d in found["documents"]] == ["a", "b"]
    assert found["documents"][1]["metadata"] == {"page": 3}
    for d, source in zip(found["documents"], DOCUMENTS, strict=True):
        assert d["text"] == "".join(source["text"][s:e] for s, e in d["spans"])
    assert found["usage"]["tokens_out"] <= 0.4 * found["usage"]["tokens_in"]
    assert found["model"]["profile"] == "cpu-int8"
    assert found["documents"][0]["score"] > found["documents"][1]["score"]
    assert response.headers["x-request-id"] == found["id"]


def test_text_without_query(address: str) -> None:
    """A single text without a query is compressed by the query-agnostic head."""
    found = ask(address, text=DOCUMENTS[0]["text"], budget={"tokens": 10}).json()
    assert 0 < found["usage"]["tokens_out"] <= 10
    assert found["documents"][0].get("score") is None


def test_returns_what_is_asked(address: str) -> None:
    """`return` chooses the parts; scores are per unit, with probabilities."""
    body = {"text": DOCUMENTS[0]["text"], "query": "Who?", "unit": "sentence"}
    found = ask(address, **body, **{"return": ["scores"]}).json()
    assert "text" not in found
    assert "spans" not in found["documents"][0]
    scores = found["documents"][0]["scores"]
    assert len(scores) == 3
    assert all(0 <= p <= 1 for _, _, p in scores)


def test_same_bytes_alone_and_under_load(address: str) -> None:
    """The same request gives the same documents alone and among eight others."""
    body = {"query": "Who signed?", "documents": DOCUMENTS, "budget": {"rate": 0.5}}
    alone = ask(address, **body).json()["documents"]
    with ThreadPoolExecutor(8) as pool:
        for response in pool.map(lambda _: ask(address, **body), range(24)):
            assert response.json()["documents"] == alone


T = {"text": "Some text here."}


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 422, None),
        ({"documents": [{"text": "a"}], "text": "b"}, 422, None),
        ({**T, "budget": {"rate": 0}}, 422, "budget.rate"),
        ({**T, "budget": {"rate": -1}}, 422, "budget.rate"),
        ({**T, "budget": {"rate": 1.5}}, 422, "budget.rate"),
        ({**T, "budget": {"tokens": 0}}, 422, "budget.tokens"),
        ({**T, "budget": {}}, 422, "budget"),
        ({**T, "budget": {"rate": 0.5, "tokens": 3}}, 422, "budget"),
        ({**T, "budget": {"recall": 0.9}}, 422, "budget.recall"),
        ({**T, "colour": "red"}, 422, "colour"),
        ({**T, "recipe": "token.v9"}, 404, "recipe"),
        ({**T, "recipe": "x" * 500}, 422, "recipe"),
        ({**T, "model": "gpt-9"}, 404, "model"),
        ({**T, "reader": "../../etc/passwd"}, 404, "reader"),
        ({**T, "reader": "cl100k_base"}, 404, "reader"),
        ({**T, "keep": {"patterns": ["("]}}, 422, "keep.patterns.0"),
        ({**T, "top_documents": 0}, 422, "top_documents"),
        ({"documents": [{"text": "a", "id": "1"}, {"text": "b", "id": "1"}]}, 422, "documents"),
        ({"documents": [{"text": "a"}] * 51}, 413, "documents"),
        ({"text": "a " * 120_000}, 413, "documents"),
        ({"text": 7}, 422, "text"),
        ([1, 2], 422, None),
    ],
)
def test_bad_requests_are_named(address: str, body, status: int, param: str | None) -> None:
    """Every bad request gets its status, the one shape, and the field that is wrong."""
    response = httpx.post(f"{address}/v1/compress", json=body, timeout=30)
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (status, param)
    assert set(error) == {"type", "code", "message", "param", "request_id"}
    assert error["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b'{"text": ', 400),
        (b"\xff\xfe\x00", 400),
        (b"[" * 90_000, 422),  # deeper than anything is read
        (b"[" * 100_000, 413),  # and more values
        (b'{"text": "a\\ud800"}', 422),
        (b'{"text": "a", "budget": {"rate": NaN}}', 422),
        (b'{"documents": [{"text": "a", "metadata": {"x": NaN}}]}', 422),
        (b'{"documents": [{"text": "a", "metadata": {"x": "\\udfff"}}]}', 422),
        (b'{"text": "' + b"a" * 1_100_000 + b'"}', 413),
        (b"", 422),
    ],
)
def test_broken_bodies_are_refused(address: str, raw: bytes, status: int) -> None:
    """Bytes that are no request, or too many of them, are refused in the one shape."""
    for content in (raw, iter([raw])):  # with a length, and chunked
        response = httpx.post(
            f"{address}/v1/compress", content=content, headers={"content-type": "application/json"}, timeout=30
        )
        assert response.status_code == status
        assert response.json()["error"]["message"]


def test_bodies_are_never_repeated(address: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither an error nor the log holds what the caller sent."""
    response = ask(address, text="swordfish " * 5, budget={"rate": "swordfish"})
    assert response.status_code == 422
    assert "swordfish" not in response.text
    assert "swordfish" not in caplog.text


def test_unknown_routes_have_the_same_shape(address: str) -> None:
    """404 and 405 look like every other error."""
    assert httpx.get(f"{address}/nope").json()["error"]["code"] == "not_found"
    assert httpx.delete(f"{address}/v1/compress").json()["error"]["code"] == "method_not_allowed"


def test_lists_and_health(address: str) -> None:
    """Models, recipes, version, health and the documentation answer."""
    models = {m["name"]: m["default"] for m in httpx.get(f"{address}/v1/models").json()["models"]}
    assert models == {"laconic-lm": False, "laconic-mini": True, "laconic-soft": False}
    assert {r["name"] for r in httpx.get(f"{address}/v1/recipes").json()["recipes"]} >= {"token.v1", "lexical.v1"}
    for path in ("/livez", "/readyz", "/version", "/docs", "/openapi.json", "/"):
        assert httpx.get(f"{address}{path}").status_code == 200


def test_longest_of_everything(address: str) -> None:
    """A query longer than the window, many documents, a long title: answered."""
    documents = [{"text": f"Document {i} says {i}.", "title": "t" * 2000} for i in range(50)]
    response = ask(address, query="why " * 5000, documents=documents, budget={"rate": 0.3})
    assert response.status_code == 200
    assert len(response.json()["documents"]) == 50


def test_service_without_its_model_lives_and_says_so(tmp_path: Path) -> None:
    """A model that does not open leaves /livez up, /readyz and token recipes at 503, with the reason."""
    folder = tmp_path / "laconic-broken"
    folder.mkdir()
    card = {"name": "laconic-broken", "revision": "1", "summary": "", "licence": "", "files": {}, "sha256": {}}
    (folder / "card.json").write_text(json.dumps(card))
    settings = Settings(model="laconic-broken", models_dir=tmp_path)
    with pytest.raises(TimeoutError), serving(settings, seconds=2):
        pass
    with serving(settings, probe="/livez") as url:
        wait_until(lambda: "no profile" in httpx.get(f"{url}/readyz").text)
        assert httpx.get(f"{url}/readyz").status_code == 503
        assert ask(url, text="a b c").json()["error"]["code"] == "not_ready"
        assert ask(url, text="One. Two.", recipe="lexical.v1", reader="laconic-mini").status_code == 200


def test_a_broken_second_model_is_503(tmp_path: Path, compressor: Compressor) -> None:
    """A request that names an installed model whose files do not verify is told so; others go on."""
    folder = tmp_path / "second"
    folder.mkdir()
    card = {"name": "second", "revision": "1", "summary": "", "licence": "", "files": {"cpu-int8": "x"}, "sha256": {}}
    (folder / "card.json").write_text(json.dumps(card))
    with serving(Settings(models_dir=tmp_path)) as url:
        response = ask(url, text="a b c", model="second")
        assert (response.status_code, response.json()["error"]["code"]) == (503, "model_unavailable")
        assert ask(url, text="a b c").status_code == 200


def test_defect_is_a_500_in_shape(compressor: Compressor, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception nobody foresaw is a 500 in the one shape, without its text; the service goes on."""
    with serving(Settings(), compressor) as url:

        def broken(*_: object, **__: object) -> None:
            raise ZeroDivisionError("swordfish")

        with monkeypatch.context() as m:
            m.setattr(compressor, "pipeline", broken)
            response = ask(url, text="a b c")
        assert response.status_code == 500
        assert response.json()["error"]["code"] == "internal"
        assert "swordfish" not in response.text
        assert ask(url, text="a b c").status_code == 200
