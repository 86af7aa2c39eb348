"""A soft compressor in ONNX Runtime on the CPU: one graph, one unpadded segment at a time (docs/adr/0003)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .backend import Input, LatentInput, as_latent
from .card import Card
from .onnx_backend import Wide, session


class OnnxSoft:
    """A `Forward` over a graph made by `export_soft`: `input_ids` [1, T] and `groups` [G, T] to `latents` [G, width].

    A row of `groups` says how much of each token's state is in one latent; special tokens have no part in any.
    """

    budget = 0  # any batch mate would change int8's activation scale

    def __init__(self, card: Card, path: Path, cores: int = 1, around: tuple[Sequence[int], Sequence[int]] = ((), ())):
        self.card, (self.prefix, self.suffix) = card, around
        self._narrow = session(path)
        self._wide = Wide(path, cores) if cores > 1 else self._narrow

    def run(self, inputs: Sequence[Input]) -> list[Any]:
        """Every input in turn, on the calling thread."""
        return self.forward(inputs, False)

    def forward(self, inputs: Sequence[Input], alone: bool) -> list[Any]:
        """Raises ValueError for a rate or decoder that is not on the card."""
        return [self._one(as_latent(i, self.card), alone) for i in inputs]

    def _one(self, i: LatentInput, alone: bool) -> np.ndarray:
        ids = np.array((*self.prefix, *i.ids, *self.suffix), np.int64)[None]
        groups = np.zeros((-(-len(i.ids) // i.rate), ids.shape[1]), np.float32)
        at = np.arange(len(i.ids))
        groups[at // i.rate, at + len(self.prefix)] = 1
        groups /= groups.sum(1, keepdims=True)
        found: np.ndarray = (self._wide if alone else self._narrow).run(None, {"input_ids": ids, "groups": groups})[0]
        return found
