"""The seam below which numbers are made: ragged token ids in, arrays out, no text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .card import Card


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelInput:
    """One forward: the query part (may be empty) and the segment part, special tokens included.

    Scores are wanted for `count` tokens of the segment part, from `skip` on.
    """

    query: tuple[int, ...]
    segment: tuple[int, ...]
    skip: int
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelOutput:
    """Logits of one input: query-aware and query-agnostic keep, float32 [count]; relevance to the query."""

    keep: np.ndarray
    agnostic: np.ndarray
    relevance: float


class Forward(Protocol):
    """One forward of a model on the calling thread; thread-safe. `alone`: no other runs, all cores may be used.

    The same input gives the same output, alone or not.
    """

    card: Card

    def forward(self, i: ModelInput, alone: bool) -> ModelOutput: ...


class Backend(Protocol):
    """Runs a model. The same input gives the same output whatever else is in `inputs`; thread-safe."""

    card: Card

    def run(self, inputs: Sequence[ModelInput]) -> list[ModelOutput]: ...
