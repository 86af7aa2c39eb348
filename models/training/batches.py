"""Padded training batches of query groups (one query, several segments) and of query-less segments."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .data import Corpus, Deletion, Question, Segment, negatives, token_labels
from .states import Fresh, StateStore


class Item(NamedTuple):
    """One row of a batch before padding."""

    question: int | None  # input number of the query in the store
    segment: int  # input number of the segment in the store
    take: np.ndarray  # which positions of the segment's input are used (a crop)
    text: slice  # where the text tokens lie inside `take`
    label: np.ndarray
    weight: np.ndarray
    sentence: np.ndarray
    relevant: float
    group: int  # number of the query inside the batch, -1 without query


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Tensors of one step; B rows, T positions."""

    ids: Tensor  # int64 [B, T]
    states: Tensor  # float32 [B, T, D]
    parts: Tensor  # int64 [B, T]
    label: Tensor  # float32 [B, T], -1 where there is no token label
    weight: Tensor  # float32 [B, T]
    sentence: Tensor  # int64 [B, T], -1 outside text
    relevant: Tensor  # float32 [B]
    group: Tensor  # int64 [B], -1 without query


def crop(
    s: Segment, label: np.ndarray, weight: np.ndarray, longest: int, rng: random.Random
) -> tuple[np.ndarray, slice, np.ndarray, np.ndarray, np.ndarray]:
    """A window of at most `longest` text tokens, over a labelled token if there is one."""
    n = len(s.offsets)
    start = 0
    if n > longest:
        hits = np.flatnonzero(label > 0)
        middle = int(rng.choice(hits)) if len(hits) else rng.randrange(n)
        start = min(max(0, middle - rng.randrange(longest)), n - longest)
    stop = min(n, start + longest)
    text = range(s.text_at + start, s.text_at + stop)
    take = np.array([*range(s.text_at), *text, len(s.ids) - 1])
    where = slice(s.text_at, s.text_at + stop - start)
    return take, where, label[start:stop], weight[start:stop], np.array(s.sentences[start:stop])


class Batcher:
    """Draws items; knows where each query, segment and deletion stands in the state store."""

    def __init__(
        self, corpus: Corpus, deletions: list[Deletion], store: StateStore | Fresh, inputs: list[list[int]]
    ) -> None:
        self.corpus, self.deletions, self.store, self.inputs = corpus, deletions, store, inputs
        self.query_at: dict[int, int] = {}
        at = len(corpus.segments)
        for questions in corpus.questions.values():
            for q in questions:
                self.query_at[id(q)] = at
                at += 1
        self.deletion_at = at

    def group(self, q: Question, number: int, size: int, longest: int, rng: random.Random) -> list[Item]:
        gold = list(q.gold)
        rng.shuffle(gold)
        picked = [*gold[: max(1, size // 2)]]
        picked += negatives(self.corpus, q, size - len(picked), rng)
        items = []
        for n in picked:
            s = self.corpus.segments[n]
            evidence, answers = q.gold.get(n, ([], []))
            label, weight = token_labels(s, evidence, answers)
            if n in q.gold and not evidence:
                label -= 1.0  # relevant, but nobody said which words
            row = crop(s, label, weight, longest, rng)
            items.append(Item(self.query_at[id(q)], n, *row, float(n in q.gold), number))
        return items

    def agnostic(self, number: int, longest: int, rng: random.Random) -> Item:
        d = self.deletions[number]
        row = crop(d.segment, d.label, np.ones_like(d.label), longest, rng)
        return Item(None, self.deletion_at + number, *row, 0.0, -1)

    def pack(self, items: list[Item]) -> Batch:
        lengths = [len(self.inputs[i.question]) if i.question is not None else 0 for i in items]
        t = max(n + len(i.take) for n, i in zip(lengths, items, strict=True))
        b = len(items)
        ids, parts = np.zeros((b, t), np.int64), np.zeros((b, t), np.int64)
        states = np.zeros((b, t, self.store.width), np.float32)
        label, weight = np.full((b, t), -1, np.float32), np.ones((b, t), np.float32)
        sentence = np.full((b, t), -1, np.int64)
        for r, (n, i) in enumerate(zip(lengths, items, strict=True)):
            if i.question is not None:
                ids[r, :n], states[r, :n], parts[r, :n] = self.inputs[i.question], self.store[i.question], 1
            stop = n + len(i.take)
            ids[r, n:stop] = np.asarray(self.inputs[i.segment])[i.take]
            states[r, n:stop] = self.store[i.segment][i.take]
            parts[r, n:stop] = 2
            at = slice(n + i.text.start, n + i.text.stop)
            label[r, at], weight[r, at], sentence[r, at] = i.label, i.weight, i.sentence
        as_t = torch.from_numpy
        return Batch(
            ids=as_t(ids),
            states=as_t(states),
            parts=as_t(parts),
            label=as_t(label),
            weight=as_t(weight),
            sentence=as_t(sentence),
            relevant=torch.tensor([i.relevant for i in items]),
            group=torch.tensor([i.group for i in items]),
        )
