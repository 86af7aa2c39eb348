"""One document on its way through the pipeline, and sums over all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from . import units as cutting
from .content.laid import Laid
from .outline import Outline
from .types import Document, Repeat, Scores, Segment, Units

NONE = np.zeros(0, np.int64)


@dataclass(kw_only=True, slots=True)
class Draft:
    """A document and what the stages make of it, each from what those before it left here."""

    document: Document
    outline: Outline  # of its text
    token_spans: np.ndarray  # the reader's, int64 [N, 2]
    laid: Laid | None = None  # split: where it was cut by its structure
    segments: Sequence[Segment] = ()
    scores: Sequence[Scores] = ()  # score: of each segment
    relevance: float = cutting.LOWEST  # logit, or what a ranker says
    units: Units = field(default_factory=lambda: cutting.from_starts([], 0))  # what is kept or dropped
    repeats: Sequence[Repeat] = ()  # select: what was left to other documents

    @property
    def text(self) -> str:
        """As tokenizers can take it; same length as the document's."""
        return self.outline.text

    @property
    def tokens_in(self) -> int:
        return len(self.token_spans)

    @property
    def title(self) -> str:
        """What it is about: as given, or found in its text; "" for nothing."""
        return self.document.title or self.outline.title

    @property
    def sentences(self) -> Units:
        return self.outline.sentences

    @property
    def read(self) -> tuple[str, Units]:
        """The text that scorers see, and what its segments are made of."""
        return (self.laid.view, self.laid.views) if self.laid else (self.text, self.sentences)

    def cost(self, units: Units) -> np.ndarray:
        """How many of the reader's tokens end in each unit; int64 [N]."""
        if units is not self.outline.together:
            return cost(self.token_spans, units)
        if (found := self.outline.known("cost", self.token_spans)) is None:
            self.outline.keep("cost", self.token_spans, found := cost(self.token_spans, units))
        counted: np.ndarray = found
        return counted

    def owners(self, units: Units) -> np.ndarray:
        """The sentence that each unit begins in; int64 [N]."""
        if units is self.outline.together:
            return self.outline.owners
        return cutting.owners(self.sentences, units.starts)


def cost(token_spans: np.ndarray, units: Units) -> np.ndarray:
    at = cutting.owners(units, np.maximum(token_spans[:, 1] - 1, token_spans[:, 0]))
    return np.bincount(at, minlength=len(units))


def edges(sizes: Sequence[int]) -> np.ndarray:
    """Where each of so many rows begins and the last one ends, int64 [N + 1]."""
    return np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))


def each(values: np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
    """One array over all documents as one for each."""
    bounds = edges(sizes).tolist()
    return [values[a:b] for a, b in pairwise(bounds)]


def pooled(drafts: Sequence[Draft], units: Sequence[Units]) -> np.ndarray:
    """Mean score of the pieces that begin in each unit of all documents, LOWEST where none does; float64 [all units].

    `units` are each document's and tile the text that its scorer saw.
    """
    base = edges([int(u.ends[-1]) + 1 if len(u) else 1 for u in units])
    starts = np.concatenate([NONE, *(u.starts for u in units)]) + np.repeat(base[:-1], [len(u) for u in units])
    rows = [s for d in drafts for s in d.scores]
    if not rows or not len(starts):
        return np.full(len(starts), cutting.LOWEST)
    shift = np.repeat(base[:-1], [sum(len(s.pieces) for s in d.scores) for d in drafts])
    at = starts.searchsorted(np.concatenate([s.pieces[:, 0] for s in rows]) + shift, side="right") - 1
    keep = np.concatenate([s.keep for s in rows])
    count = np.bincount(at, minlength=len(starts))
    mean = np.bincount(at, weights=keep, minlength=len(starts)) / np.maximum(count, 1)
    mean[count == 0] = cutting.LOWEST
    return mean


def drawn(drafts: Sequence[Draft], means: np.ndarray, coherence: float) -> np.ndarray:
    """Mean piece score of each unit of prose, drawn towards its sentence's (of `means`) by `coherence`.

    `means` and what is returned are over all documents, float64.
    """
    if all(d.units is d.sentences for d in drafts):
        return means
    around = means[owners(drafts)]
    own = pooled(drafts, [d.units for d in drafts])
    own = np.where(own > cutting.LOWEST, own, around)
    blended: np.ndarray = coherence * around + (1 - coherence) * own
    return blended


def owners(drafts: Sequence[Draft]) -> np.ndarray:
    """The sentence of all documents that each unit of all begins in; int64 [all units]."""
    first = edges([len(d.sentences) for d in drafts])[:-1]
    found: np.ndarray = np.concatenate([NONE, *(d.owners(d.units) for d in drafts)]) + np.repeat(
        first, [len(d.units) for d in drafts]
    )
    return found
