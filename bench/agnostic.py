"""Without a question: sentence compression by deletion, and answers to every question of a passage that survive."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from laconic.compressors import Budget, Compressor, Document, Pipeline, Request, Scorer, Segment
from laconic.compressors.units import from_starts, pooled
from laconic.models.question_sets import rows

from .quality import interval, plain
from .scorers import baselines

_TOKEN = re.compile(r"\w+|[^\w\s]")  # as sentence compression counts: punctuation marks are tokens of their own
Pair = tuple[np.ndarray, np.ndarray]  # scores and labels of one sentence's tokens


def deletion(train: Path, test: Path, scorer: Scorer, among: Callable[[str], bool]) -> dict[str, Any]:
    """Token F1 on sentence compression (Filippova et al. 2015, §5), the threshold chosen on training rows left out."""
    held = [r for r in rows(train / "google-compression.jsonl.xz") if among(f"gc-{r['id']}")]
    known = [scored(r, scorer) for r in tqdm(held, desc="deletion, held out")]
    grid = np.quantile(np.concatenate([s for s, _ in known]), np.linspace(0.05, 0.95, 181))
    best = max(grid, key=lambda t: float(np.mean([f1(p, t) for p in known])))
    tests = [scored(r, scorer) for r in tqdm(rows(test / "google-compression.jsonl.xz"), desc="deletion, test")]
    found = [f1(p, best) for p in tests]
    everything = [f1((np.zeros(len(y)), y), -1.0) for _, y in tests]
    return {
        "sentences": len(found),
        "f1": round(float(np.mean(found)), 4),
        "f1_ci": interval(found),
        "rate": round(float(np.mean([(s >= best).mean() for s, _ in tests])), 4),
        "gold_rate": round(float(np.mean([y.mean() for _, y in tests])), 4),
        "f1_held_out": round(float(np.mean([f1(p, best) for p in known])), 4),
        "f1_of_keeping_everything": round(float(np.mean(everything)), 4),
    }


def scored(row: dict[str, Any], scorer: Scorer) -> Pair:
    """Every token's mean keep logit, and whether the reference keeps it."""
    text = row["original"]
    starts = np.array([m.start() for m in _TOKEN.finditer(text)])
    (found,) = scorer(None, [Segment(document=0, start=0, text=text)])
    units = from_starts(starts, len(text))
    kept = np.zeros(len(text), bool)
    for a, b in row["keep"]:
        kept[a:b] = True
    return pooled(units, found.pieces, found.keep.astype(np.float64))[-len(starts) :], kept[starts]


def f1(pair: Pair, least: float) -> float:
    """F1 of the kept tokens of one sentence."""
    score, gold = pair
    kept = score >= least
    both = float((kept & gold).sum())
    return 2 * both / max(1.0, float(kept.sum() + gold.sum()))


OURS = ("token.v1", "late.v1", "edu.v1", "perplexity.v1", "lexical.v1")


def answers(
    folder: Path,
    compressor: Compressor,
    work: Path,
    *,
    rates: Sequence[float],
    count: int,
    recipes: Sequence[str] = OURS,
) -> dict[str, Any]:
    """Share of a passage's questions whose answer survives a compression that knew none of them."""
    texts = {p["pid"]: p["text"] for p in rows(folder / "squad.passages.jsonl.xz")}
    asked: dict[str, list[list[str]]] = defaultdict(list)
    for q in rows(folder / "squad.queries.jsonl.xz"):
        for label in q["labels"][:1]:
            asked[label["pid"]].append(q["answers"])
    chosen = [pid for pid, found in sorted(asked.items()) if len(found) >= 3][:count]
    reader = compressor.reader()
    ours = {n: compressor.pipeline(n).parts for n in recipes}
    rivals = {n: p for n, p in baselines(work).items() if n in ("random", "lead", "stop-words")}
    out: dict[str, Any] = {"passages": len(chosen), "questions": sum(len(asked[p]) for p in chosen), "methods": {}}
    for name, parts in {**ours, **rivals}.items():
        line = Pipeline(parts if name == "edu.v1" else replace(parts, unit="word"), reader)
        row = {}
        for rate in rates:
            kept = [
                survived(line(Request(documents=[Document(text=texts[p])], budget=budget(rate))).text, asked[p])
                for p in tqdm(chosen, desc=f"{name} {rate}", leave=False)
            ]
            row[str(rate)] = {"kept": round(float(np.mean(kept)), 4), "kept_ci": interval(kept)}
        out["methods"][name] = row
    return out


def budget(rate: float) -> Budget:
    return Budget(kind="rate", value=rate)


def survived(text: str, asked: Sequence[Sequence[str]]) -> float:
    """Share of questions of which an answer string is in the text."""
    kept = plain(text)
    return float(np.mean([any(plain(a) in kept for a in answers) for answers in asked]))
