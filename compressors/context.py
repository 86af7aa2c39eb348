"""Sentences of one text stand in context: among passages that are parts of one text, what is near counts too.

A scorer sees a segment beside the question and nothing else. In a story or a meeting the sentence that answers often
stands near the one that looks it, and which of the question's words tell anything depends on the text: in a meeting
about a remote control, "remote" does not. So a sentence's score is joined by its BM25 over this request's sentences
(Robertson & Zaragoza 2009), and by the best of its document.

Passages that each have a title of their own are about different things, and so are those that share no names: for
them nothing changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from itertools import chain

import numpy as np

from .link import Read, about
from .score_lexical import bm25
from .units import LOWEST

WEIGHT = 3.0  # logits between who shares most with the query and who shares nothing; chosen as link's (bench/LOG.md)
RECURRING = 0.15  # how probable it is, at least, that a name of one passage stands in another of the same text


def context(
    query: str,
    titles: Sequence[str | None],
    documents: Sequence[Read | None],
    names: Sequence[Set[str]],
    raised: Sequence[float],
) -> list[np.ndarray]:
    """What each document's sentences are raised by, `raised` included; float64 [its sentences], or [1] for None.

    `names` are words that are names by their looks, of each of the documents that is one.

    Scores change places, none is new: what was best stays as sure as it was, a threshold keeps as much as it did, and
    what scores mean as probabilities stays.
    """
    out = [np.full(1 if d is None else len(d[1]), r, np.float64) for d, r in zip(documents, raised, strict=True)]
    if apart(titles, names):
        return out
    own = [(n, *d) for n, d in enumerate(documents) if d is not None and (d[2] > LOWEST).any()]
    if not own:
        return out
    texts = [text[a:b] for _, text, units, _ in own for a, b in zip(units.starts, units.ends, strict=True)]
    shared = bm25(query, texts)
    ends = np.cumsum([len(units) for _, _, units, _ in own])[:-1]
    joined = []
    for (n, _, _, scores), same in zip(own, np.split(shared / (shared.max() or 1), ends), strict=True):
        now = np.where(scores > LOWEST, scores + raised[n] + WEIGHT * same, -np.inf)
        joined.append(now + now.max())
    known = np.concatenate([s > LOWEST for *_, s in own])
    before = np.concatenate([s + raised[n] for n, _, _, s in own])
    after = before.copy()
    after[known] = swapped(before[known], np.concatenate(joined)[known])
    for (n, *_), moved in zip(own, np.split(after - before, ends), strict=True):
        out[n] += moved
    return out


def swapped(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The same values, in the order of others: the highest where `order` is highest; ties by position."""
    out = np.empty_like(values)
    out[np.argsort(-order, kind="stable")] = -np.sort(-values)
    return out


def apart(titles: Sequence[str | None], names: Sequence[Set[str]]) -> bool:
    """Whether passages are about different things: most have a title that no other has, or the names that stand in one
    of them hardly stand in others."""
    if len(titles) < 2:
        return False
    titled = Counter(about(t) for t in titles)
    own = sum(count == 1 for name, count in titled.items() if name)
    return 2 * own > len(titles) or recurring(names) < RECURRING


def recurring(names: Sequence[Set[str]]) -> float:
    """How probable it is that a name in one text (its `names`) stands in another of those that have names."""
    count = Counter(chain.from_iterable(names))
    others = sum(map(bool, names)) - 1
    return sum(n * (n - 1) for n in count.values()) / (others * count.total()) if others > 0 else 0.0
