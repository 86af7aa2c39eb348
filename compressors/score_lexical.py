"""Scores without a model: BM25 of each sentence against the query, word frequency where there is none."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from laconic.models import checkpoint

from .types import Scores, Segment
from .units import sentences

_WORDS = re.compile(r"\w+")
K1, B = 1.2, 0.75


def terms(text: str) -> list[str]:
    return _WORDS.findall(text.casefold())


def bm25(query: str, texts: Sequence[str]) -> np.ndarray:
    """Okapi BM25 (Robertson & Zaragoza 2009) of each text; statistics over the texts themselves. [N]"""
    places: dict[str, list[tuple[int, int]]] = {w: [] for w in sorted(set(terms(query)))}
    lengths = []
    for i, text in enumerate(texts):
        checkpoint()
        found = terms(text)
        lengths.append(len(found))
        for w, n in Counter(w for w in found if w in places).items():
            places[w].append((i, n))
    mean = sum(lengths) / max(1, len(lengths)) or 1.0
    out = np.zeros(len(texts), np.float32)
    for at in places.values():
        idf = math.log(1 + (len(texts) - len(at) + 0.5) / (len(at) + 0.5))
        for i, n in at:
            out[i] += idf * n * (K1 + 1) / (n + K1 * (1 - B + B * lengths[i] / mean))
    return out


def frequency(texts: Sequence[str]) -> np.ndarray:
    """Mean word probability of each text (SumBasic, Nenkova & Vanderwende 2005), rare-word noise aside. [N]"""
    counts = Counter(w for t in texts for w in terms(t) if len(w) > 3)
    total = sum(counts.values()) or 1
    rows = [[counts[w] / total for w in terms(t) if len(w) > 3] for t in texts]
    return np.array([sum(r) / len(r) if r else 0.0 for r in rows], np.float32)


class LexicalScorer:
    """One piece per sentence, scored over all sentences of the request: cheap, needs no weights."""

    def __call__(self, query: str | None, segments: Sequence[Segment]) -> list[Scores]:
        cut = [sentences(s.text) for s in segments]
        texts = [s.text[a:b] for s, u in zip(segments, cut, strict=True) for a, b in zip(u.starts, u.ends, strict=True)]
        asked = query and query.strip()
        values = bm25(query or "", texts) if asked else frequency(texts)
        out, at = [], 0
        for s, u in zip(segments, cut, strict=True):
            keep = values[at : at + len(u)]
            at += len(u)
            pieces = np.stack((u.starts, u.ends), axis=1) + s.start
            out.append(Scores(pieces=pieces, keep=keep, relevance=float(keep.max()) if len(keep) else 0.0))
        return out
