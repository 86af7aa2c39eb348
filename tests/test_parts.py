"""Splitter, forced units, order, rendering, allocation: the small parts, one claim each."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings

from laconic.compressors import (
    Budget,
    BudgetUnreachable,
    Document,
    InvalidRequest,
    Keep,
    Parts,
    Pipeline,
    Request,
    UnknownName,
    parts,
)
from laconic.compressors.rank import arrange
from laconic.compressors.split import SentenceSplitter
from laconic.compressors.types import UnitName
from laconic.compressors.units import sentences
from laconic.models import HfReader

from .strategies import texts

TEXT = "The bridge was built in 1932. Ada designed it. It cost 4 million. Paris paid for it all in the end."


def rate(value: float) -> Budget:
    return Budget(kind="rate", value=value)


@settings(deadline=None, max_examples=100)
@given(text=texts)
def test_segments_tile_and_fit(reader: HfReader, text: str) -> None:
    """Segments cover all but white space, in order, each within the model's limit."""
    split = SentenceSplitter(reader.spans, 20)
    segments = split([Document(text=text)], [sentences(text)])
    at = 0
    for s in segments:
        assert not text[at : s.start].strip()
        at = s.start + len(s.text)
        assert reader.count([s.text])[0] <= 20
    assert not text[at:].strip()


def test_segments_end_with_sentences(reader: HfReader) -> None:
    """Where sentences fit, a segment ends with one."""
    found = SentenceSplitter(reader.spans, 16)([Document(text=TEXT)], [sentences(TEXT)])
    assert len(found) > 1
    assert all(s.text.rstrip().endswith(".") for s in found)


def test_an_edit_leaves_other_segments_alone(reader: HfReader) -> None:
    """One sentence more, less, or at the end of a long document: most of its many segments are the same text."""
    rng = random.Random(1)
    names = ["Ada", "Ben", "Cleo", "Dan", "Eve"]
    split = SentenceSplitter(reader.spans, 60)

    def segments(parts: list[str]) -> list[str]:
        text = "".join(parts)
        return [s.text for s in split([Document(text=text)], [sentences(text)])]

    same = total = 0
    for _ in range(10):
        lines = [f"{rng.choice(names)} saw {rng.randint(2, 99)} birds near bridge {i}. " for i in range(300)]
        before, at = set(segments(lines)), rng.randrange(20, 280)
        for changed in (lines[:at] + lines[at + 1 :], [*lines[:at], "It rained. ", *lines[at:]], [*lines, "The end. "]):
            after = segments(changed)
            assert len(after) > 40
            same, total = same + sum(s in before for s in after), total + len(after)
    assert same / total > 0.85


def test_orders() -> None:
    """Source keeps, relevance sorts with stable ties, two_stage puts the best at both ends."""
    scores = [0.1, 0.9, 0.5, 0.9, 0.0]
    assert arrange(scores, "source") == [0, 1, 2, 3, 4]
    assert arrange(scores, "relevance") == [1, 3, 2, 0, 4]
    assert arrange(scores, "two_stage") == [1, 2, 4, 0, 3]


@pytest.fixture(scope="module")
def run(fake_parts: Parts, reader: HfReader) -> Pipeline:
    return Pipeline(fake_parts, reader)


def test_forced_more_than_the_budget_is_an_error_that_says_by_how_much(run: Pipeline) -> None:
    """An unreachable budget is refused with the excess, or warned of when asked."""
    document = Document(text=TEXT)
    keep = Keep(strings=["The bridge", "Ada", "Paris"], digits=True)
    request = Request(documents=[document], budget=Budget(kind="tokens", value=3), keep=keep)
    with pytest.raises(BudgetUnreachable, match=r"by \d+ tokens"):
        run(request)
    warned = run(Request(documents=[document], budget=request.budget, keep=keep, on_over_budget="warn"))
    assert warned.tokens_out > 3
    assert "exceeds the budget by" in warned.warnings[0]


