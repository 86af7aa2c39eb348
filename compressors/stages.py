"""The seams of the pipeline. Each is one call; wrappers (caches, batchers) have the shape of what they wrap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from .types import Discourse, Document, Scores, Segment, Units


class Splitter(Protocol):
    """Cuts documents into segments that tile their texts, blank ones left out, given each one's sentences."""

    def __call__(self, documents: Sequence[Document], sentences: Sequence[Units]) -> list[Segment]: ...


class Scorer(Protocol):
    """Scores segments, all at once and each on its own: no segment's scores depend on its neighbours."""

    def __call__(self, query: str | None, segments: Sequence[Segment]) -> list[Scores]: ...


class Ranker(Protocol):
    """How relevant whole documents are to a query, each on its own; higher is better."""

    def __call__(self, query: str, texts: Sequence[str], /) -> Sequence[float]: ...


class Segmenter(Protocol):
    """Cuts segments into discourse units, each segment on its own, whatever will be asked."""

    def __call__(self, segments: Sequence[Segment]) -> list[Discourse]: ...


class Reader(Protocol):
    """The downstream model's tokenizer: what budgets are counted in."""

    name: str

    def count(self, texts: Sequence[str]) -> list[int]: ...

    def spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Character span of each token of each text, int64 [N, 2]."""
        ...
