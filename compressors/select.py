"""Choosing units: the best first, each with what it depends on; what does not fit is passed by, and what fits is taken.

The count that decides is the reader's, taken on the rendered text, not a sum of estimates (docs/adr/0030).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from laconic.models import checkpoint

from .render import Form, Rendered, join, render, spans_of
from .stages import Reader
from .types import Units

CANDIDATES, TRIES = 2000, 6  # units looked at for what room is left, and how often where more was taken than fits


@dataclass(kw_only=True, slots=True)
class Piece:
    """One document as the selector sees it."""

    text: str
    units: Units
    score: np.ndarray  # float64 [N]
    forced: np.ndarray  # bool [N]
    cost: np.ndarray  # int64 [N], the reader's tokens that end in each unit
    allowed: np.ndarray  # bool [N], False where a narrower budget has dropped the unit
    heads: np.ndarray | None = None  # int64 [N], the unit without which each is not kept, or -1
    leads: np.ndarray | None = None  # bool [N], units that are kept only for what depends on them
    form: Form | None = None  # how kept units become text, where spans alone do not say it

    _last: tuple[bytes, Rendered, str] | None = None  # what was written last: a selection is counted, then answered

    def written(self, kept: np.ndarray) -> Rendered:
        """Kept units as spans of the text, and what stands between them."""
        return self._write(kept)[1]

    def rendered(self, kept: np.ndarray) -> str:
        """Kept units as text."""
        return self._write(kept)[2]

    def _write(self, kept: np.ndarray) -> tuple[bytes, Rendered, str]:
        last, which = self._last, kept.tobytes()
        if last is None or last[0] != which:
            found = self.form(kept) if self.form else Rendered(spans_of(self.text, self.units, kept), [])
            self._last = last = which, found, render(self.text, *found)
        return last


class Counter:
    """Reader tokens of kept units of several documents, as they are handed over: rendered, joined in an order.

    Kept units are one bool array over the units of all documents.
    """

    def __init__(self, reader: Reader, pieces: Sequence[Piece], separator: str, order: Sequence[int]) -> None:
        self.reader, self.pieces, self.separator, self.order = reader, pieces, separator, order
        self.edges = np.cumsum([0, *(len(p.units) for p in pieces)])
        self.owner = np.repeat(np.arange(len(pieces)), np.diff(self.edges))  # the document of every unit
        self.gap = reader.count([separator])[0] if len(pieces) > 1 else 0

    def __call__(self, kept: np.ndarray) -> int:
        own = self.each(kept)
        texts = []
        for i in self.order:
            checkpoint()
            texts.append(self.pieces[i].rendered(own[i]))
        return self.reader.count([join(self.separator, texts)])[0]

    def each(self, kept: np.ndarray) -> list[np.ndarray]:
        """The same, one array for each document."""
        bounds = self.edges.tolist()
        return [kept[a:b] for a, b in pairwise(bounds)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Kept units of each document, and by how many tokens the forced ones alone exceed the budget."""

    kept: list[np.ndarray]
    excess: int


def above(pieces: Sequence[Piece], threshold: float) -> list[np.ndarray]:
    """Every unit whose score (a logit) reaches `threshold` (a logit), what it depends on, and the forced ones."""
    return [p.forced | with_heads(selectable(p) & (p.score >= threshold), p) for p in pieces]


def selectable(piece: Piece) -> np.ndarray:
    """The units that can be kept for their own sake, bool [N]."""
    return piece.allowed if piece.leads is None else piece.allowed & ~piece.leads


def best(pieces: Sequence[Piece]) -> tuple[int, int] | None:
    """Piece and unit of the highest score that nothing forces; None where there is none."""
    free = [selectable(p) & ~p.forced for p in pieces]
    found = [(float(p.score[f].max()), -n) for n, (p, f) in enumerate(zip(pieces, free, strict=True)) if f.any()]
    if not found:
        return None
    n = -max(found)[1]
    return n, int(np.argmax(np.where(free[n], pieces[n].score, -np.inf)))


