"""Perception Compressor (Tang et al., Findings of NAACL 2025) as scores.

Its guiding questions come from a large language model; there is none here, so the question's own phrases guide, each
with less weight than the question (section 3.1). Its two slopes are a document's rate by rank (`Parts.spread`) and the
share of that rate which the question decides: OPEN of what is kept by what the question makes less surprising, the rest
by what the text alone makes least surprising, "which distracts least" (sections 3.2 and 3.3). The second slope, of the
share by rank, would need the ranks of all documents before any score: the share is the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from laconic.models import LossInput, LossOutput

from .phrases import content
from .score_llmlingua import GAIN, contrast
from .score_loss import Asked, Text, entering, scale
from .score_perplexity import mean

OPEN = 0.2  # the authors' setting
GUIDES, GUIDE_TOKENS = 3, 8
GUIDE_WEIGHT = 0.5


class Perception:
    """`ids` gives the token ids of a text: guiding phrases are read behind the question. Needs no query to run."""

    def __init__(self, claim: tuple[int, ...], ids: Callable[[str], tuple[int, ...]]) -> None:
        self.claim, self.ids = claim, ids

    def read(self, asked: Asked, t: Text) -> list[LossInput]:
        if not asked.ids:
            return [LossInput(before=t.before, text=t.ids)]
        return contrast(asked, t, self.question(asked))

    def score(self, asked: Asked, t: Text, found: Sequence[LossOutput]) -> tuple[np.ndarray, float]:
        if not asked.ids:
            return scale(entering(-found[0].text)), -mean(found[0].text)
        free, bound, alone = found
        share = np.minimum(entering(free.text - bound.text) / OPEN, entering(-free.text) / (1 - OPEN))
        weight = np.full(len(free.after), GUIDE_WEIGHT)
        weight[: len(asked.ids) + len(self.claim)] = 1
        gain = float(np.average(alone.text - free.after, weights=weight))
        return scale(np.minimum(share, 1)), GAIN * gain

    def question(self, asked: Asked) -> tuple[int, ...]:
        guides = [self.ids(phrase)[:GUIDE_TOKENS] for phrase in content(asked.text, GUIDES)]
        return (*asked.ids, *self.claim, *(i for g in guides for i in g))