@pytest.mark.parametrize("pattern", ["(?=a)", "(", "a" * 2000, r"(a)\1"])
def test_patterns_that_are_not_linear_time_are_refused(run: Pipeline, pattern: str) -> None:
    """Look-around, back-references and nonsense are named as the caller's fault."""
    with pytest.raises(InvalidRequest) as caught:
        run(Request(documents=[Document(text=TEXT)], budget=rate(0.5), keep=Keep(patterns=["ok", pattern])))
    assert caught.value.param == "keep.patterns.1"


def test_hostile_pattern_is_answered(run: Pipeline) -> None:
    """A pattern that explodes in a backtracking engine is just a pattern here."""
    keep = Keep(patterns=["(a+)+$"])
    text = "a" * 5000 + "b " + TEXT
    assert run(Request(documents=[Document(text=text)], budget=rate(0.9), keep=keep, on_over_budget="warn")).text


def test_document_and_global_budgets_are_both_honoured(run: Pipeline) -> None:
    """A document's own budget binds it inside the request's."""
    documents = [
        Document(id="a", text=TEXT, budget=Budget(kind="tokens", value=4)),
        Document(id="b", text=TEXT + " More text follows here.", budget=rate(0.9)),
    ]
    result = run(Request(documents=documents, budget=Budget(kind="tokens", value=12), query="bridge"))
    assert result.documents[0].tokens_out <= 4
    assert result.tokens_out <= 12


def test_scope_document_gives_each_its_share(run: Pipeline) -> None:
    """With scope `document` the budget is every document's."""
    documents = [Document(id=str(i), text=TEXT) for i in range(3)]
    result = run(Request(documents=documents, budget=Budget(kind="tokens", value=8), scope="document"))
    assert [0 < d.tokens_out <= 8 for d in result.documents] == [True] * 3


def test_uncompressed_document_passes_whole(run: Pipeline) -> None:
    """`compress: false` returns a document untouched and counts its tokens."""
    documents = [Document(id="a", text=TEXT, compress=False), Document(id="b", text=TEXT)]
    result = run(Request(documents=documents, budget=rate(0.7), query="bridge", duplicates="keep"))
    assert result.documents[0].text == TEXT
    assert 0 < result.documents[1].tokens_out < result.documents[1].tokens_in


def test_top_documents_drops_the_rest_but_lists_them(run: Pipeline) -> None:
    """A dropped document is still in the answer, with nothing kept."""
    documents = [Document(id="a", text="Nothing here."), Document(id="b", text="bridge bridge bridge.")]
    result = run(Request(documents=documents, budget=rate(1), query="bridge", top_documents=1))
    assert [d.text for d in result.documents] == ["", "bridge bridge bridge."]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("rate", 0),
        ("rate", -0.1),
        ("rate", 1.1),
        ("rate", float("nan")),
        ("tokens", 0),
        ("tokens", float("nan")),
        ("threshold", 2),
        ("recall", 0),
        ("recall", 1.01),
    ],
)
def test_budgets_out_of_range_are_refused(kind: str, value: float) -> None:
    """Zero, negative, NaN and above one are not budgets."""
    with pytest.raises(InvalidRequest, match="must be"):
        Budget(kind=kind, value=value)  # type: ignore[arg-type]


def test_unknown_recipe_and_uncalibrated_threshold(run: Pipeline, reader: HfReader) -> None:
    """What does not exist is named; a threshold needs probabilities."""
    with pytest.raises(UnknownName, match=r"token\.v1"):
        parts("token.v9", None)
    with pytest.raises(InvalidRequest, match="needs a scorer model; there is none"):
        parts("token.v1", None)
    lexical = Pipeline(parts("lexical.v1", None), reader)
    with pytest.raises(InvalidRequest, match="not probabilities"):
        lexical(Request(documents=[Document(text=TEXT)], budget=Budget(kind="threshold", value=0.5)))
    for request in (
        Request(documents=[Document(text=TEXT)], budget=rate(0.5), top_documents=0, query="x"),
        Request(documents=[Document(text=TEXT)], budget=rate(0.5), top_documents=1),
    ):
        with pytest.raises(InvalidRequest, match="top_documents"):
            run(request)


