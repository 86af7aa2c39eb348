"""Train the coder and head of `late.v1` to agree with a published `laconic-mini` over the full states."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from .batches import Batch, Batcher
from .encoder import prepare
from .fit import TrainConfig, finished, fit, label_losses, scores, total
from .late import Late, LateConfig

SAMPLE = 200_000  # token states the first directions are found in
AGREE, SORT = 0.3, 0.1  # weights of agreement on tokens and on relevance, beside the losses against labels


def teacher(c: TrainConfig, published: Path) -> tuple[nn.Module, Batcher]:
    """The interaction of a model folder, and the training inputs with their states."""
    network, batcher = prepare(c)
    found = {k: v.float() for k, v in load_file(str(published / "interaction.safetensors")).items()}
    missing, unexpected = network.interaction.load_state_dict(found, strict=False)
    if unexpected or any("num_batches" not in k for k in missing):
        raise ValueError(f"{published} holds another network: {[*missing, *unexpected][:3]}")
    return network.interaction.to(c.device).eval().requires_grad_(False), batcher


def untrained(batcher: Batcher, idf: Tensor) -> Late:
    """A `Late` that begins with the geometry of the stored states."""
    late = Late(LateConfig(states=batcher.store.width), idf.clone())
    rows = np.sort(np.random.default_rng(0).choice(len(batcher.store.array), SAMPLE))
    late.start(torch.from_numpy(batcher.store.array[rows].astype(np.float32)))
    return late


def agreement(own: Tensor, other: Tensor, b: Batch, weight: float) -> Tensor:
    """Distance of two models' logits over the text tokens of a batch; robust to the few far apart."""
    on = b.sentence >= 0
    return weight * F.smooth_l1_loss(own[on].float(), other[on].float())


def train(c: TrainConfig, published: Path) -> Path:
    """Train a `Late`; returns the path of the checkpoint."""
    if finished(c):
        return c.work / "checkpoint.pt"
    torch.manual_seed(c.seed)
    torch.set_num_threads(c.threads)
    wise, batcher = teacher(c, published)
    late = untrained(batcher, wise.features.idf)

    def loss(asked: Batch, unasked: Batch) -> tuple[Tensor, dict[str, float]]:
        keep, _, relevance = scores(late, asked)
        agnostic = scores(late, unasked)[1]
        with torch.no_grad():
            keep_t, _, relevance_t = scores(wise, asked)
            agnostic_t = scores(wise, unasked)[1]
        parts = label_losses(keep, relevance, asked, agnostic, unasked)
        parts["agree"] = agreement(keep, keep_t, asked, AGREE) + agreement(agnostic, agnostic_t, unasked, AGREE)
        parts["sort"] = SORT * F.smooth_l1_loss(relevance.float(), relevance_t.float())
        return total(parts)

    return fit(c, late, batcher, loss)
