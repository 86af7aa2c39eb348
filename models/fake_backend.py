"""A backend without weights: scores are a fixed function of token ids. The default in tests and docs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .backend import ModelInput, ModelOutput
from .card import Card

FAKE_CARD = Card(name="fake", revision="1", summary="deterministic scores", licence="Apache-2.0", files={}, sha256={})


class FakeBackend:
    """Tokens that the query also has score high; the rest by a hash of their id. Same shape as any backend."""

    budget = 0

    def __init__(self, card: Card = FAKE_CARD) -> None:
        self.card = card

    def run(self, inputs: Sequence[ModelInput]) -> list[ModelOutput]:
        return self.forward(inputs, False)

    def forward(self, inputs: Sequence[ModelInput], alone: bool) -> list[ModelOutput]:
        return [self._score(i) for i in inputs]

    def _score(self, i: ModelInput) -> ModelOutput:
        ids = np.array(i.segment[i.skip : i.skip + i.count], np.int64)
        spread = ((ids * 2654435761) % 2**32 / 2**32 * 6 - 3).astype(np.float32)
        shared = np.isin(ids, np.array(i.query[1:-1], np.int64))
        return ModelOutput(
            keep=spread + 4 * shared.astype(np.float32), agnostic=spread, relevance=float(shared.sum()) - 1
        )
