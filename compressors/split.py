"""Cutting documents into segments: whole sentences, at most `limit` model tokens each, cut where the content says so.

Content-defined boundaries (Muthitacharoen et al. 2001, LBFS §3.1): an edit moves the boundaries near it, and the
segments of the rest of the document stay what they were, so that the cache holds them.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from laconic.models import checkpoint

from .types import Document, Segment, Units
from .units import printable

SHORTEST = 0.5  # of the limit: segments are no shorter where sentences allow
SEEN = 48  # characters after a boundary that decide how much it is liked

TokenSpans = Callable[[Sequence[str]], list[np.ndarray]]


class SentenceSplitter:
    """Runs of sentences that fit the model's window; a sentence longer than that is cut between words.

    `spans` gives the character spans of the model's tokens; `limit` is in those tokens.
    """

    def __init__(self, spans: TokenSpans, limit: int) -> None:
        self.spans, self.limit = spans, limit

    def __call__(self, documents: Sequence[Document], sentences: Sequence[Units]) -> list[Segment]:
        texts = [printable(d.text) for d in documents]
        spans = self.spans(texts)
        return [
            Segment(document=i, start=a, text=text[a:b], title=documents[i].title)
            for i, text in enumerate(texts)
            for a, b in pairwise(self._edges(text, spans[i][:, 0], sentences[i]))
            if text[a:b].strip()
        ]

    def _edges(self, text: str, starts: np.ndarray, sentences: Units) -> list[int]:
        """Where segments begin, and the end of the text; cuts may fall only on `starts`, where tokens begin."""
        if len(starts) <= self.limit:
            return [0, len(text)]
        first = np.searchsorted(starts, sentences.starts)  # first token of each sentence
        cuts = [0]
        while len(starts) - cuts[-1] > self.limit:
            checkpoint()
            cuts.append(self._cut(cuts[-1], starts, first, text))
        return [0, *(int(starts[c]) for c in cuts[1:]), len(text)]

    def _cut(self, begin: int, starts: np.ndarray, first: np.ndarray, text: str) -> int:
        """The best sentence start from SHORTEST on, else the last one, else the last word start, else the limit."""
        stop = begin + self.limit
        low, high = np.searchsorted(first, (begin + int(SHORTEST * self.limit), stop), side="right")
        if high > low:
            return int(min(first[low:high], key=lambda token: preference(text, int(starts[token]))))
        at = int(first[high - 1])
        if at > begin:
            return at
        for token in range(stop, begin + self.limit // 2, -1):
            if text[int(starts[token]) - 1].isspace():
                return token
        return stop


def preference(text: str, at: int) -> tuple[bool, int]:
    """How much a sentence start is liked as a boundary, least first: paragraphs, then what a hash of its text draws."""
    return "\n" not in text[max(0, at - 2) : at], zlib.crc32(text[at : at + SEEN].encode())


class WholeSplitter:
    """One segment per document, for scorers without a window."""

    def __call__(self, documents: Sequence[Document], sentences: Sequence[Units]) -> list[Segment]:
        return [
            Segment(document=i, start=0, text=printable(d.text), title=d.title)
            for i, d in enumerate(documents)
            if d.text.strip()
        ]
