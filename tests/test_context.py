"""Sentences of one text are raised by what stands beside them; passages about different things stand alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from laconic.compressors import Budget, Compressor, Document, Pipeline, Request
from laconic.compressors.context import apart, context, recurring
from laconic.compressors.link import Read
from laconic.compressors.outline import Outline
from laconic.compressors.units import LOWEST, sentences

PLAIN = "One saw Ada. Two met Ada. Three stayed. Four left. Five slept. "
OTHER = "One saw Ada. Two met Ben. Three stayed. Four left. Five slept. "


def read(text: str, scores: Sequence[float]) -> Read:
    """A document whose sentences have these scores."""
    return text, sentences(text), np.array(scores, np.float64)


def names(*texts: str) -> list[frozenset[str]]:
    return [Outline(text).names for text in texts]


@pytest.mark.parametrize(
    ("titles", "found"),
    [
        (["Oslo", "Bergen"], True),
        (["Oslo", "Oslo"], False),  # parts of one article
        (["Oslo", "Bergen", "Oslo"], False),
        (["Oslo", "Bergen", "Narvik", None], True),
        (["Oslo", None], False),
        ([None, None], False),
        (["Oslo"], False),  # a text of its own
        (["methods", "results"], False),  # headings, not names
    ],
)
def test_texts_about_different_things(titles: list[str | None], found: bool) -> None:
    """They are where most have a name that no other has."""
    assert apart(titles, names(*[PLAIN] * len(titles))) is found
    two = [read(PLAIN, [0, -1, -2, -3, -4])] * len(titles)
    moved = context("who slept?", titles, two, names(*[PLAIN] * len(titles)), [0.5] * len(titles))
    assert all(np.array_equal(m, np.full(5, 0.5)) for m in moved) is found


def test_names_that_recur() -> None:
    """Texts are parts of one where they speak of the same people."""
    strangers = names("We met Ada.", "We met Ben.", "We met Cid and Dan.")
    assert recurring(names(PLAIN, OTHER)) == pytest.approx(2 / 3)
    assert recurring(strangers) == recurring(names("", "none", "We met Ada.")) == recurring([]) == 0
    assert apart([None] * 3, strangers) and not apart([None] * 2, names(PLAIN, OTHER))
    assert apart(["Oslo"] * 3, strangers) and not apart([None], names(PLAIN))


def test_words_of_the_question() -> None:
    """Of like sentences the one with the question's rare word is best, and what all share tells nothing."""
    text = "The remote is grey. The remote is large. The remote has rubber. The remote is new. The remote is here. "
    given = read(text, [0, -0.1, -1, -0.2, -9])
    (moved,) = context("remote rubber", [None], [given], names(text), [0.0])
    assert (given[2] + moved).tolist() == pytest.approx([-0.1, -0.2, 0, -1, -9])


def test_the_best_of_each_document() -> None:
    """A document with a better sentence stands above one that has none, by all of its sentences; no score is new."""
    good, poor = read(PLAIN, [3, -4, -6, -8, -10]), read(PLAIN, [-3, -5, -7, -9, -11])
    first, second = context("nothing of it", [None, None], [good, poor], names(PLAIN, PLAIN), [0.0, 0.0])
    assert (good[2] + first).tolist() == [3, -3, -4, -5, -7]
    assert (poor[2] + second).tolist() == [-6, -8, -9, -10, -11]
    first, second = context(
        "nothing of it", [None, None], [good, poor], names(PLAIN, PLAIN), [0.0, 12.0]
    )  # what links have raised it by
    assert (poor[2] + second).tolist() == [9, 7, 5, 3, 3] and good[2][0] + first[0] == 1


def test_what_has_no_scores() -> None:
    """Sentences that nobody scored stay as they are, documents cut otherwise too, and so do empty ones."""
    half = read(PLAIN, [1, LOWEST, 0, LOWEST, -1])
    none, empty = read(PLAIN, [LOWEST] * 5), read("", [])
    moved = context("who slept?", [None] * 4, [half, none, empty, None], names(PLAIN, PLAIN, ""), [0.0, 0.0, 0.0, 0.7])
    assert not moved[0][[1, 3]].any() and moved[0][4] != 0
    assert [m.tolist() for m in moved[1:]] == [[0.0] * 5, [], [0.7]]


def test_a_question_about_a_talk(compressor: Compressor) -> None:
    """Real weights: of talk without titles more stays beside what answers; with names of their own nothing moves."""
    talk = [
        "Shall we start? First the case. I like rubber, as Ben does. It is soft. Then rubber it is, said Ada.",
        "Next, lunch. I am hungry, and Ada must be. There is soup. Soup is fine. It was good. Thank you, Ben.",
    ]
    query, line = "What did they decide about the case?", compressor.pipeline("token.v1")
    alone = Pipeline(replace(line.parts, company=False), line.reader)

    def scores(pipeline: Pipeline, titles: Sequence[str | None]) -> list[np.ndarray]:
        documents = [Document(id=str(i), text=t, title=n) for i, (t, n) in enumerate(zip(talk, titles, strict=True))]
        asked = Request(documents=documents, query=query, budget=Budget(kind="rate", value=0.4), unit="sentence")
        found = [d.scores for d in pipeline(asked).documents]
        return [f for f in found if f is not None]

    for titles, same in (((None, None), False), (("Remote control", "Lunch break"), True)):
        together, apart_ = scores(line, titles), scores(alone, titles)
        assert all(np.array_equal(a, b) for a, b in zip(together, apart_, strict=True)) is same
        assert max(t.max() for t in together) == pytest.approx(max(t.max() for t in apart_))
