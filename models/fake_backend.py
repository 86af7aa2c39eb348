"""A backend without weights: scores are a fixed function of token ids. The default in tests and docs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .backend import (
    Coded,
    CodeInput,
    EduInput,
    EduOutput,
    Input,
    LateInput,
    LatentInput,
    LossInput,
    LossOutput,
    ModelInput,
    ModelOutput,
)
from .card import Card, EduFacts, LateFacts, LatentFacts

CODE = 8
FAKE_CARD = Card(
    name="fake",
    revision="1",
    summary="deterministic scores",
    licence="Apache-2.0",
    files={},
    sha256={},
    late=LateFacts(files={}, code=CODE),
    edu=EduFacts(files={}, distance=(0.0, 1.0, 0.0, -9.0, -9.0), depth=1.0, keep=(1.0, 0.5)),
)
FAKE_SOFT = replace(
    FAKE_CARD,
    name="fake-soft",
    kind="soft",
    segment_tokens=16,
    late=None,
    edu=None,
    latent=LatentFacts(rates=(2, 4), decoders={"fake-lm": CODE, "other": 2 * CODE}, before="<", after=">"),
)
FAKE_LM = replace(FAKE_CARD, name="fake-lm", kind="causal", late=None, edu=None)


class FakeBackend:
    """Tokens that the query also has score high; the rest by a hash of their id. Same shape as any backend."""

    budget = 0

    def __init__(self, card: Card = FAKE_CARD) -> None:
        self.card = card

    def run(self, inputs: Sequence[Input]) -> list[Any]:
        return self.forward(inputs, False)

    def forward(self, inputs: Sequence[Input], alone: bool) -> list[Any]:
        kinds = {CodeInput: self._code, EduInput: self._cut, LossInput: self._lose, LatentInput: self._latents}
        return [kinds.get(type(i), self._score)(i) for i in inputs]  # type: ignore[operator]

    def _latents(self, i: LatentInput) -> np.ndarray:
        """Each group's ids, mixed; some are too large for int8 to hold exactly."""
        facts = self.card.latent
        width = facts.decoders[i.decoder or next(iter(facts.decoders))] if facts else CODE
        rows = [i.ids[a : a + i.rate] for a in range(0, len(i.ids), i.rate)]
        mixed = np.array([sum(t * (n + 1) for n, t in enumerate(r)) for r in rows], np.float32)
        found: np.ndarray = np.sin(mixed[:, None] * np.arange(1, width + 1, dtype=np.float32))
        return found

    @staticmethod
    def _lose(i: LossInput) -> LossOutput:
        """Tokens seen before cost little, the rest by a hash of their id; attention goes to what `after` has too."""
        known: set[int] = set(i.before)
        losses = []
        for token in (*i.text, *i.after):
            losses.append(0.5 if token in known else 2 + token * 2654435761 % 2**32 / 2**32 * 8)
            known.add(token)
        found = np.array(losses, np.float32)
        own = len(i.text)
        shared = np.isin(np.array(i.text, np.int64), np.array(i.after, np.int64)).astype(np.float32)
        return LossOutput(text=found[:own], after=found[own:], attention=np.tile((shared + 0.1) / 99, (2, 2, 1)))

    @staticmethod
    def _cut(i: EduInput) -> EduOutput:
        """Units begin after commas and full stops; each depends on the one before it in its sentence."""
        start = i.marks[:, 2] + i.marks[:, 3] - 0.5
        links = np.zeros((len(start), 2 * 1 + 2), np.float32)
        links[:, 3] = i.marks[:, 3] * 100
        ids = np.array(i.ids[1:-1], np.int64)
        keep = np.stack([ids % 7 - 3.0, ids % 5 - 2.0], 1).astype(np.float32)
        return EduOutput(start=start, links=links, keep=keep)

    @staticmethod
    def _code(i: CodeInput) -> Coded:
        ids = np.array(i.ids, np.int64)
        return Coded(ids=ids, codes=(ids[:, None] * np.arange(1, CODE + 1) % 256 - 128).astype(np.int8))

    @staticmethod
    def _score(i: ModelInput | LateInput) -> ModelOutput:
        query, segment = (i.query.ids, i.segment.ids) if isinstance(i, LateInput) else (i.query, i.segment)
        ids = np.array(segment[i.skip : i.skip + i.count], np.int64)
        spread = ((ids * 2654435761) % 2**32 / 2**32 * 6 - 3).astype(np.float32)
        shared = np.isin(ids, np.array(query[1:-1], np.int64))
        return ModelOutput(
            keep=spread + 4 * shared.astype(np.float32), agnostic=spread, relevance=float(shared.sum()) - 1
        )
