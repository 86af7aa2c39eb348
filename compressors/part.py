"""What a recipe is made of, bound to a model: stages, and numbers that say how their scores combine."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .content.laid import Layout
from .recall import levels
from .stages import Scorer, Segmenter, Splitter
from .types import Budget, Segment, UnitName


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-max(-60.0, min(60.0, logit))))


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a recipe is made of, bound to a model where it has one."""

    splitter: Splitter
    scorer: Scorer
    unit: UnitName
    coherence: float = 0.0  # share of the sentence's score in a smaller unit's, with a query
    coherence_unasked: float = 0.0  # and without one
    calibrated: bool = False  # scores are logits of probabilities
    temperature: float = 1.0
    offset: float = 0.0
    relevance: Sequence[float] = (1.0, 0.0)  # temperature and offset of a document's score
    recall_levels: Sequence[tuple[float, float]] = ()  # (wanted, lowest level to keep: see recall), rising
    segmenter: Segmenter | None = None  # of discourse units
    spread: float = 0.0  # raises the best document, lowers the last, the others between (see rank.spread)
    company: bool = False  # with a query, sentences are raised by what stands beside them (see link, context)
    content: Layout | None = None  # cuts documents by their structure, where they have one
    warm: Callable[[Sequence[Segment]], int] | None = None  # keeps what no question changes; how much was kept before
    depth: float = 0.0  # taken from a discourse unit's score, without a query, for every unit it depends on

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """Scores as probabilities (Platt scaling, parameters from the card)."""
        if not self.calibrated:
            return scores
        return 1 / (1 + np.exp(-np.clip(scores / self.temperature + self.offset, -60, 60)))

    def graded(self, relevance: float) -> float:
        """A document's relevance logit as the probability that it answers."""
        temperature, offset = self.relevance
        return sigmoid(relevance / temperature + offset)

    def logits(self, probabilities: np.ndarray) -> np.ndarray:
        """The scores at which probabilities begin; the inverse of `probability`."""
        p = np.clip(probabilities, 1e-12, 1 - 1e-12)
        found: np.ndarray = (np.log(p / (1 - p)) - self.offset) * self.temperature
        return found

    def least(self, budget: Budget, score: np.ndarray, length: np.ndarray) -> float:
        """The lowest score that a threshold or a wanted recall keeps of units with these scores and lengths, [N]."""
        if budget.kind == "threshold":
            return float(self.logits(np.array(budget.value)))
        wanted = next((t for r, t in self.recall_levels if r >= budget.value), -math.inf)
        kept = score[levels(score / self.temperature + self.offset, length) >= wanted]
        return float(kept.min(initial=math.inf))
