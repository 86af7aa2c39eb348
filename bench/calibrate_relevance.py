"""What a document's score means: how probable it is that it answers, for long and short texts and questions.

The score is Platt scaling (Platt 1999) of the relevance head's logit. It is fitted on passages as they are and on one
to three sentences of them, asked the question and only its words of content.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from laconic.compressors import Budget, Compressor, Document, Request
from laconic.compressors.units import sentences
from laconic.models.question_sets import names
from laconic.models.training.platt import platt

from .data import Example, examples

EACH, DOCUMENTS, LONGEST = 14, 8, 40_000  # questions of a set, documents of each, characters of all of them
_EMPTY = re.compile(
    r"(?:who|what|when|where|which|why|how|is|are|was|were|did|do|does|the|an?|of|in|on|to|for|by|with|from|at|and|or|its?"
    r"|be|been|has|had|have|that|this|as|many|much|long)",
    re.IGNORECASE,
)
Row = tuple[str, float, bool]  # set and kind of text, logit, whether it answers


def collect(
    folder: Path, compressor: Compressor, recipe: str, *, among: Callable[[str], bool], each: int = EACH
) -> list[Row]:
    """Every document of every question, in each kind."""
    out: list[Row] = []
    rng = random.Random(4)
    for name in names(folder):
        drawn = [e for e in examples(folder, name, count=each, documents=DOCUMENTS, among=among) if e.evidence]
        for e in tqdm(drawn, desc=f"relevance, {recipe}, {name}", unit="question"):
            if sum(map(len, e.texts)) <= LONGEST:
                for kind, asked in kinds(e, rng):
                    out += [(f"{name}, {kind}", *row) for row in scored(compressor, recipe, asked)]
    return out


def kinds(e: Example, rng: random.Random) -> Iterator[tuple[str, Example]]:
    """The question as it is asked, and beside short texts, and in words of content."""
    brief = " ".join(w for w in re.findall(r"[\w'’-]+", e.query) if not _EMPTY.fullmatch(w))
    little = replace(e, texts=[short(e, i, rng) for i in range(len(e.texts))])
    yield "whole", e
    yield "short", little
    yield "short, no titles", replace(little, titles=[None] * len(e.titles))
    if " " in brief:
        yield "whole, briefly", replace(e, query=brief)
        yield "short, briefly", replace(little, query=brief)


def short(e: Example, number: int, rng: random.Random) -> str:
    """One to three sentences of a document, among them what answers."""
    text = e.texts[number]
    units = sentences(text)
    if not len(units):
        return text
    marked = [(a, b) for n, a, b in e.evidence if n == number]
    first = last = rng.randrange(len(units))
    if marked:
        first, last = (int(units.starts.searchsorted(at, side="right")) - 1 for at in (marked[0][0], marked[0][1] - 1))
    first, last = max(0, first - rng.randint(0, 1)), min(len(units) - 1, last + rng.randint(0, 1))
    return text[int(units.starts[first]) : int(units.ends[last])].strip()


def scored(compressor: Compressor, recipe: str, e: Example) -> list[tuple[float, bool]]:
    """Logit of each document and whether it answers."""
    pipeline = compressor.pipeline(recipe)
    documents = [Document(id=str(i), text=t, title=h) for i, (t, h) in enumerate(zip(e.texts, e.titles, strict=True))]
    found = pipeline(Request(documents=documents, query=e.query, budget=Budget(kind="rate", value=0.999)))
    answers = {n for n, _, _ in e.evidence}
    temperature, offset = pipeline.parts.relevance
    return [
        ((float(np.log(d.score / (1 - d.score))) - offset) * temperature, n in answers)
        for n, d in enumerate(found.documents)
        if d.score is not None and 0 < d.score < 1
    ]


def fit(rows: Sequence[Row]) -> dict[str, Any]:
    """Temperature and offset, each kind of each set weighing the same; expected error by kind, before and after."""
    kind = np.array([k for k, _, _ in rows])
    x, y = np.array([v for _, v, _ in rows]), np.array([a for _, _, a in rows], np.float64)
    _, at, count = np.unique(kind, return_inverse=True, return_counts=True)
    temperature, offset = platt(x, y, 1 / count[at])
    p = 1 / (1 + np.exp(-(x / temperature + offset)))
    raw = 1 / (1 + np.exp(-x))
    of: defaultdict[str, list[int]] = defaultdict(list)
    for n, k in enumerate(kind):
        of[k.partition(", ")[2]].append(n)
    error = {k: (round(wrong(raw[n], y[n]), 3), round(wrong(p[n], y[n]), 3)) for k, n in sorted(of.items())}
    return {"relevance": (round(temperature, 4), round(offset, 4)), "documents": len(rows), "error": error}


def wrong(p: np.ndarray, y: np.ndarray) -> float:
    """Expected error of calibration over tenths."""
    at = np.minimum((p * 10).astype(int), 9)
    return float(
        sum((at == i).mean() * abs(p[at == i].mean() - y[at == i].mean()) for i in range(10) if (at == i).any())
    )
