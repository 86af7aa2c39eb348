"""A session of questions over one corpus: retrievals overlap, two replicas share one Redis, and texts come again.

What a cache is worth to a new question over known texts: time per question, what was found in which tier, and whether
the evidence is still there.
"""

from __future__ import annotations

import random
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from laconic.compressors import Budget, Compressor, Document, Request
from laconic.compressors.score_lexical import bm25
from laconic.models.question_sets import read_set
from laconic.service.cache import Lru, Remote, Tiers

from .data import Example
from .quality import judge

TOPICS = 3  # articles that a session's questions are about
L1 = 64 << 20


def questions(folder: Path, name: str, *, corpus: int, count: int, documents: int, seed: int = 5) -> list[Example]:
    """Questions about a few articles, each with the `documents` nearest by BM25 of a corpus of several."""
    found = read_set(folder, name)
    rng = random.Random(seed)
    groups = sorted({p["group"] for p in found["passages"].values()})
    rng.shuffle(groups)
    own: dict[str, list[str]] = {g: [] for g in groups}
    for pid, p in found["passages"].items():
        own[p["group"]].append(pid)
    pool = [pid for g in groups for pid in own[g]][:corpus]
    texts = {pid: found["passages"][pid]["text"] for pid in pool}
    about = groups[:TOPICS]
    asked = [
        q
        for q in found["queries"]
        if q["group"] in about and q["labels"] and all(x["pid"] in texts for x in q["labels"])
    ]
    rng.shuffle(asked)
    out = []
    for q in asked[:count]:
        order = np.argsort(-bm25(q["query"], [texts[p] for p in pool]), kind="stable")[:documents]
        picked = [pool[int(i)] for i in order]
        at = {pid: n for n, pid in enumerate(picked)}
        labels = [x for x in q["labels"] if x["pid"] in at]
        out.append(
            Example(
                query=q["query"],
                titles=[found["passages"][p]["title"] for p in picked],
                texts=[texts[p] for p in picked],
                evidence=[(at[x["pid"]], s, e) for x in labels for s, e in x["evidence"]],
                answers=list(q["answers"]),
                relevant=sorted({at[x["pid"]] for x in labels}),
            )
        )
    return out


def run(
    given: list[Example], open_with: Callable[[Tiers], Compressor], redis_url: str, recipe: str, rate: float
) -> dict[str, Any]:
    """Milliseconds per question, in turns by two replicas that start with nothing; lookups of both, evidence kept."""
    prefix = f"session-{time.time_ns()}"
    stores = [Tiers(Lru(L1), Remote(redis_url, 600, prefix), prefix=prefix) for _ in range(2)]
    replicas = [open_with(store) for store in stores]
    warm = Request(documents=[Document(text="Ready.")], query="ready?", budget=Budget(kind="rate", value=0.9))
    for replica in replicas:
        replica(warm, recipe=recipe)
    took, kept = [], []
    for n, e in enumerate(tqdm(given, desc=f"session, {recipe}", unit="question")):
        documents = [
            Document(id=str(i), text=t, title=h) for i, (t, h) in enumerate(zip(e.texts, e.titles, strict=True))
        ]
        request = Request(documents=documents, query=e.query, budget=Budget(kind="rate", value=rate))
        start = time.perf_counter()
        result = replicas[n % 2](request, recipe=recipe)
        took.append((time.perf_counter() - start) * 1000)
        kept.append(judge(e, result))
        for store in stores:
            while store.remote is not None and store.remote.waiting:
                time.sleep(0.01)
    lookups: Counter[str] = Counter()
    for store in stores:
        lookups.update({f"{tier}_{result}": n for (tier, result), n in store.lookups.items()})
    for replica in replicas:
        replica.close()
    found = [f.evidence_recall for f in kept if f.evidence_recall is not None]
    return {
        "recipe": recipe,
        "questions": len(given),
        "median_ms": round(statistics.median(took), 1),
        "mean_ms": round(statistics.mean(took), 1),
        "first_ms": round(took[0], 1),
        "each_ms": [round(ms) for ms in took],
        "lookups": dict(lookups),
        "evidence": round(statistics.mean(found), 4) if found else None,
    }
