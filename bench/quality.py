"""Does what matters survive? Evidence and answers kept, by method, set and rate, all in one run."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from laconic.compressors import Budget, Compressor, Document, Pipeline, Reader, Request, Result, Scorer, Scores
from laconic.compressors import Segment as Seg
from laconic.models.cores import usable_cores
from laconic.models.question_sets import names

from .data import Example, examples
from .scorers import baselines

OURS = ("token.v1", "late.v1", "edu.v1", "sentence.v1", "lexical.v1")
KEPT = 256 << 20  # bytes of scores: every rate and unit is selected from one scoring
METRICS = ("evidence_recall", "full_support", "answer_kept", "rate")


class Once:
    """A scorer that remembers its last answer, so that every rate is selected from one scoring."""

    def __init__(self, inner: Scorer) -> None:
        self.inner = inner
        self.last: tuple[Any, list[Scores]] = (None, [])

    def __call__(self, query: str | None, segments: Sequence[Seg]) -> list[Scores]:
        key = (query, tuple((s.document, s.start, s.text) for s in segments))
        if self.last[0] != key:
            self.last = (key, self.inner(query, segments))
        return self.last[1]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What one compression kept; None where an example has nothing to measure."""

    evidence_recall: float | None
    full_support: float | None
    answer_kept: float | None
    rate: float


def plain(text: str) -> str:
    """As answers are compared: without case, one blank between words."""
    return " ".join(text.casefold().split())


def judge(example: Example, result: Result) -> Figures:
    """Characters of evidence inside kept spans; answers as strings of the kept text."""
    kept = []
    for document, start, end in example.evidence:
        inside = sum(max(0, min(e, end) - max(s, start)) for s, e in result.documents[document].spans)
        kept.append((inside, end - start))
    text = plain(result.text)
    answers = [plain(a) for a in example.answers]
    return Figures(
        evidence_recall=sum(i for i, _ in kept) / sum(n for _, n in kept) if kept else None,
        full_support=float(all(i >= 0.9 * n for i, n in kept)) if kept else None,
        answer_kept=float(any(a in text for a in answers)) if answers else None,
        rate=result.tokens_out / max(1, result.tokens_in),
    )


class Memo:
    """A reader that remembers: methods and rates count the same texts over and over."""

    def __init__(self, inner: Reader) -> None:
        self.inner, self.name = inner, inner.name
        self.counts: dict[str, int] = {}
        self.found: dict[str, np.ndarray] = {}

    def count(self, texts: Sequence[str]) -> list[int]:
        if new := [t for t in texts if t not in self.counts]:
            self.counts.update(zip(new, self.inner.count(new), strict=True))
        return [self.counts[t] for t in texts]

    def spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        if new := [t for t in texts if t not in self.found]:
            self.found.update(zip(new, self.inner.spans(new), strict=True))
        return [self.found[t] for t in texts]


def methods(compressor: Compressor, work: Path | None, recipes: Sequence[str] = OURS) -> dict[str, Pipeline]:
    """Ours and, if there is a folder to work in, the baselines, all counting in the model's own tokens."""
    reader = Memo(compressor.reader())
    made = {name: compressor.pipeline(name).parts for name in recipes}
    if work:
        made |= {n: replace(p, scorer=Once(p.scorer)) for n, p in baselines(work).items()}
    return {name: Pipeline(p, reader) for name, p in made.items()}


def measure(
    folder: Path,
    compressor: Compressor,
    *,
    work: Path,
    rates: Sequence[float],
    count: int,
    documents: int,
    only: Sequence[str] = (),
    rivals: bool = True,
    recipes: Sequence[str] = OURS,
) -> dict[str, Any]:
    """Every method on every set that has evidence; means per rate, and the number of examples behind them."""
    out: dict[str, Any] = {"rates": list(rates), "documents": documents, "facts": facts(compressor), "sets": {}}
    lines = methods(compressor, work if rivals else None, recipes)
    for name in only or names(folder):
        drawn = examples(folder, name, count=count, documents=documents, whole=True)
        if not any(e.evidence for e in drawn):
            continue
        found: dict[str, dict[float, list[Figures]]] = {m: {r: [] for r in rates} for m in lines}
        for e in tqdm(drawn, desc=name, unit="question"):
            given = [Document(id=str(i), text=t, title=e.titles[i]) for i, t in enumerate(e.texts)]
            for method, pipeline in lines.items():
                for rate in rates:
                    request = Request(documents=given, query=e.query, budget=Budget(kind="rate", value=rate))
                    found[method][rate].append(judge(e, pipeline(request)))
        out["sets"][name] = {
            "examples": len(drawn),
            "methods": {m: means(v) for m, v in found.items()},
            "margins": margins(found, rates),
        }
    return out


def margins(found: dict[str, dict[float, list[Figures]]], rates: Sequence[float]) -> list[tuple[Any, ...]]:
    """(rate, metric, baseline, difference, interval) of token.v1 and the better plain baseline, by question."""
    out: list[tuple[Any, ...]] = []
    for rate in rates:
        for metric in METRICS[:3]:
            columns = {
                m: [v for f in found[m][rate] if (v := getattr(f, metric)) is not None]
                for m in ("token.v1", "bm25", "minilm-cosine")
                if m in found
            }
            ours = columns.pop("token.v1", None)
            if not ours or not columns:
                continue
            best = max(columns, key=lambda m: float(np.mean(columns[m])))
            gaps = [a - b for a, b in zip(ours, columns[best], strict=True)]
            low, high = interval(gaps)
            out.append((rate, metric, best, f"{np.mean(gaps):+.3f}", f"{low:+.3f} to {high:+.3f}"))
    return out


def facts(compressor: Compressor) -> dict[str, str]:
    """What was measured, and where."""
    model = compressor.model()
    versions = ", ".join(f"{name} {version(name)}" for name in ("onnxruntime", "tokenizers", "numpy"))
    return {
        "date": time.strftime("%Y-%m-%d"),
        "model": model.card.name,
        "revision": model.card.revision,
        "profile": model.profile,
        "machine": f"{usable_cores()} cores, {platform.machine()}",
        "versions": versions,
    }


def means(by_rate: dict[float, list[Figures]]) -> dict[str, dict[str, Any]]:
    """By rate: the mean of each metric over the examples that have it, and its 95 % interval under `METRIC_ci`."""
    table: dict[str, dict[str, Any]] = {}
    for rate, figures in by_rate.items():
        row: dict[str, Any] = {}
        for metric in METRICS:
            values = [v for f in figures if (v := getattr(f, metric)) is not None]
            row[metric] = round(float(np.mean(values)), 4) if values else None
            row[f"{metric}_ci"] = interval(values) if values else None
        table[str(rate)] = row
    return table


def interval(values: Sequence[float], draws: int = 2000) -> tuple[float, float]:
    """95 % percentile bootstrap of a mean (Efron & Tibshirani 1993, chapter 13)."""
    at = np.random.default_rng(5).integers(0, len(values), (draws, len(values)))
    low, high = np.quantile(np.array(values)[at].mean(1), (0.025, 0.975))
    return round(float(low), 4), round(float(high), 4)
