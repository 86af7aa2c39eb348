"""The best sentence by its clauses, then by its words: for budgets that hold no whole one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from . import units as cutting
from .depend import negated
from .draft import Draft, pooled
from .edu import inside
from .protect import uncut
from .select import Piece
from .types import UnitName, Units

Cut = Callable[[UnitName, Sequence[Draft]], list[Units]]  # see Pipeline


def below(drafts: Sequence[Draft], pieces: Sequence[Piece], clauses: Cut | None) -> Iterator[tuple[list[Piece], str]]:
    """The pieces with nothing but a part of the best sentence allowed, and what it is cut into; the larger first."""
    found = [(float(p.score[p.allowed].max()), -n) for n, p in enumerate(pieces) if p.allowed.any()]
    if not found or drafts[at := -max(found)[1]].laid:
        return
    d, piece = drafts[at], pieces[at]
    best = int(np.argmax(np.where(piece.allowed, piece.score, -np.inf)))
    start, end = int(piece.units.starts[best]), int(piece.units.ends[best])
    rest = [replace(p, allowed=np.zeros(len(p.units), bool)) for p in pieces]
    if clauses:
        units = clauses("edu", [d])[0]
        rest[at] = part(d, units, start, end, inside(units, d.sentences))
        yield rest, "clauses"
    words = negated(d.text, uncut(cutting.words(d.text), d.text))
    rest[at] = part(d, words, start, end, words.heads)
    yield rest, "words"


def part(d: Draft, units: Units, start: int, end: int, heads: np.ndarray | None) -> Piece:
    """A document of which only the units within [start, end) are allowed."""
    return Piece(
        text=d.text,
        units=units,
        score=pooled([d], [units]),
        forced=np.zeros(len(units), bool),
        cost=d.cost(units),
        allowed=(units.starts < end) & (units.ends > start),
        heads=heads,
    )
