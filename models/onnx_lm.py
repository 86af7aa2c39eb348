"""A causal language model in ONNX Runtime on the CPU: unpadded texts one at a time, what they share read once.

One text per forward, as for the encoders: a batch mate would change int8's activation scale (docs/adr/0003).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from .backend import Input, LossInput, LossOutput, as_loss
from .card import Card
from .onnx_backend import Wide, session

KEPT = 32  # keys and values of recent beginnings: at most 20 kB a token
POSITIONS = 512


class OnnxLM:
    """A `Forward` over one graph made by `export_lm`; takes LossInput alone."""

    budget = 0

    def __init__(self, card: Card, path: Path, cores: int = 1) -> None:
        self.card = card
        self._narrow = session(path)
        self._wide = Wide(path, cores) if cores > 1 else self._narrow
        self._past = [i for i in self._narrow.get_inputs() if i.name.startswith("past_")]
        self._present = [o.name for o in self._narrow.get_outputs() if o.name.startswith(("key_", "value_"))]
        self._begun = lru_cache(KEPT)(lambda owner, ids: self._begin(ids))

    def run(self, inputs: Sequence[Input]) -> list[Any]:
        """Every input in turn, on the calling thread."""
        return self.forward(inputs, False)

    def forward(self, inputs: Sequence[Input], alone: bool) -> list[Any]:
        return [self._one(as_loss(i), alone) for i in inputs]

    def _one(self, i: LossInput, alone: bool) -> LossOutput:
        seen, own = len(i.before) - 1, len(i.text)
        ids = np.array((i.before[-1], *i.text, *i.after), np.int64)[None]
        if seen + ids.shape[1] > POSITIONS:
            raise ValueError(f"{seen + ids.shape[1]} tokens: the model has {POSITIONS} positions")
        feed = {"input_ids": ids, **self._begun(i.owner, i.before[:-1])}
        loss, attention = (self._wide if alone else self._narrow).run(["loss", "attention"], feed)
        return LossOutput(text=loss[:own], after=loss[own:], attention=attention[:, :, seen + 1 : seen + 1 + own])

    def _begin(self, ids: tuple[int, ...]) -> dict[str, np.ndarray]:
        """Keys and values of `ids`, as the graph's inputs."""
        nothing = {p.name: np.zeros((1, p.shape[1], 0, p.shape[3]), np.float32) for p in self._past}
        if not ids:
            return nothing
        found = self._narrow.run(self._present, {"input_ids": np.array(ids, np.int64)[None], **nothing})
        return dict(zip(nothing, found, strict=True))
