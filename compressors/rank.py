"""Documents by relevance: which stay, and in which order they are rendered."""

from __future__ import annotations

from collections.abc import Sequence

from .types import Order


def by_relevance(scores: Sequence[float]) -> list[int]:
    """Document numbers, best first; ties keep their order."""
    return sorted(range(len(scores)), key=lambda i: (-scores[i], i))


def spread(scores: Sequence[float], most: float) -> list[float]:
    """What each document is raised by: `most` for the best, as much less for the worst, evenly between.

    LongLLMLingua's dynamic compression ratio (section 4.3), which a score that is a rate of entry takes as a sum.
    """
    last = max(1, len(scores) - 1)
    out = [0.0] * len(scores)
    for rank, document in enumerate(by_relevance(scores) if len(scores) > 1 else ()):
        out[document] = most * (1 - 2 * rank / last)
    return out


def arrange(scores: Sequence[float], order: Order) -> list[int]:
    """Document numbers in rendering order; `two_stage` puts the best at both ends (LongLLMLingua, §4.2)."""
    if order == "source":
        return list(range(len(scores)))
    ranked = by_relevance(scores)
    return ranked if order == "relevance" else ranked[::2] + ranked[1::2][::-1]
