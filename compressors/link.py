"""Documents that a relevant sentence names are relevant too: the second step of a multi-hop question.

One look at each segment beside the question cannot see it: "Who is the wife of the film's director?" does not name the
director. A sentence that answers the first half does, and retrieved documents often carry what they are about as their
title (links between passages by entity: Nie et al., EMNLP 2019; Asai et al., ICLR 2020).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from .types import Scores, Units
from .units import LOWEST, pooled, together

WEIGHT = 1.5  # logits; chosen on groups left out of training (bench/LOG.md)
BEST = 8  # sentences over all documents that may name others
SPREAD = 2.0  # logits below the best sentence at which a mention counts half
SHORTEST, LONGEST = 4, 100  # characters of a title that names something
_ASIDE = re.compile(r"\s*\([^)]*\)\s*$")

Read = tuple[str, Units, Sequence[Scores]]  # a document's text, sentences, and its segments' scores


def link(query: str, titles: Sequence[str | None], documents: Sequence[Read], weight: float = WEIGHT) -> list[float]:
    """Logits to raise each document by: its title is in the query, or in one of the best sentences of the others.

    A mention counts by how close its sentence comes to the best one. All of a document is raised alike, so that nothing
    changes places within it; a document without a title is left as it is.
    """
    names = [about(t) for t in titles]
    if len(documents) < 2 or not any(names):
        return [0.0] * len(documents)
    best = mentions(documents)
    return [weight * mentioned(n, name, names, query, best) for n, name in enumerate(names)]


def mentioned(
    document: int, name: str | None, names: Sequence[str | None], query: str, best: Sequence[tuple[float, int, str]]
) -> float:
    """How much a document's name is mentioned, in [0, 1]; by passages of the same name it is not."""
    if name is None:
        return 0.0
    word = rf"(?<!\w){re.escape(name)}(?!\w)"  # compiled only where the name is in sight: that costs 0.1 ms
    if name.casefold() in query.casefold() and re.search(word, query, re.IGNORECASE):
        return 1.0
    for score, other, text in best:
        if other != document and names[other] != name and name in text and re.search(word, text):
            return 2 / (1 + math.exp(min(60.0, (best[0][0] - score) / SPREAD)))
    return 0.0


def about(title: str | None) -> str | None:
    """What a title names, without an aside in brackets; None for one in lower case, which is a word, not a name."""
    name = _ASIDE.sub("", (title or "")[: 2 * LONGEST]).strip()
    named = any(c.isupper() or not c.isascii() for c in name)
    return name if named and SHORTEST <= len(name) <= LONGEST else None


def mentions(documents: Sequence[Read]) -> list[tuple[float, int, str]]:
    """The best sentences of all documents: mean score, document, text; best first."""
    found = []
    for n, (_, sentences, scores) in enumerate(documents):
        if scores:
            mean = pooled(sentences, *together(scores))
            found += [(float(mean[i]), n, i) for i in np.argsort(-mean, kind="stable")[:BEST].tolist()]
    out = []
    for score, n, i in sorted((f for f in found if f[0] > LOWEST), key=lambda f: -f[0])[:BEST]:
        text, sentences, _ = documents[n]
        out.append((score, n, text[sentences.starts[i] : sentences.ends[i]]))
    return out
