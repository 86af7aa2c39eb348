"""How well the embedded language model predicts text it never saw, how large it is and how fast."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from laconic.models import Card, LossInput, TextTokenizer
from laconic.models.onnx_lm import OnnxLM
from laconic.models.question_sets import rows

from .quality import interval


def windows(data: Path, tokenizer: TextTokenizer, tokens: int, length: int) -> list[tuple[LossInput, int]]:
    """Articles cut into runs of `length` tokens, each read alone, with its number of words; up to `tokens` in all."""
    out: list[tuple[LossInput, int]] = []
    left = tokens
    for row in rows(data / "wikipedia.jsonl.xz"):
        (e,) = tokenizer.encode([row["text"]])
        for at in range(0, min(len(e.ids), 4 * length), length):
            spans = e.spans[at : at + length]
            words = len(row["text"][spans[0][0] : spans[-1][1]].split())
            out.append((LossInput(before=(tokenizer.cls,), text=e.ids[at : at + length]), words))
            left -= len(spans)
        if left <= 0:
            break
    return out


def measure(folder: Path, data: Path, files: Sequence[Path], tokens: int) -> dict[str, Any]:
    """Perplexity per token and per word of each file over the same windows, in turn; size and tokens per second."""
    card = Card.read(folder)
    tokenizer = TextTokenizer(folder / "tokenizer.json")
    given = windows(data, tokenizer, tokens, card.segment_tokens)
    words = sum(n for _, n in given)
    models = {f.name: OnnxLM(card, f) for f in files}
    nats: dict[str, list[np.ndarray]] = {name: [] for name in models}
    spent = dict.fromkeys(models, 0.0)
    for i, _ in tqdm(given, desc="perplexity"):
        for name, model in models.items():
            start = time.perf_counter()
            (found,) = model.run([i])
            spent[name] += time.perf_counter() - start
            nats[name].append(found.text)
    read = sum(len(i.text) for i, _ in given)
    out: dict[str, Any] = {"tokens": read, "words": words, "window": card.segment_tokens, "files": {}}
    for path in files:
        each = nats[path.name]
        total = float(sum(x.sum() for x in each))
        out["files"][path.name] = {
            "per_token": round(math.exp(total / read), 2),
            "per_token_ci": [round(math.exp(x), 2) for x in interval([float(x.mean()) for x in each])],
            "per_word": round(math.exp(total / words), 1),
            "bytes": path.stat().st_size,
            "tokens_per_second": round(read / spent[path.name]),
        }
    return out
