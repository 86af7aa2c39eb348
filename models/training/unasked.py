"""What to keep of a text when nothing is asked: sentence compression, and answers to all questions of a passage."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from ..marks import MARKS, marks
from .data import cut, held_out, read, token_labels
from .edu import Edu
from .network import bias_of

SENTENCES, PASSAGES = 20, 2  # of one step
KINDS = ("deletion", "asked")


class Plain(NamedTuple):
    """One input as tensors: token ids and marks, label -1 outside the text, and which of KINDS it is."""

    ids: Tensor
    marks: Tensor
    label: Tensor
    kind: int


def examples(folder: Path, tok: Tokenizer) -> tuple[list[Plain], list[Plain]]:
    """Sentences with what their headline keeps (Filippova & Altun 2013), and SQuAD passages with all answers."""
    deleted: list[Plain] = []
    for row in read(folder / "google-compression.jsonl.xz"):
        if not held_out(group := f"gc-{row['id']}"):
            deleted += plain(row["original"], row["keep"], 0, tok, group)
    asked: dict[str, list[list[int]]] = defaultdict(list)
    texts = {}
    for source in ("squad", "squad-train"):
        if not (folder / f"{source}.queries.jsonl.xz").exists():
            continue
        for p in read(folder / f"{source}.passages.jsonl.xz"):
            if not held_out(p["group"]):
                texts[p["pid"]] = p["text"]
        for q in read(folder / f"{source}.queries.jsonl.xz"):
            for found in q["labels"]:
                asked[found["pid"]] += found["answers"][:1]
    passages = [x for p, t in texts.items() if len(asked[p]) >= 3 for x in plain(t, asked[p], 1, tok, p)]
    return deleted, passages


def plain(text: str, kept: list[list[int]], kind: int, tok: Tokenizer, name: str) -> Iterator[Plain]:
    for s in cut(tok, text, None, KINDS[kind], name, name):
        n = len(s.offsets) + 2
        seen, label = torch.zeros(n, MARKS), torch.full((n,), -1.0)
        seen[1:-1] = torch.from_numpy(marks(text, np.array(s.offsets)))
        label[1:-1] = torch.from_numpy(token_labels(s, kept, [])[0])
        yield Plain(torch.tensor(s.ids), seen, label, kind)


def draws(rows: list[Plain], size: int, rng: random.Random) -> Iterator[list[Plain]]:
    """Batches without end; every row once before any again. Raises ValueError where there are too few for one."""
    if len(rows) < size:
        raise ValueError(f"{len(rows)} examples are too few for batches of {size}")
    while True:
        order = rng.sample(rows, len(rows))
        for i in range(0, len(order) - size + 1, size):
            yield order[i : i + size]


def keep_loss(network: Edu, rows: list[Plain], device: str) -> Tensor:
    """Binary cross-entropy of the text's tokens, of rows of one kind (as LLMLingua-2, Pan et al. 2024, section 3.2)."""
    ids, seen = (pad_sequence([r[i] for r in rows], batch_first=True).to(device) for i in (0, 1))
    label = pad_sequence([r.label for r in rows], batch_first=True, padding_value=-1.0).to(device)
    positions = torch.arange(ids.shape[1], device=device)[None]
    _, _, keep = network(ids, positions, bias_of((ids > 0)[:, None].expand(-1, ids.shape[1], -1)), seen)
    on = label >= 0
    return F.binary_cross_entropy_with_logits(keep[..., rows[0].kind].float()[on], label[on])
