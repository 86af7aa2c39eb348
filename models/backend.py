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
    """Forwards of a model on the calling thread; thread-safe.

    The same input gives the same output, alone or not, whatever its batch mates (see docs/adr/0006 for how exactly
    each profile keeps that). Raises MemoryError where a batch does not fit the device.
    """

    card: Card
    budget: int  # tokens of one batch; 0: one input at a time

    def forward(self, inputs: Sequence[ModelInput], alone: bool) -> list[ModelOutput]:
        """One batch. `alone`: no other runs, all cores may be used."""
        ...


class Backend(Protocol):
    """Runs a model. The same input gives the same output whatever else is in `inputs`; thread-safe."""

    card: Card

    def run(self, inputs: Sequence[ModelInput]) -> list[ModelOutput]: ...
