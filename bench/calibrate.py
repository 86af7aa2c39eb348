"""Scores as served against labels, on groups no training has seen: what a probability means, and what recall costs.

The card gets Platt scaling (Platt 1999) of sentence scores, and for `budget: {"recall": r}` the level (see
compressors.recall) down to which sentences must be kept so that the expected share of evidence kept is at least r
(conformal risk control, Angelopoulos et al. 2022, equation 4), each set of questions weighing the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from laconic.compressors import Budget, Compressor, Document, Pipeline, Request, Result
from laconic.compressors.recall import levels
from laconic.models import Card
from laconic.models.question_sets import names
from laconic.models.training.platt import platt

from .data import Example, examples

RECALLS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One question: per sentence its score, characters, tokens and the share of all evidence it holds; [S] each."""

    source: str
    score: np.ndarray
    length: np.ndarray
    tokens: np.ndarray
    evidence: np.ndarray  # sums to 1
    label: np.ndarray  # bool: at least half of it is evidence
    level: np.ndarray = field(default_factory=lambda: np.zeros(0))  # see levelled


def collect(
    folder: Path,
    compressor: Compressor,
    recipe: str,
    *,
    count: int,
    documents: int,
    only: Sequence[str] = (),
    among: Callable[[str], bool] | None = None,
    elsewhere: bool = False,
) -> list[Case]:
    """Score questions through the real pipeline; `among` says which groups of a set are drawn from.

    `elsewhere` asks each what was asked about other documents: nothing there is evidence.
    """
    pipeline = compressor.pipeline(recipe)
    everything = Budget(kind="threshold", value=0.0)
    out = []
    for name in only or names(folder):
        drawn = examples(folder, name, count=count, documents=documents, among=among)
        if elsewhere:
            others = drawn[len(drawn) // 2 :] + drawn[: len(drawn) // 2]
            drawn = [replace(e, query=o.query) for e, o in zip(drawn, others, strict=True)]
        for e in tqdm([e for e in drawn if e.evidence], desc=f"{recipe}, {name}", unit="question"):
            given = [Document(id=str(i), text=t, title=e.titles[i]) for i, t in enumerate(e.texts)]
            found = pipeline(Request(documents=given, query=e.query, budget=everything, unit="sentence"))
            out.append(case(name, e, found, pipeline))
    return out


def case(source: str, e: Example, found: Result, pipeline: Pipeline) -> Case:
    """One answer beside its labels."""
    score, tokens, inside, size = [], [], [], []
    for number, (text, d) in enumerate(zip(e.texts, found.documents, strict=True)):
        if d.units is None or d.scores is None:
            continue
        starts, ends = d.units.starts, d.units.ends
        begins = pipeline.reader.spans([text])[0][:, 0]
        score.append(pipeline.parts.logits(d.scores))
        tokens.append(np.diff(np.searchsorted(begins, np.append(starts, len(text)))))
        marked = [(a, b) for n, a, b in e.evidence if n == number]
        inside.append(
            sum((np.clip(np.minimum(ends, b) - np.maximum(starts, a), 0, None) for a, b in marked), 0 * starts)
        )
        size.append(ends - starts)
    evidence = np.concatenate(inside).astype(np.float64)
    length = np.concatenate(size)
    label = evidence >= 0.5 * length
    return Case(
        source=source,
        score=np.concatenate(score),
        length=length,
        tokens=np.concatenate(tokens),
        evidence=evidence / max(1.0, evidence.sum()),
        label=label,
    )


def weights(cases: Sequence[Case]) -> np.ndarray:
    """Each set of questions weighs the same, whatever its number of questions; sums to 1."""
    count = Counter(c.source for c in cases)
    return np.array([1 / (len(count) * count[c.source]) for c in cases])


def flat(cases: Sequence[Case]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All sentences: score, whether it is evidence, and a weight that lets every set and every question count alike."""
    each = zip(cases, weights(cases), strict=True)
    x = np.concatenate([c.score for c in cases])
    y = np.concatenate([c.label for c in cases]).astype(np.float64)
    return x, y, np.concatenate([np.full(len(c.score), w / len(c.score)) for c, w in each])


def levelled(cases: Sequence[Case], temperature: float, offset: float) -> list[Case]:
    """The same with the level of every sentence, as a request about them has it."""
    return [replace(c, level=levels(c.score / temperature + offset, c.length)) for c in cases]


def recall_at(c: Case, least: float) -> tuple[float, float]:
    """Share of evidence and of tokens kept when every sentence whose level is at least `least` is."""
    on = c.level >= least
    return float(c.evidence[on].sum()), float(c.tokens[on].sum() / max(1, c.tokens.sum()))


def thresholds(cases: Sequence[Case], recalls: Sequence[float] = RECALLS) -> list[tuple[float, float]]:
    """(recall, lowest level to keep): the highest of a grid whose bounded expected miss is within 1 - recall."""
    each, n = weights(cases), len(cases)
    grid = np.unique(np.quantile(np.concatenate([c.level for c in cases]), np.linspace(0, 1, 4001)))
    missed = np.zeros(len(grid))
    for c, w in zip(cases, each, strict=True):
        order = np.argsort(c.level)
        gone = np.append(0.0, np.cumsum(c.evidence[order]))  # evidence below each place in the order
        missed += w * gone[np.searchsorted(c.level[order], grid, side="left")]
    bound = n / (n + 1) * missed + 1 / (n + 1)
    out = []
    for r in recalls:
        within = np.flatnonzero(bound <= 1 - r)
        if len(within):
            out.append((r, float(grid[within[-1]])))
    return out


def coverage(cases: Sequence[Case], least: float) -> dict[str, tuple[float, float]]:
    """Mean evidence recall and mean rate at one threshold, by set."""
    out: dict[str, tuple[float, float]] = {}
    for source in sorted({c.source for c in cases}):
        found = np.array([recall_at(c, least) for c in cases if c.source == source])
        out[source] = (round(float(found[:, 0].mean()), 4), round(float(found[:, 1].mean()), 4))
    return out


def bins(cases: Sequence[Case], temperature: float, offset: float, count: int = 10) -> list[tuple[float, float, int]]:
    """For a reliability diagram: mean predicted probability, share of evidence, sentences; by tenths of probability."""
    x, y, w = flat(cases)
    p = 1 / (1 + np.exp(-np.clip(x / temperature + offset, -60, 60)))
    at = np.minimum((p * count).astype(int), count - 1)
    out = []
    for i in range(count):
        if (on := at == i).any():
            predicted, seen = (float(np.average(v[on], weights=w[on])) for v in (p, y))
            out.append((round(predicted, 4), round(seen, 4), int(on.sum())))
    return out


def report(
    known: Sequence[Case],
    fresh: Sequence[Case],
    elsewhere: Sequence[Case] = (),
    shown: Sequence[float] = (0.9, 0.95),
) -> dict[str, Any]:
    """What the card says: scaling, levels, and what they keep of the other half of `known`, `fresh` and `elsewhere`."""
    temperature, offset = platt(*flat(known))
    known, fresh, elsewhere = (levelled(c, temperature, offset) for c in (known, fresh, elsewhere))
    halves = [list(known[0::2]), list(known[1::2])]
    out: dict[str, Any] = {
        "questions": len(known),
        "temperature": round(temperature, 4),
        "offset": round(offset, 4),
        "recall_levels": [(r, round(t, 4)) for r, t in thresholds(known)],
        "bins": bins(known, temperature, offset),
    }
    for r in shown:
        crossed: dict[str, list[tuple[float, float]]] = {}
        for learn, test in (halves, halves[::-1]):
            least = dict(thresholds(learn)).get(r, -np.inf)
            for source, pair in coverage(test, least).items():
                crossed.setdefault(source, []).append(pair)
        held = {s: tuple(round(float(v), 4) for v in np.mean(p, 0)) for s, p in crossed.items()}
        least = dict(out["recall_levels"]).get(r, -np.inf)
        checked = coverage(fresh, least)
        means = {
            name: tuple(round(float(v), 4) for v in np.mean(list(of.values()), 0))
            for name, of in (("held_back", held), ("evaluation", checked))
            if of
        }
        strayed = {source: rate for source, (_, rate) in coverage(elsewhere, least).items()}
        out[f"at {r}"] = {"recall_and_rate": means, "held_back": held, "evaluation": checked, "elsewhere": strayed}
    return out


def write(folder: Path, recipe: str, result: dict[str, Any]) -> None:
    """Put scaling, levels and measured coverage of a recipe into the model's card."""
    card = Card.read(folder)
    numbers = {k: result[k] for k in ("temperature", "offset", "relevance", "recall_levels")}
    facts = {"calibration": {k: v for k, v in result.items() if k not in numbers}}
    if recipe == "late.v1":
        assert card.late is not None
        late = replace(card.late, **numbers, facts={**card.late.facts, **facts})
        card = replace(card, late=late)
    else:
        card = replace(card, **numbers, facts={**card.facts, **facts})
    card.write(folder)
