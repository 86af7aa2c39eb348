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


def link(query: str, titles: Sequence[str | None], documents: Sequence[Read]) -> list[float]:
    """Logits to raise each document by: its title is in the query, or in one of the best sentences of the others.

    It is raised by WEIGHT, less for a sentence that is far from the best one. A sentence that names what the query
    does not is the step there: it lifts the best sentence under that name to where it stands itself. All of a document
    is raised alike, so that nothing changes places within it; a document without a title is left as it is.
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
        if name is None or not best:
            out.append(0.0)
        elif said(name, query, any_case=True):
            out.append(WEIGHT)
        elif (score := mentioned(n, names, best)) is None:
            out.append(0.0)
        else:
            share = 2 / (1 + math.exp(min(60.0, (best[0][0] - score) / SPREAD)))
            lift = score - highest[name] if highest[name] > LOWEST else 0.0
            out.append(max(WEIGHT * share, lift))
    return out


def mentioned(document: int, names: Sequence[str | None], best: Sequence[tuple[float, int, str]]) -> float | None:
    """The score of the best sentence that has a document's name; passages of the same name do not count."""
    name = names[document]
    for score, other, text in best:
        if name and other != document and names[other] != name and said(name, text):
            return score
    return None


def said(name: str, text: str, *, any_case: bool = False) -> bool:
    """Whether a text has a name as whole words."""
    if any_case:
        name, text = name.casefold(), text.casefold()
    at = text.find(name)
    while at >= 0:
        around = text[max(0, at - 1) : at], text[at + len(name) : at + len(name) + 1]
        if not any(c.isalnum() or c == "_" for c in around):
            return True
        at = text.find(name, at + 1)
    return False


def about(title: str | None) -> str | None:
    """What a title names, without an aside in brackets; None for one in lower case, which is a word, not a name."""
    name = _ASIDE.sub("", (title or "")[: 2 * LONGEST]).strip()
    named = any(c.isupper() or not c.isascii() for c in name)
    return name if named and SHORTEST <= len(name) <= LONGEST else None


def mentions(documents: Sequence[Read]) -> list[tuple[float, int, str]]:
    """The best sentences of all documents: score, document, text; best first."""
    scores = np.concatenate([s for _, _, s in documents])
    first = np.cumsum([0, *(len(s) for _, _, s in documents)])
    best = np.argsort(-scores, kind="stable")[:BEST]
    out = []
    for at in best[scores[best] > LOWEST].tolist():
        n = int(first.searchsorted(at, side="right")) - 1
        text, sentences, _ = documents[n]
        i = at - int(first[n])
        out.append((float(scores[at]), n, text[sentences.starts[i] : sentences.ends[i]]))
    return out
