"""No unit of any size is cut in what says one thing: links, rows, lines of code, quantities, names."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laconic.compressors import Budget, Document, Parts, Pipeline, Request, Units
from laconic.compressors.protect import acyclic, merged, unbroken, uncut
from laconic.compressors.units import from_starts, sentences, tokens, words
from laconic.models import HfReader

from .strategies import texts

PIECES = [
    '[the old docs](https://example.org/a_(b) "A title. Of two.")',
    '<a href="x" title="One. Two.">a link</a>',
    "12 km",
    "3.5 GB",
    "$1,200",
    "€ 3.5 million",
    "20 %",
    "5 °C",
    "3 p.m.",
    "| a row. With | two cells |",
    "```\na = b. C = d\nE = f\n```",
]
NAMES = [
    "snake_case",
    "550e8400-e29b-41d4-a716-446655440000",
    "/usr/lib/a.py",
    "ada@example.org",
    "https://e.org/?q=1",
    "v1.2.3",
]


def pieces(text: str, units: Units) -> list[str]:
    return [text[a:b] for a, b in zip(units.starts, units.ends, strict=True)]


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("unit", ["word", "sentence", "phrase", "token"])
def test_no_unit_begins_inside(piece: str, unit: str, fake_parts: Parts, reader: HfReader) -> None:
    """Through the pipeline, with every kind of unit: a unit holds a piece whole, or a line of one."""
    text = f"Ada said so. She\n{piece}\nwent on. And so forth."
    request = Request(documents=[Document(text=text)], budget=Budget(kind="threshold", value=0), unit=unit)
    units = Pipeline(fake_parts, reader)(request).documents[0].units
    assert units is not None
    for line in piece.split("\n"):
        at = text.index(line)
        assert not any(at < s < at + len(line) for s in units.starts.tolist())


@pytest.mark.parametrize("name", NAMES)
def test_no_token_unit_begins_inside_a_name(name: str, fake_parts: Parts, reader: HfReader) -> None:
    """The reader's tokens are joined where they make an identifier, a path, an address."""
    text = f"Ada took {name} and left."
    request = Request(documents=[Document(text=text)], budget=Budget(kind="threshold", value=0), unit="token")
    units = Pipeline(fake_parts, reader)(request).documents[0].units
    assert units is not None and any(p.strip() == name for p in pieces(text, units))


@pytest.mark.parametrize(
    "text",
    [
        "In 1990 a man had 5 apples. He ate 3 in May, at 40 Main Street.",
        "A well-known state-of-the-art [1] method, e.g. this | one (see it).",
        "In 1932. A bridge. It was Ada's, and/or Bob's.",
    ],
)
def test_plain_prose_is_cut_as_before(text: str) -> None:
    """Numbers without units, notes, hyphens and lone signs protect nothing between words."""
    assert len(unbroken(text)) == 0
    units = words(text)
    assert uncut(units, text) is units


def test_sentences_end_outside_links_only() -> None:
    """A full stop in a link's title ends no sentence."""
    text = 'See [a](b.html "One. Two.") now. Then go.'
    assert [s.strip() for s in pieces(text, sentences(text))] == ['See [a](b.html "One. Two.") now.', "Then go."]


@settings(max_examples=200)
@given(text=texts | st.text(st.sampled_from("a1. |[]()<>/`~\n$%k_-"), max_size=80), names=st.booleans())
def test_units_still_tile(text: str, names: bool) -> None:
    """Ranges are in order and in the text; joined units tile it, and begin where units began."""
    ranges = unbroken(text, names=names)
    flat = ranges.ravel().tolist()
    assert flat == sorted(flat) and all(0 <= x <= len(text) for x in flat)
    for units in (words(text), tokens(list(range(0, len(text), 3)), len(text))):
        joined = uncut(units, text, names=names)
        assert "".join(pieces(text, joined)) == text and set(joined.starts.tolist()) <= set(units.starts.tolist())


@given(st.lists(st.integers(-1, 9), min_size=10, max_size=10))
def test_heads_have_no_cycles(heads: list[int]) -> None:
    """However units are joined, following heads comes to an end."""
    out = acyclic(np.array([-1 if h == n else h for n, h in enumerate(heads)]))
    for n in range(10):
        for _ in range(11):
            n = int(out[n]) if n >= 0 else -1
        assert n == -1


def test_a_joined_unit_depends_on_what_its_first_part_did() -> None:
    """Heads are renumbered; a unit is never its own."""
    text = "a 12 km b"
    cut = from_starts([0, 2, 5, 8], len(text))
    joined = uncut(Units(starts=cut.starts, ends=cut.ends, heads=np.array([-1, 0, 1, 2])), text)
    assert joined.heads is not None and joined.heads.tolist() == [-1, 0, 1] and joined.starts.tolist() == [0, 2, 8]


def test_overlapping_ranges_are_one() -> None:
    """Ranges that touch stay two, ranges that overlap become one."""
    assert merged([np.array([[5, 9], [0, 3]]), np.array([[3, 4], [8, 12]])]).tolist() == [[0, 3], [3, 4], [5, 12]]


@pytest.mark.parametrize(
    "piece", ["[", "](", "[a](", "<a ", "| ", "1.", "$", "a.", "/", "a@", "a_", "http://", "```\n", "a-"]
)
def test_time_is_linear(piece: str) -> None:
    """A hundred thousand characters of any one thing take a second at most."""
    begun = time.process_time()
    unbroken(piece * (100_000 // len(piece)), names=True)
    assert time.process_time() - begun < 2
