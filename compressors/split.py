"""Cutting a document into segments: whole sentences, at most `limit` model tokens each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from .types import Document, Segment, Units
from .units import printable

TokenSpans = Callable[[Sequence[str]], list[np.ndarray]]


class SentenceSplitter:
    """Greedy runs of sentences that fit the model's window; a longer sentence is cut between words.

    `spans` gives the character spans of the model's tokens; `limit` is in those tokens.
    """

    def __init__(self, spans: TokenSpans, limit: int) -> None:
        self.spans, self.limit = spans, limit

    def __call__(self, document: Document, number: int, sentences: Units) -> list[Segment]:
        text = printable(document.text)
        # `starts[i]` is where token i begins; cuts may fall only there
        starts = self.spans([text])[0][:, 0]
        first = np.searchsorted(starts, sentences.starts)  # first token of each sentence
        cuts = [0]
        while len(starts) - cuts[-1] > self.limit:
            cuts.append(self._cut(cuts[-1], starts, first, text))
        edges = [0, *(int(starts[c]) for c in cuts[1:]), len(text)]
        return [
            Segment(document=number, start=a, text=text[a:b], title=document.title)
            for a, b in pairwise(edges)
            if text[a:b].strip()
        ]

    def _cut(self, begin: int, starts: np.ndarray, first: np.ndarray, text: str) -> int:
        """The last sentence start within the limit, else the last word start, else the limit itself."""
        stop = begin + self.limit
        at = int(first[np.searchsorted(first, stop, side="right") - 1])
        if at > begin:
            return at
        for token in range(stop, begin + self.limit // 2, -1):
            if text[int(starts[token]) - 1].isspace():
                return token
        return stop


class WholeSplitter:
    """One segment per document, for scorers without a window."""

    def __call__(self, document: Document, number: int, sentences: Units) -> list[Segment]:
        text = printable(document.text)
        return [Segment(document=number, start=0, text=text, title=document.title)] if text.strip() else []
