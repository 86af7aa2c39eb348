"""Are budgets met in the reader's own count, always, and are they used? Random requests through the real model."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from laconic.compressors import Budget, Compressor, Document, Request

from .corpus import corpus

QUERIES = (None, "how are files opened and closed?", "which errors can be raised?", "what does it return?", "日本語")


def draw(rng: random.Random, texts: list[str]) -> Request:
    """One to eight documents of random lengths, a random budget in tokens or as a rate, a random unit and order."""
    documents = []
    for i in range(rng.randint(1, 8)):
        words = rng.choice(texts).split()
        start, length = rng.randrange(len(words) // 2), rng.randint(10, 170)
        documents.append(Document(id=str(i), text=" ".join(words[start : start + length])))
    rate = Budget(kind="rate", value=round(rng.uniform(0.05, 0.95), 3))
    return Request(
        documents=documents,
        query=rng.choice(QUERIES),
        budget=rng.choice([rate, Budget(kind="tokens", value=rng.randint(20, 400))]),
        unit=rng.choice(["token", "word", "word", "sentence"]),
        order=rng.choice(["source", "relevance", "two_stage"]),
    )


def check(compressor: Compressor, requests: int, readers: Path | None) -> dict[str, Any]:
    """Per reader: how many requests met their budget, and the mean share used, by unit, where anything was dropped."""
    texts = corpus(200)
    names = [compressor.model_name, *sorted(p.parent.name for p in readers.glob("*/tokenizer.json"))] if readers else []
    out: dict[str, Any] = {}
    for name in names or [compressor.model_name]:
        rng, met, used = random.Random(4), 0, {"token": [], "word": [], "sentence": []}  # type: ignore[var-annotated]
        pipeline = compressor.pipeline("token.v1", None, name)
        for _ in tqdm(range(requests), desc=f"budgets in {name}", unit="request"):
            request = draw(rng, texts)
            result = pipeline(request)
            value = request.budget.value
            most = int(value) if request.budget.kind == "tokens" else int(value * result.tokens_in)
            counted = pipeline.reader.count([result.text])[0]
            met += counted <= most
            if result.segments and most < result.tokens_in:
                used[str(request.unit)].append(counted / most)
        shares = {unit: round(float(np.mean(v)), 4) for unit, v in used.items() if v}
        out[name] = {"requests": requests, "met": met, "mean_share_used": shares}
    return {"readers": out}
