"""What all perplexity methods share: a causal language model reads each segment, a method says what, and what follows.

Scores do not depend on the rate, so one pass over a text answers every budget. The published methods let a threshold be
the quantile of the losses in a window; here a token's score is the rate at which such a threshold would let it in
(`entering`), which is the same choice and nests. Losses are conditioned on the text as it stands, not on what a rate
left of it: see docs/adr/0013-perplexity-scores.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from laconic.models import Backend, LossInput, LossOutput, TextTokenizer

from .score_token import BOUND, quantize
from .types import Scores, Segment
from .units import printable

FULL = 2 * BOUND  # the width of the scale: what rates 0 and 1 are apart


class Text(NamedTuple):
    """A segment as a method sees it: what stands before it, its token ids, their spans, and its text."""

    before: tuple[int, ...]
    ids: tuple[int, ...]
    spans: np.ndarray
    text: str


class Asked(NamedTuple):
    """A query: its tokens, none where nothing is asked, and its text."""

    ids: tuple[int, ...]
    text: str


class Method(Protocol):
    """What is read of one segment, and the scores made of it: keep [N] and the relevance of the whole."""

    def read(self, asked: Asked, t: Text) -> list[LossInput]: ...

    def score(self, asked: Asked, t: Text, found: Sequence[LossOutput]) -> tuple[np.ndarray, float]: ...


class LossScorer:
    """A method over a language model; raises what the model's backend raises."""

    def __init__(self, method: Method, backend: Backend, tokenizer: TextTokenizer) -> None:
        self.method, self.backend, self.tokenizer = method, backend, tokenizer

    def __call__(self, query: str | None, segments: Sequence[Segment]) -> list[Scores]:
        asked = self._asked(query)
        texts = self._texts(segments)
        wanted = [self.method.read(asked, t) for t in texts]
        distinct = list(dict.fromkeys(i for inputs in wanted for i in inputs))
        outputs = dict(zip(distinct, self.backend.run(distinct), strict=True))
        out = []
        for s, t, inputs in zip(segments, texts, wanted, strict=True):
            keep, relevance = self.method.score(asked, t, [outputs[i] for i in inputs])
            known = float(quantize(np.float32(relevance)))
            out.append(Scores(pieces=t.spans + s.start, keep=quantize(keep), relevance=known))
        return out

    def _asked(self, query: str | None) -> Asked:
        text = printable(query or "").strip()
        return Asked(self._ids(text)[: self.backend.card.query_tokens] if text else (), text)

    def _texts(self, segments: Sequence[Segment]) -> list[Text]:
        card, cls = self.backend.card, self.tokenizer.cls
        titles = {s.title: self._ids(f"{printable(s.title)} :") if s.title else () for s in segments}
        encoded = self.tokenizer.encode([s.text for s in segments])
        return [
            Text((cls, *titles[s.title][: card.title_tokens]), e.ids, e.spans, s.text)
            for s, e in zip(segments, encoded, strict=True)
        ]

    def _ids(self, text: str) -> tuple[int, ...]:
        return self.tokenizer.encode([text])[0].ids


def entering(score: np.ndarray) -> np.ndarray:
    """For each token the rate, in (0, 1), at which it is among the best of the segment; ties by position."""
    order = np.argsort(-score, kind="stable")
    out = np.empty(len(score))
    out[order] = (np.arange(len(score)) + 0.5) / max(1, len(score))
    return out


def scale(rate: np.ndarray) -> np.ndarray:
    """Rates of entry as scores: what enters first is highest."""
    return FULL * (0.5 - rate)
