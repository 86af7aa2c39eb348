"""The best sentence where it does not fit: said, where others do; in clauses, or in words, where nothing fits whole.

In the place of others that fit whole, its clauses kept more of what was asked for on short texts, and turned round what
one sentence in four said (bench/LOG.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from . import units as cutting
from .allocate import limit, own
from .depend import negated
from .draft import Draft, pooled
from .edu import inside
from .heads import summed
from .protect import acyclic, uncut
from .select import Piece, best, selectable
from .types import Request, UnitName, Units

Clauses = Callable[[UnitName, Sequence[Draft]], list[Units]]  # see Pipeline


def fitted(
    request: Request, drafts: Sequence[Draft], pieces: Sequence[Piece], total: int, clauses: Clauses | None
) -> tuple[list[Piece], list[str]]:
    """The pieces, the best sentence of each budget that holds no whole one cut; and what is not kept as it is best."""
    out, said = list(pieces), dict[str, None]()
    for numbers, tokens in budgets(request, out, total):
        if (found := best([out[i] for i in numbers])) is None:
            continue
        d, piece, unit = drafts[numbers[found[0]]], out[numbers[found[0]]], found[1]
        if (cost := int(prices(piece)[unit])) <= tokens:
            continue
        if any((selectable(out[i]) & (prices(out[i]) <= tokens)).any() for i in numbers):
            said[f"the best sentence, of {cost} tokens, does not fit the budget: others are kept instead"] = None
        elif d.laid is None:
            out[numbers[found[0]]], word = cut(d, piece, unit, tokens, clauses)
            said[f"no whole sentence fits the budget: {word} of the best one are kept"] = None
    return out, list(said)


def budgets(request: Request, pieces: Sequence[Piece], total: int) -> Iterator[tuple[list[int], int]]:
    """Documents that share a number of tokens, and that number."""
    for i, piece in enumerate(pieces):
        budget = own(request, i)
        if budget and budget.kind in ("rate", "tokens") and request.documents[i].compress:
            yield [i], limit(budget, int(piece.cost.sum()))
    if request.scope == "global" and request.budget.kind in ("rate", "tokens"):
        yield list(range(len(pieces))), limit(request.budget, total)


def prices(piece: Piece) -> np.ndarray:
    """What each unit costs with all that it depends on and may be kept; int64 [N]."""
    out = np.where(piece.allowed, piece.cost, 0)
    if piece.heads is None:
        return out
    return summed(out, np.where((piece.heads >= 0) & piece.allowed[piece.heads], piece.heads, -1))


def cut(d: Draft, piece: Piece, unit: int, tokens: int, clauses: Clauses | None) -> tuple[Piece, str]:
    """The piece with one of its units cut into clauses, or into words where there are none that fit."""
    if clauses:
        edus = clauses("edu", [d])[0]
        made = split(d, piece, unit, edus, inside(edus, d.sentences))
        count = len(made.units) - len(piece.units) + 1
        if prices(made)[unit + int(np.argmax(made.score[unit : unit + count]))] <= tokens:
            return made, "clauses"
    words = negated(d.text, uncut(cutting.words(d.text), d.text))
    return split(d, piece, unit, words, words.heads), "words"


def split(d: Draft, piece: Piece, unit: int, parts: Units, heads: np.ndarray | None) -> Piece:
    """The piece with a unit cut where `parts` begin in it; they depend on one another, or on what it depended on."""
    a, b = int(piece.units.starts[unit]), int(piece.units.ends[unit])
    inner = parts.starts[(parts.starts > a) & (parts.starts < b)]
    starts = np.insert(piece.units.starts, unit + 1, inner)
    units = Units(starts=starts, ends=np.append(starts[1:], piece.units.ends[-1]))
    times = np.ones(len(piece.units), np.int64)
    times[unit] += len(inner)
    number = np.cumsum(times) - times  # of each old unit, or its first part
    before = np.full(len(piece.units), -1) if piece.heads is None else piece.heads
    moved = np.repeat(np.where(before >= 0, number[before], -1), times)
    if heads is not None:
        each = cutting.owners(parts, np.maximum(starts[unit : unit + len(inner) + 1], a))
        up = heads[each]
        at = cutting.owners(units, parts.starts[up].clip(min=a))
        own = (up >= 0) & (at >= unit) & (at <= unit + len(inner)) & (parts.ends[up] > a)
        moved[unit : unit + len(inner) + 1] = np.where(own, at, moved[unit : unit + len(inner) + 1])
    moved = acyclic(np.where(moved == np.arange(len(moved)), -1, moved))
    mean, parted = pooled([d], [piece.units])[unit], pooled([d], [units])
    score = np.repeat(piece.score, times)
    here = slice(unit, unit + len(inner) + 1)
    score[here] = np.where(parted[here] > cutting.LOWEST, score[here] + parted[here] - mean, score[here])
    return Piece(
        text=piece.text,
        units=units,
        score=score,
        forced=np.repeat(piece.forced, times),
        cost=d.cost(units),
        allowed=np.repeat(piece.allowed, times),
        heads=moved,
        leads=None if piece.leads is None else np.repeat(piece.leads, times),
    )