def test_lexical_finds_the_words_of_the_query(reader: HfReader) -> None:
    """Without any model, the sentence that shares the query's words comes first; without a query, frequency."""
    lexical = Pipeline(parts("lexical.v1", None), reader)
    request = Request(documents=[Document(text=TEXT)], budget=rate(0.3), query="who designed it, Ada?")
    assert lexical(request).text == "Ada designed it."
    text = "Bridges carry roads. Bridges carry rails. Zebras sleep."
    unasked = lexical(Request(documents=[Document(text=text)], budget=rate(0.7)))
    assert unasked.text == "Bridges carry roads. Bridges carry rails."


def test_already_small_input_says_so(run: Pipeline) -> None:
    """Nothing to save: the input comes back, with the reason, and no model was asked."""
    result = run(Request(documents=[Document(text=TEXT)], budget=Budget(kind="tokens", value=500)))
    assert result.text == TEXT
    assert result.segments == 0
    assert "returned unchanged" in result.warnings[0]


def test_recall_needs_a_query_and_a_measurement(run: Pipeline, reader: HfReader) -> None:
    """A share of evidence means nothing without a question, or where nobody measured it; 1 is everything."""
    documents = [Document(text=TEXT)]
    measured = Pipeline(replace(run.parts, recall_levels=[(0.8, 0.5), (0.9, -1.0)]), reader)
    with pytest.raises(InvalidRequest, match="query"):
        measured(Request(documents=documents, budget=Budget(kind="recall", value=0.9)))
    with pytest.raises(InvalidRequest, match="measured"):
        Pipeline(replace(run.parts, recall_levels=()), reader)(
            Request(documents=documents, query="who?", budget=Budget(kind="recall", value=0.9))
        )
    whole = measured(Request(documents=documents, query="who?", budget=Budget(kind="recall", value=1)))
    assert whole.text == TEXT
    score, length = np.array([2.0, 0.1, -0.3, -9.0]), np.array([10, 10, 10, 10])
    least = lambda r: measured.parts.least(Budget(kind="recall", value=r), score, length)  # noqa: E731
    assert [least(r) for r in (0.7, 0.8, 0.81, 0.9, 0.95)] == [2.0, 2.0, 0.1, 0.1, -9.0]


@pytest.mark.parametrize("coherence", [0.0, 1.0])
def test_more_recall_keeps_more(run: Pipeline, reader: HfReader, coherence: float) -> None:
    """What a smaller recall keeps, a larger one does; where words score as their sentence, units change nothing."""
    wanted = {round(0.05 * n, 2): 2.0 - 0.5 * n for n in range(1, 20)}
    line = Pipeline(replace(run.parts, recall_levels=list(wanted.items()), coherence=coherence), reader)

    def kept(unit: UnitName, recall: float) -> set[int]:
        budget = Budget(kind="recall", value=recall)
        found = line(Request(documents=[Document(text=TEXT)], query="who built it?", budget=budget, unit=unit))
        return {i for a, b in found.documents[0].spans for i in range(a, b) if not TEXT[i].isspace()}

    units: tuple[UnitName, ...] = ("sentence", "word", "token")
    for unit in units:
        found = [kept(unit, r) for r in wanted]
        assert all(few <= more for few, more in pairwise(found))
        assert len({len(f) for f in found}) > 2
        if coherence:  # but for the least that is kept in any case: the best unit
            whole = [kept("sentence", r) for r in wanted]
            least = min(map(len, whole))
            assert [f for f, s in zip(found, whole, strict=True) if len(s) > least] == [
                s for s in whole if len(s) > least
            ]
