"""Budgets over documents: each document's own first, then the request's over what is left."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from .select import Piece, above, best, with_heads, within
from .stages import Reader
from .types import Budget, BudgetUnreachable, Request

Least = Callable[[Budget, np.ndarray, np.ndarray], float]  # see Parts.least


def allocate(
    request: Request, pieces: Sequence[Piece], total: int, reader: Reader, least: Least, order: Sequence[int]
) -> tuple[list[np.ndarray], list[str]]:
    """Kept units of every document, and warnings. Raises BudgetUnreachable unless the request says to warn."""
    warnings: list[str] = []
    narrowed = list(pieces)
    for i, document in enumerate(request.documents):
        budget = own(request, i)
        if budget is None or not document.compress or not len(pieces[i].units):
            continue
        kept, excess = apply(budget, [pieces[i]], int(pieces[i].cost.sum()), reader, least)
        report(excess, request, f"documents.{i}.budget", warnings)
        narrowed[i] = replace(pieces[i], allowed=kept[0])
    if request.scope == "document":
        return [p.forced | p.allowed for p in narrowed], warnings
    if not sum(len(p.units) for p in narrowed):
        return [np.zeros(0, bool) for _ in narrowed], warnings
    kept, excess = apply(request.budget, narrowed, total, reader, least, request.separator, order)
    report(excess, request, "budget", warnings)
    if not any(k.any() for k in kept) and request.budget.kind in ("rate", "tokens"):
        warnings.append("the budget is smaller than the best unit: nothing is kept")
    return kept, warnings


def apply(
    budget: Budget,
    pieces: Sequence[Piece],
    total: int,
    reader: Reader,
    least: Least,
    separator: str = "",
    order: Sequence[int] | None = None,
) -> tuple[list[np.ndarray], int]:
    """One budget over some documents: kept units, and the forced units' excess in tokens."""
    if budget.kind in ("threshold", "recall"):
        scores = np.concatenate([p.score[p.allowed] for p in pieces])
        lengths = np.concatenate([(p.units.ends - p.units.starts)[p.allowed] for p in pieces])
        kept = above(pieces, least(budget, scores, lengths))
        return (kept if any(k.any() for k in kept) else best_of(pieces)), 0
    tokens = limit(budget, total)
    if tokens >= total:
        return [p.forced | p.allowed for p in pieces], 0
    chosen = within(pieces, tokens, reader, separator, order)
    return chosen.kept, chosen.excess


def best_of(pieces: Sequence[Piece]) -> list[np.ndarray]:
    """The best unit of all with what it depends on: something is always kept."""
    out = [np.zeros(len(p.units), bool) for p in pieces]
    if found := best(pieces):
        n, unit = found
        out[n][unit] = True
        out[n] = with_heads(out[n], pieces[n])
    return out


def own(request: Request, i: int) -> Budget | None:
    """The budget that one document has to itself."""
    return request.documents[i].budget or (request.budget if request.scope == "document" else None)


def limit(budget: Budget, total: int) -> int:
    """How many of `total` tokens a rate or a number of tokens allows."""
    return int(budget.value) if budget.kind == "tokens" else math.floor(budget.value * total)


def report(excess: int, request: Request, param: str, warnings: list[str]) -> None:
    if excess <= 0:
        return
    message = f"what must be kept exceeds the budget by {excess} tokens"
    if request.on_over_budget == "error":
        raise BudgetUnreachable(message, param=param)
    warnings.append(message)
