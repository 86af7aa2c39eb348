"""The seam below which numbers are made: ragged token ids in, arrays out, no text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from .card import Card
from .work import tenant


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelInput:
    """One forward: the query part (may be empty) and the segment part, special tokens included.

    Scores are wanted for `count` tokens of the segment part, from `skip` on.
    """

    query: tuple[int, ...]
    segment: tuple[int, ...]
    skip: int
    count: int
    owner: str = field(default_factory=tenant, compare=False)  # whose: nothing is remembered for others

    @property
    def tokens(self) -> int:
        """What it counts as in queues and budgets."""
        return len(self.segment)


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeInput:
    """One sequence to be encoded alone, special tokens included; its output is a `Coded`."""

    ids: tuple[int, ...]

    @property
    def tokens(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, kw_only=True, slots=True)
class Coded:
    """A sequence's token ids, int64 [T], and codes, int8 [T, C]: what `late.v1` keeps instead of text or states."""

    ids: np.ndarray
    codes: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True)
class LateInput:
    """Two coded sequences to be scored together; `query` may be empty. Scores are wanted as of a ModelInput."""

    query: Coded
    segment: Coded
    skip: int
    count: int

    @property
    def tokens(self) -> int:
        """The head's work is about a tenth of the encoder's."""
        return len(self.segment.ids) // 10


@dataclass(frozen=True, kw_only=True, slots=True)
class EduInput:
    """One sequence to be cut into discourse units, special tokens included; `marks` [T - 2, MARKS] of its text."""

    ids: tuple[int, ...]
    marks: np.ndarray

    @property
    def tokens(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, kw_only=True, slots=True)
class EduOutput:
    """For each text token: the logit that a unit begins there, float32 [N], and what links units, [N, 2 * D + 2].

    Links are a token's dependent and head vectors, its bias as a head and as a unit that depends on none. `keep` [N, 2]
    are logits of being kept when nothing is asked: as headlines do, and for the questions that might be asked.
    """

    start: np.ndarray
    links: np.ndarray
    keep: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True)
class LossInput:
    """What a causal language model reads: `text` after `before` (never empty), `after` behind it.

    The losses of both `text` and `after` are wanted. Inputs of one `before` share its keys and values.
    """

    before: tuple[int, ...]
    text: tuple[int, ...]
    after: tuple[int, ...] = ()
    owner: str = field(default_factory=tenant, compare=False)

    @property
    def tokens(self) -> int:
        return len(self.text) + len(self.after)


@dataclass(frozen=True, kw_only=True, slots=True)
class LossOutput:
    """Surprisal in nats of each token of `text` and of `after` given all before it, float32 [N] and [M].

    `attention` [layers, heads, N] is what the last token of all pays to each token of `text`.
    """

    text: np.ndarray
    after: np.ndarray
    attention: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True)
class LatentInput:
    """One segment to be turned into latents, `rate` of its tokens to one: its ids without any special token.

    `decoder` names whose embeddings the latents stand among, where a model serves several. Its output is float32
    [latents, hidden of the decoder], in the order of the text.
    """

    ids: tuple[int, ...]
    rate: int
    decoder: str = ""

    @property
    def tokens(self) -> int:
        return len(self.ids)


Input = ModelInput | CodeInput | LateInput | EduInput | LossInput | LatentInput


def as_loss(i: Any) -> LossInput:
    """What a language model makes of an input: the scheduler asks whether a device is still there with a ModelInput."""
    return i if isinstance(i, LossInput) else LossInput(before=i.segment[:1], text=i.segment[1:])


def as_latent(given: Any, card: Card) -> LatentInput:
    """The input with its decoder named; a scorer's, by which the scheduler asks for a sign of life, as a text.

    Raises ValueError for a rate or decoder that is not on the card.
    """
    if card.latent is None:
        raise ValueError(f"{card.name} makes no latents")
    rates, decoders = card.latent.rates, card.latent.decoders
    i = given if isinstance(given, LatentInput) else LatentInput(ids=given.segment, rate=rates[0])
    if i.rate not in rates:
        raise ValueError(f"{card.name} has no rate {i.rate}; there are {', '.join(map(str, rates))}")
    if i.decoder and i.decoder not in decoders:
        raise ValueError(f"{card.name} has no decoder {i.decoder[:80]!r}; there are {', '.join(decoders)}")
    return LatentInput(ids=i.ids, rate=i.rate, decoder=i.decoder or next(iter(decoders)))


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

    def forward(self, inputs: Sequence[Input], alone: bool) -> list[Any]:
        """One batch: a Coded for a CodeInput, an EduOutput for an EduInput, a LossOutput for a LossInput, an array for
        a LatentInput, else a ModelOutput.

        `alone`: no other runs, all cores may be used.
        """
        ...


class Backend(Protocol):
    """Runs a model. The same input gives the same output whatever else is in `inputs`; thread-safe."""

    card: Card

    def run(self, inputs: Sequence[Input]) -> list[Any]: ...