def with_heads(kept: np.ndarray, piece: Piece) -> np.ndarray:
    """`kept` and every allowed unit that one of them depends on."""
    return kept if piece.heads is None else closure(kept, piece.heads, piece.allowed)


def closure(kept: np.ndarray, heads: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
    """`kept` and every unit, of those `allowed`, that one of them depends on."""
    out: np.ndarray = kept.copy()
    todo = np.flatnonzero(kept)
    while len(todo):
        todo = np.unique(heads[todo])
        todo = todo[(todo >= 0) & ~out[todo] & (True if allowed is None else allowed[todo])]
        out[todo] = True
    return out


def heads_first(order: np.ndarray, fixed: int, heads: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """`order` with every unit's heads brought before it, but not before the first `fixed`, which are kept anyhow.

    Any prefix past those then holds the heads of all it holds.
    """
    out = dict.fromkeys(order[:fixed].tolist())
    for unit in order[fixed:].tolist():
        chain = []
        while unit >= 0 and unit not in out and allowed[unit]:
            chain.append(unit)
            unit = int(heads[unit])
        out |= dict.fromkeys(reversed(chain))
    return np.fromiter(out, np.int64, len(out))


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool:
    """The units of all documents, numbered through."""

    forced: np.ndarray  # bool [N]
    allowed: np.ndarray  # bool [N], the forced ones too
    leads: np.ndarray  # bool [N]
    score: np.ndarray  # float64 [N]
    cost: np.ndarray  # int64 [N]
    heads: np.ndarray | None  # int64 [N]

    @staticmethod
    def of(pieces: Sequence[Piece]) -> Pool:
        forced = np.concatenate([p.forced for p in pieces])
        none = [np.zeros(len(p.units), bool) for p in pieces]
        return Pool(
            forced=forced,
            allowed=np.concatenate([p.allowed for p in pieces]) | forced,
            leads=np.concatenate([n if p.leads is None else p.leads for p, n in zip(pieces, none, strict=True)]),
            score=np.concatenate([p.score for p in pieces]),
            cost=np.concatenate([p.cost for p in pieces]),
            heads=joint_heads(pieces),
        )

    def ordered(self) -> np.ndarray:
        """The units that can be kept for their own sake, by (forced, score, position), heads before their units."""
        alone = self.allowed & (self.forced | ~self.leads)
        best = np.lexsort((np.arange(len(alone)), -self.score, ~self.forced, ~alone))[: int(alone.sum())]
        return best if self.heads is None else heads_first(best, int(self.forced.sum()), self.heads, self.allowed)

    def chain(self, unit: int, kept: np.ndarray) -> list[int]:
        """A unit and what it depends on that is not kept."""
        out = []
        while unit >= 0 and not kept[unit] and self.allowed[unit]:
            out.append(unit)
            unit = int(self.heads[unit]) if self.heads is not None else -1
        return out

    def needed(self, kept: np.ndarray) -> np.ndarray:
        """`kept` without what leads to nothing that is kept."""
        if self.heads is None or not self.leads.any():
            return kept
        while True:
            used = np.zeros(len(kept), bool)
            used[self.heads[kept & (self.heads >= 0)]] = True
            idle = kept & self.leads & ~used & ~self.forced
            if not idle.any():
                return kept
            kept = kept & ~idle


def within(
    pieces: Sequence[Piece], budget: int, reader: Reader, separator: str = "", order: Sequence[int] | None = None
) -> Selection:
    """Units that `reader` counts as at most `budget` tokens: by (forced, score, position), what does not fit passed by.

    `order` is how the documents will be joined. Each unit brings its heads, or is passed by.
    """
    pool = Pool.of(pieces)
    best, least = pool.ordered(), int(pool.forced.sum())
    count = Counter(reader, pieces, separator, range(len(pieces)) if order is None else order)
    if least and (excess := count(pool.forced) - budget) > 0:
        return Selection(kept=count.each(pool.forced), excess=excess)
    kept, k, over = longest(best, least, pool, count, budget)
    for _ in range(TRIES):
        more = filled(kept, best[k:], pool, count, budget, -over)
        if more is None:
            break
        kept, over = more
    return Selection(kept=count.each(kept), excess=0)


def longest(best: np.ndarray, least: int, pool: Pool, count: Counter, budget: int) -> tuple[np.ndarray, int, int]:
    """Of the `best` units the first k, so many that one more is not within the budget: kept, k, their tokens less it.

    By estimates, each corrected by what the last one was off, and by halves where that does not end.
    """
    begun = np.zeros(len(best), bool)  # units that are the first of their documents: a separator comes with them
    begun[np.unique(count.owner[best], return_index=True)[1]] = True
    spent = np.concatenate(([0], np.cumsum(pool.cost[best] + count.gap * begun))) - count.gap

    def prefix(k: int) -> np.ndarray:
        kept = np.zeros(len(pool.score), bool)
        kept[best[:k]] = True
        return pool.needed(kept)

    def guess(drift: int) -> int:
        return int(spent.searchsorted(budget - drift, side="right")) - 1

    low, high, found, tries = least, len(best), (prefix(least), least, 0), 0
    k = max(low, min(guess(0), high))
    while True:
        kept = prefix(k)
        over = count(kept) - budget
        if over <= 0:
            low, found = k, (kept, k, over)
        else:
            high = k - 1
        following = guess(budget + over - int(spent[k]))
        if low >= high or (over <= 0 and following <= k):
            break
        tries += 1
        k = max(low + 1, min(following, high)) if tries < TRIES else (low + high + 1) // 2
    if found[1] == least:
        found = found[0], least, count(found[0]) - budget
    return found


def filled(
    kept: np.ndarray, rest: np.ndarray, pool: Pool, count: Counter, budget: int, room: int
) -> tuple[np.ndarray, int] | None:
    """`kept` and, of the `rest`, best first, what still fits in `room` tokens, and its tokens less the budget.

    By estimates, and counted as a whole; where they were too low, less room is given than there seemed to be, and all
    is tried again. None where nothing more fits.
    """
    rest = rest[:CANDIDATES]
    rest = rest[~kept[rest]]
    for _ in range(TRIES):
        if room <= 0 or (more := taken(kept, rest, pool, count, room)) is None:
            return None
        over = count(more) - budget
        if over <= 0:
            return more, over
        room -= over
    return None


def taken(kept: np.ndarray, rest: np.ndarray, pool: Pool, count: Counter, room: int) -> np.ndarray | None:
    """`kept` and what of the `rest` comes to no more than `room` tokens by its own costs; None where nothing does."""
    rest = rest[(pool.cost[rest] <= room) & ~pool.leads[rest]]
    if not len(rest):
        return None
    out, left = kept.copy(), room
    used = np.zeros(len(count.pieces), bool)
    used[count.owner[kept]] = True
    some = bool(used.any())
    for unit in rest.tolist():
        if out[unit]:
            continue
        chain, owner = pool.chain(unit, out), count.owner[unit]
        price = int(pool.cost[chain].sum()) + (0 if used[owner] else count.gap * some)
        if price <= left:
            out[chain] = True
            left -= price
            used[owner] = some = True
            if left <= 0:
                break
    return out if left < room else None


def joint_heads(pieces: Sequence[Piece]) -> np.ndarray | None:
    """The heads of all documents' units, numbered through; None where no unit has one."""
    if all(p.heads is None for p in pieces):
        return None
    first = np.cumsum([0, *(len(p.units) for p in pieces)])
    found = [p.heads if p.heads is not None else np.full(len(p.units), -1) for p in pieces]
    joined: np.ndarray = np.concatenate([np.where(h >= 0, h + a, -1) for h, a in zip(found, first, strict=False)])
    return joined
