"""Question answering sets as compression requests: a query, its documents, and where the evidence lies.

A request stands for what a retriever hands to a reader: the labelled passages, the rest of a small group
(a story, a multi-hop question's candidates), and, up to `documents`, the passages of the set nearest by BM25.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from laconic.compressors.score_lexical import bm25
from laconic.models.question_sets import read_set

WHOLE_GROUP = 200  # a group is taken whole up to this size if the question was asked about all of it


@dataclass(frozen=True, kw_only=True)
class Example:
    """One request with its labels; spans are offsets into the document of that number."""

    query: str
    titles: list[str | None]
    texts: list[str]
    evidence: list[tuple[int, int, int]]  # document, start, end
    answers: list[str]
    relevant: list[int]  # numbers of the labelled documents


def examples(
    folder: Path,
    name: str,
    *,
    count: int,
    documents: int,
    seed: int = 7,
    among: Callable[[str], bool] | None = None,
    whole: bool = False,
) -> list[Example]:
    """`count` answerable questions of a set, drawn with a fixed seed, each with its documents shuffled.

    `among` says which groups questions are drawn from; `whole` takes the labelled passages for evidence where no
    evidence is marked in them.
    """
    found = read_set(folder, name)
    passages = found["passages"]
    groups: dict[str, list[str]] = defaultdict(list)
    for pid, p in passages.items():
        groups[p["group"]].append(pid)
    wanted = among or (lambda group: True)
    queries = [q for q in found["queries"] if q["labels"] and wanted(q["group"])]
    rng = random.Random(seed)
    rng.shuffle(queries)
    texts = {pid: p["text"] for pid, p in passages.items()}
    made = [example(q, passages, groups, texts, documents, rng) for q in queries[:count]]
    if whole and not any(e.evidence for e in made):
        made = [replace(e, evidence=[(n, 0, len(e.texts[n])) for n in e.relevant]) for e in made]
    return made


def example(
    q: dict[str, Any],
    passages: dict[str, Any],
    groups: dict[str, list[str]],
    texts: dict[str, str],
    documents: int,
    rng: random.Random,
) -> Example:
    labelled = [x["pid"] for x in q["labels"]]
    group = groups[q["group"]]
    picked = list(dict.fromkeys([*q["context"], *labelled]))
    if not q["context"] and len(group) <= WHOLE_GROUP:
        picked = list(dict.fromkeys([*picked, *group]))
    lone = len(groups) == len(passages) and len(passages[picked[0]]["text"]) > 5000  # a document of its own
    if len(picked) < documents and not lone:
        pool = [p for p in (group if len(group) > documents else passages) if p not in picked]
        order = np.argsort(-bm25(q["query"], [texts[p] for p in pool]), kind="stable")
        picked += [pool[int(i)] for i in order[: documents - len(picked)]]
    rng.shuffle(picked)
    at = {pid: i for i, pid in enumerate(picked)}
    return Example(
        query=q["query"],
        titles=[passages[p]["title"] for p in picked],
        texts=[texts[p] for p in picked],
        evidence=[(at[x["pid"]], s, e) for x in q["labels"] for s, e in x["evidence"]],
        answers=[a for a in q["answers"] if any(a in texts[p] for p in labelled)],
        relevant=sorted({at[p] for p in labelled}),
    )
