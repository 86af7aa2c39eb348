"""LLMLingua (Jiang et al., EMNLP 2023) and LongLLMLingua (Jiang et al., ACL 2024) as scores.

Tokens compete within their segment, as in a window of the papers' iterative compression; documents are ranked by
perplexity, and the better their rank the higher their rate (`Parts.spread`: "dynamic compression ratio").
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from laconic.models import LossInput, LossOutput

from .score_loss import Asked, Text, entering, scale
from .score_perplexity import mean

CLAIM = "We can get the answer to this question in the given documents."  # LongLLMLingua, section 4.1
GAIN = 16.0  # a sixteenth of a nat of the question, per token, is a point of relevance


class Llmlingua:
    """Surprising tokens first; documents that surprise more rank higher (section 3.1). A query plays no part."""

    def read(self, asked: Asked, t: Text) -> list[LossInput]:
        return [LossInput(before=t.before, text=t.ids)]

    def score(self, asked: Asked, t: Text, found: Sequence[LossOutput]) -> tuple[np.ndarray, float]:
        return scale(entering(found[0].text)), mean(found[0].text) - 5.0


class Longllmlingua:
    """Tokens that the question makes less surprising first (section 4.1, "contrastive perplexity").

    A document's relevance is what it tells of the question: how much less surprising the question, with the claim that
    it can be answered, is behind the document than alone. Without a query it is LLMLingua.
    """

    def __init__(self, claim: tuple[int, ...]) -> None:
        self.claim = claim  # CLAIM in the model's tokens

    def read(self, asked: Asked, t: Text) -> list[LossInput]:
        if not asked.ids:
            return Llmlingua().read(asked, t)
        return contrast(asked, t, (*asked.ids, *self.claim))

    def score(self, asked: Asked, t: Text, found: Sequence[LossOutput]) -> tuple[np.ndarray, float]:
        if not asked.ids:
            return Llmlingua().score(asked, t, found)
        free, bound, alone = found
        return scale(entering(free.text - bound.text)), GAIN * (mean(alone.text) - mean(free.after))


def contrast(asked: Asked, t: Text, question: tuple[int, ...]) -> list[LossInput]:
    """The text with the question behind it, the text knowing the question, and the question alone."""
    return [
        LossInput(before=t.before, text=t.ids, after=question),
        LossInput(before=knowing(asked, t), text=t.ids),
        LossInput(before=t.before[:1], text=question),
    ]


def knowing(asked: Asked, t: Text) -> tuple[int, ...]:
    """What stands before a segment when the question is known."""
    return t.before[0], *asked.ids, *t.before[1:]
