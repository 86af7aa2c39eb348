"""Train the coder and head of `late.v1` to agree with a published `laconic-mini` over the full states."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..card import Card, LateFacts, digest
from ..export import late_to_onnx
from .batches import Batch, Batcher
from .calibrate import choose, collect
from .encoder import prepare
from .fit import TrainConfig, agnostic_loss, better, develop, finished, fit, kept, label_losses, scores, total
from .late import Late, LateConfig
from .network import fill, keep
from .publish import begun, training_facts
from .states import StateStore

SAMPLE = 200_000  # token states the first directions are found in
AGREE, SORT = 0.3, 0.1  # weights of agreement on tokens and on relevance, beside the losses against labels


def teacher(c: TrainConfig, published: Path) -> tuple[nn.Module, Batcher]:
    """The interaction of a model folder, and the training inputs with their states."""
    network, batcher = prepare(c, published)
    fill(network.interaction, published / "interaction.safetensors")
    return network.interaction.to(c.device).eval().requires_grad_(False), batcher


def untrained(batcher: Batcher, idf: Tensor) -> Late:
    return Late(LateConfig(states=batcher.store.width), idf.clone())


def begin(late: Late, store: StateStore, folder: Path | None) -> None:
    """Go on from the late head of a model folder, or begin with the geometry of the stored states."""
    if folder:
        fill(late, folder / "late.safetensors")
        return
    count = len(store.array)
    rows = np.sort(np.random.default_rng(0).choice(count, min(SAMPLE, count)))
    late.start(torch.from_numpy(store.array[rows].astype(np.float32)))


def agreement(own: Tensor, other: Tensor, b: Batch, weight: float) -> Tensor:
    """Distance of two models' logits over the text tokens of a batch; robust to the few far apart."""
    on = b.sentence >= 0
    return weight * F.smooth_l1_loss(own[on].float(), other[on].float())


def train(c: TrainConfig, published: Path) -> Path:
    """Train a `Late`; returns the path of the checkpoint."""
    if finished(c, f"late taught by {digest(published / 'interaction.safetensors')}"):
        return c.work / "checkpoint.pt"
    torch.manual_seed(c.seed)
    torch.set_num_threads(c.threads)
    wise, batcher = teacher(c, published)
    late = untrained(batcher, wise.features.idf)
    assert isinstance(batcher.store, StateStore)  # nothing of the encoder is trained here
    begin(late, batcher.store, c.begin)

    def loss(asked: Batch, unasked: Batch | None) -> tuple[Tensor, dict[str, float]]:
        keep, _, relevance = scores(late, asked)
        with torch.no_grad():
            keep_t, _, relevance_t = scores(wise, asked)
        parts = label_losses(keep, relevance, asked)
        parts["agree"] = agreement(keep, keep_t, asked, AGREE)
        parts["sort"] = SORT * F.smooth_l1_loss(relevance.float(), relevance_t.float())
        if unasked:
            agnostic = scores(late, unasked)[1]
            with torch.no_grad():
                agnostic_t = scores(wise, unasked)[1]
            parts["agnostic"] = agnostic_loss(agnostic, unasked)
            parts["agree"] = parts["agree"] + agreement(agnostic, agnostic_t, unasked, AGREE)
        return total(parts)

    return fit(c, late, batcher, loss)


def publish(c: TrainConfig, folder: Path) -> dict[str, Any]:
    """Write coder and head into the model folder they were trained to agree with; returns the card's part on them."""
    torch.set_num_threads(c.threads)
    wise, batcher = teacher(c, folder)
    block, weights = better(untrained(batcher, wise.features.idf), c, lambda late: kept(late, batcher, c))
    block = block.half().float()  # every profile comes from the weights as they are kept
    files = late_to_onnx(block, c.work, folder, "cpu-int8")
    keep(block.state_dict(), folder / "late.safetensors")
    (folder / "late.json").write_text(block.config.to_json() + "\n")
    chosen = choose(collect(block, batcher, c))
    log = [json.loads(line) for line in (c.work / "log.jsonl").read_text().splitlines()]
    before = Card.read(c.begin).late if c.begin else None
    card = Card.read(folder)
    torch_files = ["late.safetensors", "late.json"]
    late = LateFacts(
        files={"cpu-int8": files, **{p: torch_files for p in card.files if not p.startswith("cpu-")}},
        code=block.config.code,
        facts={
            "training": {**training_facts(c, log), "weights": weights, **begun(before.facts if before else None)},
            "parameters": sum(p.numel() for p in block.parameters()),
            "held_out": develop(block, batcher, c, per_source=60),
            "score_of_chosen_parameters": chosen.pop("held_out_score"),
        },
        **chosen,  # type: ignore[arg-type]  # numbers by name
    )
    sha256 = {name: digest(folder / name) for name in (*files, *torch_files)}
    made = replace(card, late=late, sha256={**card.sha256, **sha256})
    made.write(folder)
    return asdict(late)
