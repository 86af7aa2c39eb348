"""The promises of ARCHITECTURE.md, one property each, over random requests and every kind of unit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laconic.compressors import Budget, Compressed, Document, Keep, Parts, Pipeline, Request, parts
from laconic.compressors.units import printable
from laconic.models import HfReader

from .strategies import AWKWARD, VOCABULARY, keeps, requests, texts

steady = settings(deadline=None, max_examples=120)


@pytest.fixture(scope="module")
def pipeline(fake_parts: Parts, reader: HfReader) -> Pipeline:
    return Pipeline(fake_parts, reader)


def kept(d: Compressed, source: Document) -> set[int]:
    """Offsets of the kept characters that are not white space."""
    return {i for s, e in d.spans for i in range(s, e) if not source.text[i].isspace()}


@steady
@given(request_=requests(keep=keeps))
def test_spans_are_ordered_disjoint_and_in_range(pipeline: Pipeline, request_: Request) -> None:
    """Spans are ordered, disjoint, in range, and never empty."""
    result = pipeline(request_)
    for d, source in zip(result.documents, request_.documents, strict=True):
        flat = [x for span in d.spans for x in span]
        assert flat == sorted(flat)
        assert all(0 <= s < e <= len(source.text) for s, e in d.spans)


@steady
@given(request_=requests(keep=keeps))
def test_output_is_source_text(pipeline: Pipeline, request_: Request) -> None:
    """A document's text is its spans joined; the whole text is the documents' joined by the separator."""
    result = pipeline(request_)
    for d, source in zip(result.documents, request_.documents, strict=True):
        assert d.text == "".join(source.text[s:e] for s, e in d.spans)
    pieces = [result.documents[i].text for i in result.order]
    assert result.text == request_.separator.join(p for p in pieces if p)


@steady
@given(request_=requests())
def test_tokens_out_within_budget(pipeline: Pipeline, request_: Request, reader: HfReader) -> None:
    """Tokens out never exceed the budget, in the reader's own count of the text as it is handed over."""
    result = pipeline(request_)
    clean = printable(result.text)  # as tokenizers can take it
    if request_.scope == "global" and request_.budget.kind != "threshold":
        value = request_.budget.value
        most = value if request_.budget.kind == "tokens" else int(value * result.tokens_in)
        assert reader.count([clean])[0] <= most
    if request_.scope == "document" and request_.budget.kind == "tokens":
        assert all(d.tokens_out <= request_.budget.value for d in result.documents)


@steady
@given(text=st.lists(texts, min_size=1, max_size=4), query=st.sampled_from([None, "who?"]))
def test_rate_one_is_the_identity(pipeline: Pipeline, text: list[str], query: str | None) -> None:
    """`rate: 1` returns every document byte for byte."""
    documents = [Document(id=str(i), text=t) for i, t in enumerate(text)]
    result = pipeline(Request(documents=documents, query=query, budget=Budget(kind="rate", value=1)))
    assert [d.text for d in result.documents] == text
    assert result.text == "\n\n".join(t for t in text if t)


@steady
@given(text=texts, budgets=st.tuples(st.integers(1, 60), st.integers(1, 60)))
def test_more_budget_keeps_no_less(fake_parts: Parts, reader: HfReader, text: str, budgets: tuple[int, int]) -> None:
    """The expected evidence of what is kept, its probability times its tokens, does not fall as the budget grows."""
    run = Pipeline(replace(fake_parts, company=False), reader)
    expected = []
    for tokens in sorted(budgets):
        request = Request(
            documents=[Document(text=text)], query="who?", unit="word", budget=Budget(kind="tokens", value=tokens)
        )
        d = run(request).documents[0]
        if d.units is None or d.units.heads is not None:  # all of it fits; or some words depend on others
            return
        there = np.array([any(s <= a < e for s, e in d.spans) for a in d.units.starts])
        costs = np.array(
            reader.count([printable(text[a:b]) for a, b in zip(d.units.starts, d.units.ends, strict=True)])
        )
        if costs.sum() != d.tokens_in:  # a reader whose tokens do not add up
            return
        expected.append(float((np.asarray(d.scores) * costs)[there].sum()))
    assert expected[0] <= expected[1] + 1e-9


