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

from .types import Units
from .units import LOWEST

WEIGHT = 1.5  # logits; chosen on groups left out of training (bench/LOG.md), as are the next two
BEST = 16  # sentences over all documents that may name others
SPREAD = 2.0  # logits below the best sentence at which a mention counts half
SHORTEST, LONGEST = 4, 100  # characters of a title that names something
_ASIDE = re.compile(r"\s*\([^)]*\)\s*$")

Read = tuple[str, Units, np.ndarray]  # a document's text, its sentences, and their scores; LOWEST where there is none


def link(query: str, titles: Sequence[str | None], documents: Sequence[Read], weight: float = WEIGHT) -> list[float]:
    """Logits to raise each document by: its title is in the query, or in one of the best sentences of the others.

    It is raised by `weight`, less for a sentence that is far from the best one, and at least so far that the best
    sentence under its name stands as high as the one that mentions it. All of a document is raised alike, so that
    nothing changes places within it; a document without a title is left as it is.
    """
    names = [about(t) for t in titles]
    if len(documents) < 2 or not any(names):
        return [0.0] * len(documents)
    best = mentions(documents)
    highest: dict[str | None, float] = {}
    for name, (_, _, scores) in zip(names, documents, strict=True):
        highest[name] = max(highest.get(name, LOWEST), float(scores.max(initial=LOWEST)))
    out = []
    for n, name in enumerate(names):
        score = mentioned(n, names, query, best)
        share = 0.0 if score is None else 2 / (1 + math.exp(min(60.0, (best[0][0] - score) / SPREAD)))
        lift = 0.0 if score is None or highest[name] <= LOWEST else score - highest[name]
        out.append(max(weight * share, lift))
    return out


def mentioned(
    document: int, names: Sequence[str | None], query: str, best: Sequence[tuple[float, int, str]]
) -> float | None:
    """The score of the best sentence that has a document's name, the best of all where the query has it; None if none.

    By passages of the same name it is not mentioned.
    """
    if (name := names[document]) is None or not best:
        return None
    word = rf"(?<!\w){re.escape(name)}(?!\w)"  # compiled only where the name is in sight: that costs 0.1 ms
    if name.casefold() in query.casefold() and re.search(word, query, re.IGNORECASE):
        return best[0][0]
    for score, other, text in best:
        if other != document and names[other] != name and name in text and re.search(word, text):
            return score
    return None


def about(title: str | None) -> str | None:
    """What a title names, without an aside in brackets; None for one in lower case, which is a word, not a name."""
    name = _ASIDE.sub("", (title or "")[: 2 * LONGEST]).strip()
    named = any(c.isupper() or not c.isascii() for c in name)
    return name if named and SHORTEST <= len(name) <= LONGEST else None


def mentions(documents: Sequence[Read]) -> list[tuple[float, int, str]]:
    """The best sentences of all documents: score, document, text; best first."""
    found = [
        (float(scores[i]), n, i)
        for n, (_, _, scores) in enumerate(documents)
        for i in np.argsort(-scores, kind="stable")[:BEST].tolist()
    ]
    out = []
    for score, n, i in sorted((f for f in found if f[0] > LOWEST), key=lambda f: -f[0])[:BEST]:
        text, sentences, _ = documents[n]
        out.append((score, n, text[sentences.starts[i] : sentences.ends[i]]))
    return out
