"""DSPC (Gao et al. 2025, "Dual-Stage Progressive Compression") as scores.

First sentences by TF-IDF: what a sentence shares with the query, or with the text where there is none. Then tokens by
what the end of the question attends to, by how much the question lowers their loss, and by where they stand. The paper
takes the loss difference between two models and the weights from its own tuning; here it is one model with and without
the question, and equal weights.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from laconic.models import LossInput, LossOutput

from .score_lexical import terms
from .score_llmlingua import knowing
from .score_loss import Asked, Text, entering, scale
from .score_perplexity import mean
from .units import owners, sentences

SENTENCES = 0.5  # share of a score that its sentence decides
EDGE = 0.1  # tokens this near to either end of a segment count as prominent


class Dspc:
    """Needs no query to run: attention is then of the last token, and the loss is the text's own."""

    def read(self, asked: Asked, t: Text) -> list[LossInput]:
        free = LossInput(before=t.before, text=t.ids, after=asked.ids)
        return [free, LossInput(before=knowing(asked, t), text=t.ids)] if asked.ids else [free]

    def score(self, asked: Asked, t: Text, found: Sequence[LossOutput]) -> tuple[np.ndarray, float]:
        paid = found[0].attention.mean((0, 1))
        lowered = found[0].text - found[1].text if asked.ids else found[0].text
        own = (entering(paid) + entering(lowered) + prominence(len(paid))) / 3
        by_sentence = similarity(asked, t)
        rate = SENTENCES * entering(by_sentence) + (1 - SENTENCES) * own
        return scale(rate), float(by_sentence.max(initial=0.0)) * 8 - mean(found[0].after)


def prominence(count: int) -> np.ndarray:
    """0 near both ends, rising to 1 in the middle: as rates of entry."""
    place = (np.arange(count) + 0.5) / max(1, count)
    return np.clip(np.minimum(place, 1 - place) / EDGE, 0, 1)


def similarity(asked: Asked, t: Text) -> np.ndarray:
    """Each token's sentence's cosine with the query, TF-IDF over the segment's sentences; [N]"""
    cut = sentences(t.text)
    counts = [Counter(terms(t.text[a:b])) for a, b in zip(cut.starts, cut.ends, strict=True)]
    df = Counter(w for c in counts for w in c)
    idf = {w: math.log((1 + len(counts)) / (1 + n)) + 1 for w, n in df.items()}
    wanted = Counter(terms(asked.text) if asked.text else terms(t.text))
    rows = np.array([cosine(c, wanted, idf) for c in counts])
    return rows[owners(cut, t.spans[:, 0])] if len(t.spans) else np.zeros(0)


def cosine(a: Counter[str], b: Counter[str], idf: dict[str, float]) -> float:
    x, y = ({w: n * idf.get(w, 0.0) for w, n in c.items()} for c in (a, b))
    size = math.hypot(*x.values()) * math.hypot(*y.values())
    return sum(v * y.get(w, 0.0) for w, v in x.items()) / size if size else 0.0
