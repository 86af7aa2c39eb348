"""Token classification: a model gives every token of a segment a keep score, with or without a query.

Query-aware scores follow Provence (Chirkova et al., ICLR 2025), query-agnostic ones LLMLingua-2 (Pan et al.,
ACL Findings 2024); both come from heads of one encoder.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from laconic.models import Backend, Card, ModelInput, ModelOutput, TextTokenizer

from .types import Scores, Segment
from .units import printable

# Logits are rounded to sixteenths within +-8: 256 levels, so one byte per token holds a score exactly.
STEP, BOUND = 1 / 16, 8.0


def quantize(logits: np.ndarray) -> np.ndarray:
    """The nearest of 256 levels; applied before any comparison, so stored scores decide alike."""
    return np.clip(np.round(logits / STEP) * STEP, -BOUND, BOUND - STEP).astype(np.float32)


# A word of the query that names one thing: an id, a version, an error or part number. Six characters or more with
# a digit and something besides digits; plain words and years are the model's business.
_IDENTIFIER = re.compile(r"(?<![\w-])(?=[^\s]{0,200}\d)(?=[^\s]{0,200}[^\W\d])[\w][\w./:-]{4,198}\w(?![\w-])")


def identifiers(query: str) -> list[str]:
    """Identifiers in a query, each once; at most 20."""
    return list(dict.fromkeys(_IDENTIFIER.findall(query[:10_000])))[:20]


def occurrences(text: str, names: Sequence[str], spans: np.ndarray) -> np.ndarray:
    """Which tokens (character spans [N, 2]) lie inside an occurrence of one of the names, bool [N]."""
    inside = np.zeros(len(spans), bool)
    for name in names:
        at = text.find(name)
        while at >= 0:
            inside |= (spans[:, 0] >= at) & (spans[:, 1] <= at + len(name))
            at = text.find(name, at + len(name))
    return inside


class Written(NamedTuple):
    """A segment as a model reads it: `[CLS] (title :)? text [SEP]`, and where its text's tokens stand."""

    ids: tuple[int, ...]
    skip: int
    spans: np.ndarray  # of the text's tokens in the segment, int64 [N, 2]


def write(tokenizer: TextTokenizer, card: Card, segments: Sequence[Segment]) -> list[Written]:
    """Each segment with its title, in token ids."""
    titles = sorted({s.title for s in segments if s.title and s.title.strip()})
    found = tokenizer.encode([f"{printable(t)} :" for t in titles])
    known = {t: e.ids[: card.title_tokens] for t, e in zip(titles, found, strict=True)}
    out = []
    for s, e in zip(segments, tokenizer.encode([s.text for s in segments]), strict=True):
        prefix = known.get(s.title or "", ())
        out.append(Written((tokenizer.cls, *prefix, *e.ids, tokenizer.sep), 1 + len(prefix), e.spans))
    return out


def write_query(tokenizer: TextTokenizer, card: Card, query: str | None) -> tuple[int, ...]:
    """`[CLS] query [SEP]` in token ids; nothing for a query that says nothing."""
    if not query or not query.strip():
        return ()
    inner = tokenizer.encode([printable(query)])[0].ids[: card.query_tokens]
    return (tokenizer.cls, *inner, tokenizer.sep)


def scored(
    query: str | None, names: Sequence[str], s: Segment, spans: np.ndarray, o: ModelOutput, weight: float
) -> Scores:
    """A model's output as scores: keep logits shifted by `weight` relevance logits, or agnostic ones without a query.

    Exact occurrences of an identifier of the query (`names`) get the highest score: a small encoder sees little in the
    pieces of a hash, and nobody who asks for one wants another (bench/LOG.md, kv-retrieval).
    """
    asked = bool(query and query.strip())
    relevance = float(quantize(np.float32(o.relevance))) if asked else 0.0
    keep = quantize(o.keep + weight * relevance if asked else o.agnostic)
    if names:
        keep[occurrences(s.text, names, spans)] = BOUND - STEP
    return Scores(pieces=spans + s.start, keep=keep, relevance=relevance)


class TokenScorer:
    """Scores segments by one forward each, query and segment together; weights come from the model's card."""

    def __init__(self, backend: Backend, tokenizer: TextTokenizer) -> None:
        self.backend, self.tokenizer, self.card = backend, tokenizer, backend.card

    def __call__(self, query: str | None, segments: Sequence[Segment]) -> list[Scores]:
        question = write_query(self.tokenizer, self.card, query)
        written = write(self.tokenizer, self.card, segments)
        outputs = self.backend.run(
            [ModelInput(query=question, segment=w.ids, skip=w.skip, count=len(w.spans)) for w in written]
        )
        weight = self.card.relevance_weight
        names = identifiers(query or "")
        return [scored(query, names, s, w.spans, o, weight) for s, w, o in zip(segments, written, outputs, strict=True)]
