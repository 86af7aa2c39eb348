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
    chain = [best]  # what it cannot stand without is kept whole, or nothing is
    while piece.heads is not None and (head := int(piece.heads[chain[-1]])) >= 0 and piece.allowed[head]:
        chain.append(head)
    ranges = [(int(piece.units.starts[n]), int(piece.units.ends[n])) for n in chain]
    rest = [replace(p, allowed=np.zeros(len(p.units), bool)) for p in pieces]
    if clauses:
        units = clauses("edu", [d])[0]
        rest[at] = part(d, units, ranges, inside(units, d.sentences))
        yield rest, "clauses"
    words = negated(d.text, uncut(cutting.words(d.text), d.text))
    rest[at] = part(d, words, ranges, words.heads)
    yield rest, "words"


def part(d: Draft, units: Units, ranges: Sequence[tuple[int, int]], heads: np.ndarray | None) -> Piece:
    """A document of which only the units within the first range are allowed, each with all that is in the others."""
    allowed = np.zeros(len(units), bool)
    heads = np.full(len(units), -1) if heads is None else heads.copy()
    before = -1
    for start, end in reversed(ranges):
        own = (units.starts < end) & (units.ends > start) & ~allowed
        allowed |= own
        if (start, end) == ranges[0]:
            heads[own & ((heads < 0) | ~own[heads])] = before
            break
        for n in np.flatnonzero(own).tolist():  # whole: each of its units depends on the one before
            heads[n], before = before, n
    return Piece(
        text=d.text,
        units=units,
        score=np.where(own, pooled([d], [units]), cutting.LOWEST),
        forced=np.zeros(len(units), bool),
        cost=d.cost(units),
        allowed=allowed,
        heads=heads,
        leads=allowed & ~own,
    )
