"""`meta.v1` loses nothing: what is coded is restored to the letter, and only coded where that saves tokens."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from laconic.client import restore
from laconic.client.coded import NAMES, OPENING, parsed
from laconic.compressors import Budget, BudgetUnreachable, Compressor, Document, InvalidRequest, Request, Result
from laconic.compressors.lossless import code
from laconic.compressors.units import printable
from laconic.models import HfReader, TiktokenReader

from .strategies import AWKWARD, texts

HERE = Path(__file__).read_text()
LOG = "".join(f"2026-11-21 10:00:{i % 60:02d} INFO worker handled request r-{i:04x} in {i} ms\n" for i in range(80))
parts = st.sampled_from(
    [
        OPENING,
        "\n",
        "\n\n",
        "=",
        "§=ab\n",
        "¶\n",
        "■",
        "§¶",
        "the old bridge was ",
        "a b c ",
        "\r\n",
        "\ud800",
        "😀",
        " ",
    ]
)
marked = st.lists(parts, max_size=60).map("".join)
awkward = st.one_of(texts, marked, marked.map(OPENING.__add__), st.sampled_from([NAMES, NAMES * 2 + LOG]))


@pytest.fixture(scope="module")
def tik() -> TiktokenReader:
    """Single bytes and little else: every name costs two or three tokens."""
    ranks = {bytes([b]): b for b in range(256)} | {b"th": 256, b"the": 257, b" t": 258, b"\n\n": 259, b" the": 260}
    pattern = r"\s*\w+|\s*[^\s\w]+|\s+"
    return TiktokenReader("tiny", tiktoken.Encoding("t", pat_str=pattern, mergeable_ranks=ranks, special_tokens={}))


@settings(max_examples=200)
@given(text=awkward)
def test_every_text_comes_back(reader: HfReader, tik: TiktokenReader, text: str) -> None:
    """Restored, every coded text is the source, also one that was coded before or is full of names and openings."""
    for r in (reader, tik):
        coded = code(text, r)
        assert restore(coded) == text
        assert restore(code(coded, r)) == coded
        if coded != text and parsed(text) is None:
            before, after = r.count([printable(text), printable(coded)])
            assert after < before


@given(text=marked.map(OPENING.__add__))
def test_anything_can_be_restored(text: str) -> None:
    """A text that nobody coded is restored to something, without an error; one that is not well formed to itself."""
    if parsed(text) is None:
        assert restore(text) == text
    else:
        restore(text)


@pytest.mark.parametrize("text", [LOG, json.dumps([{"id": i, "name": "Ada", "ok": True} for i in range(90)]), HERE])
def test_what_repeats_costs_less(reader: HfReader, text: str) -> None:
    """A log, JSON and this file are coded, and have fewer tokens then."""
    coded = code(text, reader)
    assert coded.startswith(OPENING)
    before, after = reader.count([text, coded])
    assert after < 0.95 * before
    assert restore(coded) == text


@pytest.mark.parametrize("text", ["", "One.", "It rained. The treaty was signed by Ada. Lunch was good.", *AWKWARD[:9]])
def test_what_does_not_pay_is_left(reader: HfReader, text: str) -> None:
    """A text without repeats is answered as it is."""
    assert code(text, reader) == text


def test_a_bomb_is_refused() -> None:
    """A small text that stands for a very large one is an error where texts are not trusted."""
    bomb = f"{OPENING}\n§={'x' * 1000}\n\n{'§' * 1000}"
    assert len(restore(bomb)) == 1_000_000
    with pytest.raises(ValueError, match="1000000 characters"):
        restore(bomb, most=999_999)


def run(compressor: Compressor, budget: Budget, **options: object) -> Result:
    documents = [
        Document(id="log", text=LOG),
        Document(id="one", text="One."),
        Document(id="left", text=LOG, compress=False),
    ]
    return compressor(Request(documents=documents, budget=budget, **options), recipe="meta.v1")  # type: ignore[arg-type]


def test_the_pipeline_codes_documents_one_by_one(compressor: Compressor) -> None:
    """Documents are coded where that pays and they allow it; tokens are counted on what is handed over."""
    result = run(compressor, Budget(kind="rate", value=1))
    log, one, left = result.documents
    assert (log.kind, one.kind, left.kind) == ("meta.v1", None, None)
    assert restore(log.text) == LOG == left.text
    assert not log.spans
    assert one.spans == [(0, 4)]
    assert result.tokens_out == compressor.reader().count([result.text])[0] < result.tokens_in
    assert result.text == "\n\n".join(d.text for d in result.documents)


def test_documents_can_be_ordered_and_left_out(compressor: Compressor) -> None:
    """Order and the number of documents follow the words that they share with the query."""
    result = run(compressor, Budget(kind="rate", value=1), query="one", top_documents=1, order="relevance")
    assert result.text == "One."


def test_a_budget_is_met_or_refused(compressor: Compressor) -> None:
    """A budget that the coded text exceeds is an error, or a warning where the request says so."""
    with pytest.raises(BudgetUnreachable, match=r"by \d+ tokens"):
        run(compressor, Budget(kind="rate", value=0.01))
    result = run(compressor, Budget(kind="tokens", value=10), on_over_budget="warn")
    assert "exceeds the budget" in result.warnings[0]
    assert restore(result.documents[0].text) == LOG
    with pytest.raises(BudgetUnreachable):
        run(compressor, Budget(kind="tokens", value=1), scope="document")
    with pytest.raises(InvalidRequest, match="threshold"):
        run(compressor, Budget(kind="threshold", value=0.5))


def test_the_service_codes(address: str) -> None:
    """Without a budget everything is kept; with one that cannot be met the answer is 422."""
    body = {"text": LOG, "recipe": "meta.v1", "return": ["text", "spans", "tree"]}
    answer = httpx.post(f"{address}/v1/compress", json=body).json()
    (found,) = answer["documents"]
    assert restore(found["text"]) == LOG
    assert (found["recipe"], found["spans"]) == ("meta.v1", [])
    assert all(node["kept"] for node in found["tree"])
    assert answer["usage"]["rate"] < 0.6
    refused = httpx.post(f"{address}/v1/compress", json={**body, "budget": {"rate": 0.1}})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "budget_unreachable")
