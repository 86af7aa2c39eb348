"""One change at a time: short runs of the scorer from nothing over the same stored states, on held-out groups."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from .batches import Batch, Batcher
from .data import Corpus
from .encoder import prepare
from .fit import TrainConfig, block_losses, develop, finished, fit, total
from .network import Interaction, NetworkConfig


@dataclass(frozen=True, kw_only=True)
class Change:
    """How a run differs from the one that all are compared with."""

    run: Mapping[str, float] = field(default_factory=dict)  # fields of TrainConfig, in those of that run
    losses: Mapping[str, float] = field(default_factory=dict)  # weights of `block_losses`
    labels: Callable[[Batch], Batch] = lambda b: b
    corpus: Callable[[Corpus], Corpus] = lambda c: c


def smoothed(b: Batch, by: float = 0.1) -> Batch:
    """Labels drawn towards one half (Szegedy et al. 2016, section 7)."""
    return replace(b, label=torch.where(b.label >= 0, b.label * (1 - by) + by / 2, b.label))


def answers(b: Batch, times: float) -> Batch:
    """Answers inside evidence counted so many times; `token_labels` counts them twice."""
    return replace(b, weight=torch.where(b.weight > 1, torch.full_like(b.weight, times), b.weight))


CHANGES = {
    "as it is": Change(),
    "another seed": Change(run={"seed": 2}),
    "no nearest by BM25 among negatives": Change(corpus=lambda c: replace(c, neighbours=defaultdict(list))),
    "negatives from anywhere": Change(
        corpus=lambda c: replace(c, neighbours=defaultdict(list), by_group=defaultdict(list))
    ),
    "no loss over tokens": Change(losses={"token": 0}),
    "no loss over sentences": Change(losses={"sentence": 0}),
    "no loss over segments": Change(losses={"relevance": 0}),
    "no loss without a question": Change(losses={"agnostic": 0}),
    "answers count once": Change(labels=lambda b: answers(b, 1)),
    "answers count four times": Change(labels=lambda b: answers(b, 4)),
    "labels smoothed by a tenth": Change(labels=smoothed),
    "half the documents of twice the questions": Change(run={"segments": 0.5, "queries": 2}),
    "twice the documents of half the questions": Change(run={"segments": 2, "queries": 0.5}),
    "twice the questions in half the steps": Change(run={"queries": 2, "agnostic": 2, "steps": 0.5, "warmup": 0.5}),
    "windows twice as long": Change(run={"longest": 2}),
}


def changed(c: TrainConfig, change: Change, name: str) -> TrainConfig:
    """The run's configuration, in a folder of its own."""
    fields: dict[str, Any] = {k: int(getattr(c, k) * by) for k, by in change.run.items()}
    return replace(c, work=c.work / name.replace(" ", "-"), **fields)


def one(c: TrainConfig, change: Change, block: Interaction, batcher: Batcher) -> dict[str, float]:
    """Train `block`; what its last weights keep of held-out evidence, by set (see `fit.develop`)."""

    def loss(asked: Batch, unasked: Batch | None) -> tuple[Tensor, dict[str, float]]:
        parts = block_losses(block, change.labels(asked), change.labels(unasked) if unasked else None)
        return total({name: change.losses.get(name, 1.0) * value for name, value in parts.items()})

    if not finished(c, "ablate"):
        fit(c, block, Batcher(change.corpus(batcher.corpus), batcher.deletions, batcher.store, batcher.inputs), loss)
    block.load_state_dict(torch.load(c.work / "checkpoint.pt", weights_only=True)["network"])
    return develop(block, batcher, c, per_source=60)


def ablate(c: TrainConfig, only: Iterable[str] = ()) -> None:
    """Every change, or `only` some: a JSON line each, means over the sets at 0.25 and 0.1 first; also in `c.work`."""
    torch.set_num_threads(c.threads)
    network, batcher = prepare(c, c.begin)
    for name in only or CHANGES:
        own = changed(c, CHANGES[name], name)
        torch.manual_seed(own.seed)
        block = Interaction(NetworkConfig(), network.interaction.features.idf.clone())
        found = one(own, CHANGES[name], block, batcher)
        at = {r: [v for k, v in found.items() if k.endswith("@0.1") == (r == 0.1)] for r in (0.25, 0.1)}
        line = json.dumps({"change": name, **{str(r): round(sum(v) / len(v), 4) for r, v in at.items()}, "sets": found})
        (own.work / "found.json").write_text(line + "\n")
        print(line, flush=True)
