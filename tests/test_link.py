"""A document that a relevant sentence of another names is raised; nothing else is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from laconic.compressors import Budget, Compressor, Document, Pipeline, Request
from laconic.compressors.link import WEIGHT, Read, about, link
from laconic.compressors.units import sentences

FILM = "Night Train is a film of 1931. It was directed by Ada Blom. It lasted two hours."
PERSON = "She was born in Oslo. Her husband was the painter Per Vik. She liked trains."


def read(text: str, scores: Sequence[float]) -> Read:
    """A document whose sentences have these scores."""
    return text, sentences(text), np.array(scores, np.float64)


def test_a_mention_raises() -> None:
    """The best sentence's mention counts whole, a worse one's less, none not at all."""
    film, other = read(FILM, [0, 3, -2]), read("Nothing of note. Really nothing.", [-3, -3])
    person = read(PERSON, [2, 3, 2])
    titles = ["Night Train", "Ada Blom (director)", "Bergen"]
    assert link("whose wife?", titles, [film, person, other]) == [0.0, WEIGHT, 0.0]
    worse = read(FILM, [5, 3, -2])
    raised = link("whose wife?", titles, [worse, person, other])
    assert raised[0] == raised[2] == 0
    assert 0.5 * WEIGHT < raised[1] < 0.6 * WEIGHT


def test_a_mention_lifts() -> None:
    """The best sentence under a name stands at least as high as the one that has the name; nothing stands higher."""
    film, person = read(FILM, [0, 3, -2]), read(PERSON, [-4, -3, -9])
    titles = ["Night Train", "Ada Blom"]
    assert link("whose wife?", titles, [film, person]) == [0.0, 6.0]
    assert link("whose wife was Ada Blom?", titles, [film, person]) == [0.0, WEIGHT]  # no step to what is asked about
    two = [*titles, "Ada Blom"]  # passages under one name are raised alike, by what the best of them lacks
    assert link("whose wife?", two, [film, person, read(PERSON, [-1, -8, -8])]) == [0.0, 4.0, 4.0]


def test_the_query_names_a_document() -> None:
    """A title in the query counts whole, in any case."""
    two = [read(FILM, [0, 0, 0]), read(PERSON, [0, 0, 0])]
    assert link("who made night train?", ["Night Train", "Oslo"], two)[0] == WEIGHT


@pytest.mark.parametrize(
    "titles",
    [
        [None, None],
        ["Night Train", None],
        ["Ada Blom", "Ada Blom"],  # passages of one article
        ["x", "directed"],  # a word, not a name
        ["x", "Ada Blomqvist"],
        ["x", "da Blom"],
    ],
)
def test_what_is_no_mention(titles: list[str | None]) -> None:
    """No title, the same title, a common word, part of a word: nothing is raised."""
    assert link("whose wife?", titles, [read(FILM, [0, 3, -2]), read(PERSON, [0, 0, 0])]) == [0.0, 0.0]


def test_titles() -> None:
    """Asides go; words, initials and whole paragraphs are no names."""
    assert about("Night Train (1931 film)") == "Night Train"
    assert about("results") is about("Al") is about("") is about(None) is about("A" * 101) is None
    assert about("東京都庁舎") == "東京都庁舎"


def test_alone_and_empty() -> None:
    """One document is as it was; documents without text have no sentences."""
    assert link("q", ["Ada Blom"], [read(FILM, [0, 0, 0])]) == [0.0]
    empty = read("", [])
    assert link("q", ["Ada Blom", "Oslo"], [empty, empty]) == [0.0, 0.0]


def test_the_second_hop_is_kept(compressor: Compressor) -> None:
    """Real weights: the director's husband is kept, though the query does not name her; no other score is touched."""
    filler = "The harbour was rebuilt. Fishing boats left at dawn. The market sold fish and bread to sailors."
    documents = [
        Document(id="film", title="Night Train (film)", text=FILM),
        *(Document(id=str(i), title=f"Harbour {i}", text=filler) for i in range(4)),
        Document(id="person", title="Ada Blom", text=PERSON),
    ]
    query = "Who was married to the director of the film of 1931?"
    request = Request(documents=documents, query=query, budget=Budget(kind="rate", value=0.3))
    result = compressor(request)
    kept = {d.id: d.text for d in result.documents}
    assert "directed by Ada Blom" in kept["film"]
    assert "Per Vik" in kept["person"]
    line = compressor.pipeline("token.v1")
    without = Pipeline(replace(line.parts, company=False), line.reader)(request)
    for linked, plain in zip(result.documents, without.documents, strict=True):
        assert linked.scores is not None and plain.scores is not None
        same = np.array_equal(linked.scores, plain.scores)
        assert same == (linked.id != "person")
        assert same or (linked.scores > plain.scores).all()
