"""Numbers the card needs that no gradient gives, chosen on held-out groups of the training sets.

How much a segment's relevance shifts its tokens, and the Platt scaling (Platt 1999) that makes a sentence's score
the logit of a probability.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from .batches import Batcher
from .data import held_out
from .fit import TrainConfig, scores, to_device
from .platt import platt

RATES = (0.1, 0.25, 0.5)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One held-out question over ten segments: per-token arrays, concatenated; `row` numbers the segments."""

    source: str
    keep: np.ndarray
    relevance: np.ndarray  # of the token's segment
    sentence: np.ndarray  # number of the token's sentence in the case
    label: np.ndarray  # 1 evidence, 0 not
    answer: np.ndarray  # bool


@torch.no_grad()
def collect(block: nn.Module, batcher: Batcher, c: TrainConfig, per_source: int = 60) -> list[Case]:
    """Run a trained block over held-out questions with annotated or derived evidence."""
    block.eval()
    rng, out = random.Random(11), []
    for source, questions in batcher.corpus.questions.items():
        rows = [q for q in questions if held_out(q.group) and any(e for e, _ in q.gold.values())]
        for q in rows[:per_source]:
            b = to_device(batcher.pack(batcher.group(q, 0, 10, 240, rng)), c.device)
            keep, _, relevance = scores(block, b)
            on = (b.sentence >= 0) & (b.label >= 0)
            row = torch.arange(len(b.group), device=keep.device)[:, None].expand_as(b.sentence)
            _, sentence = (row * 100_000 + b.sentence)[on].unique(return_inverse=True)
            out.append(
                Case(
                    source=source,
                    keep=keep[on].cpu().numpy(),
                    relevance=relevance[:, None].expand_as(keep)[on].cpu().numpy(),
                    sentence=sentence.cpu().numpy(),
                    label=b.label[on].cpu().numpy(),
                    answer=(b.weight[on] > 1).cpu().numpy(),
                )
            )
    return out


def pooled(values: np.ndarray, sentence: np.ndarray) -> np.ndarray:
    return np.bincount(sentence, values) / np.bincount(sentence)


def recall(case: Case, weight: float, coherence: float, rate: float) -> tuple[float, float]:
    """Evidence tokens kept and whether every answer token is, at `rate` of the case's tokens."""
    token = case.keep + weight * case.relevance
    score = coherence * pooled(token, case.sentence)[case.sentence] + (1 - coherence) * token
    top = np.argsort(-score, kind="stable")[: int(rate * len(score))]
    kept = np.zeros(len(score), bool)
    kept[top] = True
    answer = kept[case.answer].all() if case.answer.any() else np.nan
    return float(kept[case.label > 0].mean()), float(answer)


def mean_recall(cases: list[Case], weight: float, coherence: float) -> float:
    """Mean over sources and rates of evidence recall, half weight for answers kept whole."""
    by: dict[str, list[float]] = {}
    for case in cases:
        for rate in RATES:
            evidence, answer = recall(case, weight, coherence, rate)
            by.setdefault(case.source, []).append(evidence if np.isnan(answer) else (2 * evidence + answer) / 3)
    return float(np.mean([np.mean(v) for v in by.values()]))


def scaling(cases: list[Case], weight: float) -> tuple[float, float]:
    """Temperature and offset that make a sentence's score the logit of its probability of being evidence."""
    x = np.concatenate([pooled(k.keep + weight * k.relevance, k.sentence) for k in cases])
    y = np.concatenate([pooled(k.label, k.sentence) >= 0.5 for k in cases]).astype(np.float64)
    return platt(x, y, np.full(len(x), 1 / len(x)))


def choose(cases: list[Case]) -> dict[str, float]:
    """The card's numbers: the best relevance weight of a small grid, then Platt scaling at that choice.

    With a query, coherence 0.9, 0.97 and 1 keep the same evidence; 1 makes the trimmed sentence a readable
    beginning. Without one, 0.3 to 0.6 kept most answers (bench/LOG.md).
    """
    grid = {w: mean_recall(cases, w, 1.0) for w in (0.0, 0.1, 0.25, 0.5, 1.0)}
    weight = max(grid, key=lambda w: grid[w])
    temperature, offset = scaling(cases, weight)
    return {
        "relevance_weight": weight,
        "coherence": 1.0,
        "coherence_unasked": 0.5,
        "temperature": round(temperature, 4),
        "offset": round(offset, 4),
        "held_out_score": round(grid[weight], 4),
    }
