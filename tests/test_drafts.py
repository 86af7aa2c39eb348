"""What a request was scored to is kept for another budget, for whose work it was, until the cache is flushed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from laconic.compressors import Budget, Compressor, Document, Request
from laconic.compressors.outline import Outline, outline
from laconic.compressors.scored import RecentlyScored, Scored
from laconic.models import Work, current
from laconic.service.cache import Lru, Tiers

QUERY = "Who built the bridge?"
TEXTS = [
    "The bridge was built by Ada Lind. It was opened in 1932. It is painted green.",
    "The harbour was dug by Bo Berg. It froze in 1940. Ships waited for weeks.",
]


def asked(rate: float, query: str = QUERY, **more: object) -> Request:
    documents = [Document(id=str(i), text=t) for i, t in enumerate(TEXTS)]
    return replace(Request(documents=documents, query=query, budget=Budget(kind="rate", value=rate)), **more)  # type: ignore[arg-type]


@pytest.fixture
def kept() -> Iterator[Compressor]:
    found = Compressor(store=Tiers(Lru(1 << 24)))
    yield found
    found.close()


def test_another_budget_asks_nothing(kept: Compressor, compressor: Compressor) -> None:
    store = kept.store
    assert isinstance(store, Tiers)
    first = kept(asked(0.5))
    assert first.cached == 0
    looked = sum(store.lookups.values())
    for rate in (0.3, 0.5, 0.7):
        again, plain = kept(asked(rate)), compressor(asked(rate))
        assert again.cached == again.segments == 2
        assert (again.text, again.tokens_out, again.order) == (plain.text, plain.tokens_out, plain.order)
        assert [d.score for d in again.documents] == [d.score for d in plain.documents]
    assert sum(store.lookups.values()) == looked


@pytest.mark.parametrize(
    "more",
    [
        {"query": "Who dug the harbour?"},
        {"unit": "word"},
        {"scope": "document"},
        {"duplicates": "keep"},
        {"top_documents": 1},
        {"separator": " | "},
        {"documents": [Document(text=TEXTS[0], title="A bridge"), Document(text=TEXTS[1])]},
        {"documents": [Document(text=TEXTS[0]), Document(text=TEXTS[1], compress=False)], "on_over_budget": "warn"},
    ],
)
def test_what_scoring_depends_on_tells_requests_apart(
    kept: Compressor, compressor: Compressor, more: dict[str, object]
) -> None:
    kept(asked(0.4))
    found, plain = kept(replace(asked(0.4), **more)), compressor(replace(asked(0.4), **more))  # type: ignore[arg-type]
    assert (found.text, found.tokens_out) == (plain.text, plain.tokens_out)


def test_a_flush_forgets_it(kept: Compressor) -> None:
    assert isinstance(kept.store, Tiers)
    kept(asked(0.5))
    asyncio.run(kept.store.flush())
    assert kept(asked(0.4)).cached == 0


def test_it_is_its_tenants_own(kept: Compressor) -> None:
    for key in ("a", "b"):
        token = current.set(Work(key=key))
        try:
            assert kept(asked(0.5)).cached == 0
        finally:
            current.reset(token)


def test_the_oldest_goes_and_the_large_stays_out() -> None:
    recent = RecentlyScored(Tiers(Lru(1 << 20)), limit=1000)
    large, small = asked(0.5), [asked(0.5, query=str(n)) for n in range(9)]
    nothing = Scored(drafts=[], pieces=[], total=0)
    recent.put(replace(large, documents=[Document(text="x" * 300)]), nothing)
    assert recent.held == 0
    for request in small:
        recent.put(request, nothing)
    assert recent.get(small[-1]) is not None


def test_an_outline_is_made_once_for_a_text() -> None:
    text = "One sentence. Another one."
    assert outline(text) is outline("".join([text]))
    own = Outline(text)
    assert own.together is own.together
    own.keep("cost", text, 1)
    assert own.known("cost", text) == 1
    assert own.known("cost", [text]) is None and own.known("size", text) is None


def test_later_segments_are_scored_under_the_title(kept: Compressor) -> None:
    text = "The Long Road\n" + " ".join(f"It was shown in town number {n} for some weeks." for n in range(60))
    pipeline = kept.pipeline()
    drafts = pipeline._drafts(Request(documents=[Document(text=text)], budget=Budget(kind="rate", value=0.5)))
    pipeline._split(asked(0.5), drafts)
    titles = [s.title for s in drafts[0].segments]
    assert len(titles) > 1 and titles[0] is None and set(titles[1:]) == {"The Long Road"}
    found = kept(Request(documents=[Document(text=text)], query=QUERY, budget=Budget(kind="rate", value=0.5)))
    assert found.documents[0].title == "The Long Road"


def test_without_a_question_late_keeps_what_the_joint_head_does(compressor: Compressor) -> None:
    """What is kept where nothing is asked is the discourse encoder's, whichever head answers questions."""
    plain = asked(0.5, query="")
    one, other = (compressor(plain, recipe=recipe) for recipe in ("late.v1", "token.v1"))
    assert one.text == other.text and [d.spans for d in one.documents] == [d.spans for d in other.documents]


def test_warming_encodes_what_no_question_changes(kept: Compressor) -> None:
    pipeline = kept.pipeline("late.v1")
    assert pipeline.warm(asked(0.5, query="")) == (2, 0) and pipeline.warm(asked(0.5, query="")) == (2, 2)
    store = kept.store
    assert isinstance(store, Tiers)
    before = store.lookups["l1", "hit"]
    kept(asked(0.5), recipe="late.v1")
    assert store.lookups["l1", "hit"] - before == 2  # the codes of both texts
    assert kept.pipeline("token.v1").warm(asked(0.5, query="")) == (2, 0)
