"""Token classification: a model gives every token of a segment a keep score, with or without a query.

Query-aware scores follow Provence (Chirkova et al., ICLR 2025), query-agnostic ones LLMLingua-2 (Pan et al.,
ACL Findings 2024); both come from heads of one encoder.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from laconic.models import Backend, ModelInput, TextTokenizer

from .types import Scores, Segment
from .units import printable

# Logits are rounded to sixteenths within +-8: 256 levels, so one byte per token holds a score exactly.
STEP, BOUND = 1 / 16, 8.0


def quantize(logits: np.ndarray) -> np.ndarray:
    """The nearest of 256 levels; applied before any comparison, so stored scores decide alike."""
    return np.clip(np.round(logits / STEP) * STEP, -BOUND, BOUND - STEP).astype(np.float32)


# A word of the query that names one thing: an id, a version, an error or part number. Six characters or more with
# a digit and something besides digits; plain words and years are the model's business.
_IDENTIFIER = re.compile(r"(?<![\w-])(?=[^\s]*\d)(?=[^\s]*[^\W\d])[\w][\w./:-]{4,198}\w(?![\w-])")


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


class TokenScorer:
    """Scores segments by one forward each; keep logits are shifted by the segment's relevance logit.

    `relevance_weight` comes from the model's card: how many keep logits one relevance logit is worth. Exact
    occurrences of an identifier of the query get the highest score: a small encoder sees little in the pieces of a
    hash, and nobody who asks for one wants another (bench/LOG.md, kv-retrieval).
    """

    def __init__(self, backend: Backend, tokenizer: TextTokenizer) -> None:
        self.backend, self.tokenizer, self.card = backend, tokenizer, backend.card

    def __call__(self, query: str | None, segments: Sequence[Segment]) -> list[Scores]:
        card, tok = self.card, self.tokenizer
        asked = bool(query and query.strip())
        question: tuple[int, ...] = ()
        names = identifiers(query or "")
        if asked:
            inner = tok.encode([printable(query or "")])[0].ids[: card.query_tokens]
            question = (tok.cls, *inner, tok.sep)
        prefixes = self._titles(segments)
        encoded = tok.encode([s.text for s in segments])
        inputs = []
        for prefix, e in zip(prefixes, encoded, strict=True):
            body = (tok.cls, *prefix, *e.ids, tok.sep)
            inputs.append(ModelInput(query=question, segment=body, skip=1 + len(prefix), count=len(e.ids)))
        outputs = self.backend.run(inputs)
        scores = []
        for s, e, o in zip(segments, encoded, outputs, strict=True):
            relevance = float(quantize(np.float32(o.relevance))) if asked else 0.0
            logits = o.keep + card.relevance_weight * relevance if asked else o.agnostic
            keep = quantize(logits)
            if names:
                keep[occurrences(s.text, names, e.spans)] = BOUND - STEP
            scores.append(Scores(pieces=e.spans + s.start, keep=keep, relevance=relevance))
        return scores

    def _titles(self, segments: Sequence[Segment]) -> list[tuple[int, ...]]:
        titles = sorted({s.title for s in segments if s.title and s.title.strip()})
        found = self.tokenizer.encode([f"{printable(t)} :" for t in titles])
        ids = {t: e.ids[: self.card.title_tokens] for t, e in zip(titles, found, strict=True)}
        return [ids.get(s.title or "", ()) for s in segments]
