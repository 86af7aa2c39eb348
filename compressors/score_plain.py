"""What to keep when nothing is asked: token classification, as LLMLingua-2 (Pan et al., ACL Findings 2024).

Two heads of the discourse encoder, one taught what headlines keep of a sentence (Filippova & Altun, EMNLP 2013), one
what questions ask of a passage; a card says how they are weighed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from laconic.models import EduFacts

from .edu import EduSegmenter
from .score_token import quantize
from .stages import Scorer
from .types import Scores, Segment


class PlainScorer:
    """Scores by one forward of the discourse encoder for each segment; titles play no part."""

    def __init__(self, segmenter: EduSegmenter, facts: EduFacts) -> None:
        self.segmenter, self.weights = segmenter, np.array(facts.keep, np.float32)

    def __call__(self, query: str | None, segments: Sequence[Segment]) -> list[Scores]:
        spans, _, outputs = self.segmenter.forward(segments)
        each = zip(segments, spans, outputs, strict=True)
        return [Scores(pieces=a + s.start, keep=quantize(o.keep @ self.weights), relevance=0.0) for s, a, o in each]


def asked_or_not(asked: Scorer, plain: Scorer) -> Scorer:
    """The one scorer where there is a query, the other where there is none."""

    def score(query: str | None, segments: Sequence[Segment]) -> list[Scores]:
        return (asked if query and query.strip() else plain)(query, segments)

    return score
