"""Selective-Context (Li et al., EMNLP 2023, section 3): what a language model could have guessed is left out.

A unit's score is the mean self-information of its tokens; units are tokens, words, phrases (the default), sentences.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from laconic.models import LossInput, LossOutput

from .score_loss import Asked, Text
from .score_token import BOUND


class Perplexity:
    """Self-information in nats, less the middle of the scale; a query plays no part."""

    def read(self, asked: Asked, t: Text) -> list[LossInput]:
        return [LossInput(before=t.before, text=t.ids)]

    def score(self, asked: Asked, t: Text, found: Sequence[LossOutput]) -> tuple[np.ndarray, float]:
        return found[0].text - BOUND, mean(found[0].text) - BOUND


def mean(losses: np.ndarray) -> float:
    return float(losses.mean()) if len(losses) else 0.0