@steady
@given(request_=requests())
def test_no_sentence_is_cut_where_one_fits(pipeline: Pipeline, request_: Request) -> None:
    """By default each sentence is kept whole or not at all, unless a warning says that none fits."""
    result = pipeline(replace(request_, unit="sentence"))
    if any("no whole sentence" in w for w in result.warnings):
        return
    for d, source in zip(result.documents, request_.documents, strict=True):
        if d.units is None:
            continue
        for a, b in zip(d.units.starts.tolist(), d.units.ends.tolist(), strict=True):
            solid = [i for i in range(a, b) if not source.text[i].isspace()]
            assert len({any(s <= i < e for s, e in d.spans) for i in solid}) <= 1


@steady
@given(request_=requests(budget=st.floats(0.0, 1.0).map(lambda p: Budget(kind="threshold", value=p))))
def test_thresholds_nest(pipeline: Pipeline, request_: Request) -> None:
    """A higher threshold keeps a subset of a lower one's."""
    strict = replace(request_, budget=Budget(kind="threshold", value=min(1.0, request_.budget.value + 0.2)))
    few, many = (pipeline(r) for r in (strict, request_))
    for a, b, source in zip(few.documents, many.documents, request_.documents, strict=True):
        assert kept(a, source) <= kept(b, source)


@steady
@given(request_=requests(keep=keeps))
def test_forced_units_are_kept(pipeline: Pipeline, request_: Request) -> None:
    """Every occurrence of a forced string, every forced digit and the first sentence survive any budget."""
    result = pipeline(request_)
    for d, source in zip(result.documents, request_.documents, strict=True):
        inside = {i for s, e in d.spans for i in range(s, e)}
        for string in request_.keep.strings:
            at = source.text.find(string)
            assert at < 0 or set(range(at, at + len(string))) <= inside
        if request_.keep.digits:
            assert all(i in inside for i, c in enumerate(source.text) if c in "0123456789")


@steady
@given(request_=requests())
def test_same_request_same_answer(pipeline: Pipeline, request_: Request) -> None:
    """The same request gives the same answer."""
    assert pipeline(request_) == pipeline(request_)


@steady
@given(text=texts, others=st.lists(texts, max_size=4))
def test_scores_do_not_depend_on_neighbours(fake_parts: Parts, text: str, others: list[str], reader: HfReader) -> None:
    """A document's scores are the same alone and beside others, what company adds to them aside."""
    request = Request(
        documents=[Document(id=str(i), text=t) for i, t in enumerate([text, *others])],
        query="who built the bridge?",
        budget=Budget(kind="threshold", value=0.5),
    )
    run = Pipeline(replace(fake_parts, company=False), reader)
    alone, beside = run(replace(request, documents=request.documents[:1])).documents[0], run(request).documents[0]
    assert beside.score == alone.score
    assert (beside.scores is None) == (alone.scores is None)
    assert alone.scores is None or np.array_equal(alone.scores, beside.scores)


@pytest.mark.parametrize("text", AWKWARD)
@pytest.mark.parametrize("unit", ["token", "word", "sentence"])
@pytest.mark.parametrize("recipe", ["token.v1", "lexical.v1"])
def test_awkward_text_is_answered(fake_model, reader: HfReader, text: str, unit: str, recipe: str) -> None:
    """No input crashes it, with or without a query, and the budget holds."""
    run = Pipeline(parts(recipe, fake_model), reader)
    for query in (None, text, "who?"):
        document = Document(text=text, title=text[:50])
        result = run(Request(documents=[document], query=query, unit=unit, budget=Budget(kind="rate", value=0.4)))
        assert result.tokens_out <= 0.4 * result.tokens_in
        assert result.documents[0].text == "".join(text[s:e] for s, e in result.documents[0].spans)


def test_budget_is_used(pipeline: Pipeline) -> None:
    """Word units spend at least 95 % of a budget on average."""
    rng = np.random.default_rng(0)
    vocabulary = [*VOCABULARY.split(" "), "Paris,", "money."]
    used = []
    for _ in range(60):
        documents = [
            Document(id=str(i), text=" ".join(rng.choice(vocabulary, rng.integers(20, 200)))) for i in range(4)
        ]
        tokens = int(rng.integers(20, 200))
        result = pipeline(Request(documents=documents, query="who?", budget=Budget(kind="tokens", value=tokens)))
        if result.tokens_in > tokens:
            used.append(result.tokens_out / tokens)
    assert np.mean(used) >= 0.95


def test_keep_is_empty_by_default() -> None:
    """Nothing is forced unless asked."""
    assert not Keep()
