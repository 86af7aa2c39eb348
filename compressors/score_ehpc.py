"""EHPC (Fei et al., NeurIPS 2025): a few "evaluator heads" look back from the question to what answers it.

Which heads those are is found once for a model by a pilot experiment (section 3.1) and stands on its card; only they
are read. A token's score is their mean attention, smoothed over its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from laconic.models import LossInput, LossOutput

from .score_loss import Asked, Text, entering, scale

KERNEL = 9  # tokens over which attention is averaged


class Ehpc:
    """`heads` are (layer, head) pairs; none: all heads of the first half of the layers."""

    def __init__(self, heads: Sequence[tuple[int, int]]) -> None:
        self.heads = heads

    def read(self, asked: Asked, t: Text) -> list[LossInput]:
        return [LossInput(before=t.before, text=t.ids, after=asked.ids)]

    def score(self, asked: Asked, t: Text, found: Sequence[LossOutput]) -> tuple[np.ndarray, float]:
        paid = smooth(looked_at(found[0].attention, self.heads))
        # a segment's share of attention says how far the question looks back to it
        return scale(entering(paid)), float(np.log(paid.max(initial=1e-6) * max(1, len(paid))))


def looked_at(attention: np.ndarray, heads: Sequence[tuple[int, int]]) -> np.ndarray:
    """Mean attention [N] of the given heads out of [layers, heads, N]."""
    half = [row for layer in attention[: max(1, len(attention) // 2)] for row in layer]
    found: np.ndarray = np.mean([attention[layer, head] for layer, head in heads] or half, axis=0)
    return found


def smooth(paid: np.ndarray) -> np.ndarray:
    """Mean over KERNEL neighbours, fewer at the ends."""
    if not len(paid):
        return paid
    window = np.ones(min(KERNEL, len(paid)))
    near: np.ndarray = np.convolve(paid, window, "same") / np.convolve(np.ones(len(paid)), window, "same")
    return near
