"""The pilot experiment of EHPC (Fei et al., NeurIPS 2025, section 3.1): which heads look back to an answer.

Theirs is a needle in synthetic text; here it is the evidence of training questions in its passage, groups left out of
training alone.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from ..backend import Backend, LossInput
from .data import CLS, QUERY_TOKENS, held_out, read

SETS = ("squad", "nq", "afriqa")
LONGEST = 380


def cases(folder: Path, tok: Tokenizer, count: int, seed: int) -> list[tuple[LossInput, np.ndarray]]:
    """Passage and question, and which of the passage's tokens are evidence, bool [N]."""
    out = []
    for source in SETS:
        if not (folder / f"{source}.queries.jsonl.xz").exists():
            continue
        texts = {p["pid"]: p["text"] for p in read(folder / f"{source}.passages.jsonl.xz")}
        for q in read(folder / f"{source}.queries.jsonl.xz"):
            for found in q["labels"][:1] if held_out(q["group"]) else ():
                e = tok.encode(texts[found["pid"]], add_special_tokens=False)
                middle = np.array(e.offsets).mean(1)[:LONGEST]
                gold = np.zeros(len(middle), bool)
                for a, b in found["evidence"]:
                    gold |= (middle >= a) & (middle < b)
                if 0 < gold.mean() < 0.5:
                    asked = tok.encode(q["query"], add_special_tokens=False).ids[:QUERY_TOKENS]
                    text = tuple(e.ids[:LONGEST])
                    out.append((LossInput(before=(CLS,), text=text, after=tuple(asked)), gold))
    return random.Random(seed).sample(out, min(count, len(out)))


def ranked(score: np.ndarray, gold: np.ndarray) -> float:
    """Area under the curve: how often an evidence token stands above another."""
    ranks = score.argsort(kind="stable").argsort(kind="stable")
    positive = int(gold.sum())
    below = ranks[gold].sum() - positive * (positive - 1) / 2
    return float(below / (positive * (len(gold) - positive)))


def evaluators(
    backend: Backend, chosen: Sequence[tuple[LossInput, np.ndarray]], count: int = 6
) -> tuple[list[tuple[int, int]], dict[str, float]]:
    """The best heads as (layer, head), and the mean area of the best, of the median head, and of all averaged."""
    outputs = backend.run([i for i, _ in chosen])
    rows = []
    for o, (_, gold) in zip(outputs, chosen, strict=True):
        layers, heads, _ = o.attention.shape
        rows.append([ranked(o.attention[n // heads, n % heads], gold) for n in range(layers * heads)])
    mean = np.mean(rows, axis=0)
    best = np.argsort(-mean)[:count].tolist()
    figures = {"best": mean[best[0]], f"least of the {count}": mean[best[-1]], "median head": np.median(mean)}
    return [divmod(n, heads) for n in best], {k: round(float(v), 3) for k, v in figures.items()}
