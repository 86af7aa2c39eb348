"""Discourse units beside annotated ones: where they begin (as in DISRPT), and what each depends on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from laconic.compressors import Document, Parts, Units
from laconic.compressors.edu import assemble
from laconic.compressors.units import sentences
from laconic.models.question_sets import rows

SETS = ("gum", "scidtb")


def cut(text: str, parts: Parts) -> Units:
    """A text's units as `edu.v1` makes them: segment by segment."""
    assert parts.segmenter is not None
    segments = parts.splitter([Document(text=text)], [sentences(text)])
    return assemble(len(text), segments, parts.segmenter(segments))


def compare(folder: Path, parts: Parts) -> dict[str, Any]:
    """Boundary F1 of each set of `edu-*.jsonl.xz`, where a text begins left out, and the share of heads that is right.

    Heads are judged on units that both sides have, and against those heads that lie in the same segment.
    """
    return {name: one(folder / f"edu-{name}.jsonl.xz", parts) for name in SETS}


def one(path: Path, parts: Parts) -> dict[str, Any]:
    counts, linked = [], []
    for row in tqdm(list(rows(path)), desc=path.name):
        units = cut(row["text"], parts)
        gold, mine = ({int(s) for s in starts} - {0} for starts in ([a for a, _ in row["edus"]], units.starts))
        counts.append((len(gold & mine), len(mine), len(gold)))
        linked.append(heads(row, units))
    both, mine_, gold_ = np.array(counts).sum(0)
    right, judged = np.array(linked).sum(0)
    draws = np.random.default_rng(5).integers(0, len(counts), (1000, len(counts)))
    sums = np.array(counts)[draws].sum(1)
    return {
        "texts": len(counts),
        "units": int(gold_) + len(counts),
        "f1": round(2 * both / (mine_ + gold_), 4),
        "f1_ci": [round(float(x), 4) for x in np.quantile(2 * sums[:, 0] / (sums[:, 1] + sums[:, 2]), (0.025, 0.975))],
        "precision": round(both / mine_, 4),
        "recall": round(both / gold_, 4),
        "heads": round(right / max(1, judged), 4),
        "heads_judged": int(judged),
    }


def heads(row: dict[str, Any], units: Units) -> tuple[int, int]:
    """Heads that are right, of units whose start and whose head's start both sides have."""
    number = {int(s): n for n, s in enumerate(units.starts)}
    starts = [a for a, _ in row["edus"]]
    found = units.heads if units.heads is not None else np.full(len(units), -1)
    right = judged = 0
    for start, head in zip(starts, row["heads"], strict=True):
        if start in number and head >= 0 and starts[head] in number:
            judged += 1
            right += int(found[number[start]] == number[starts[head]])
    return right, judged
