"""A document cut by what it is: units that follow its structure, what a scorer reads of each, and how they are written.

Every kind of content is one file that gives a `Laid`; selection, budgets, spans and caches are the pipeline's own. A
unit's head is what it cannot stand without (an element its tags, an item its array, a statement its function), so a
selection closed under heads is well formed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..render import Form, trimmed
from ..score_lexical import bm25, terms
from ..score_token import identifiers
from ..types import Span, Units
from ..units import owners

WIDEST = 60_000  # characters of one document's view that a model reads beside a query: about fifteen thousand tokens
FEW, RARE = 20, 0.02  # units, or a share of them, that a rare word stands in at most
PEAK = 0.25  # share of a unit's best pieces that its score is the mean of: one field of a record decides


@dataclass(frozen=True, kw_only=True, slots=True)
class Laid:
    """One document as its kind sees it; N units."""

    kind: str  # the recipe that cut it so, as in html.v1
    units: Units  # tile the text
    prior: np.ndarray  # float64 [N], logits added to each score
    view: str  # what a scorer reads: no markup, one run after the other
    views: Units  # those runs, tiling the view; empty for units that a scorer does not read
    form: Form
    blocks: np.ndarray | None = None  # int64 [N], what is read together or not at all: a function; None: each alone
    echoes: np.ndarray | None = None  # bool [N], what repeats others: read only where a query names something in it


Layout = Callable[[str, str], "Laid | None"]
"""A text and the marker for what is left out ("" for none) to its units; None if it is not of that kind after all."""


def view_of(texts: Sequence[str]) -> tuple[str, Units]:
    """One text of the units' own texts, a line each, and where each lies in it; "" for units nobody reads."""
    lines = [f"{' '.join(t.split())}\n" if t.strip() else "" for t in texts]
    ends = np.cumsum([len(line) for line in lines], dtype=np.int64)
    starts = np.concatenate(([0], ends[:-1])).astype(np.int64) if lines else ends
    return "".join(lines), Units(starts=starts, ends=ends)


def made(
    kind: str,
    units: Units,
    prior: Sequence[float] | np.ndarray,
    read: Sequence[str],
    form: Form,
    *,
    blocks: np.ndarray | None = None,
    echoes: np.ndarray | None = None,
) -> Laid:
    """A layout of units and of what is read of each."""
    view, views = view_of(read)
    logits = np.asarray(prior, np.float64)
    return Laid(kind=kind, units=units, prior=logits, view=view, views=views, form=form, blocks=blocks, echoes=echoes)


def filled(kept: np.ndarray, solid: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """`kept` without tags or fences around nothing.

    `pairs` (int64 [P, 3]) are what opens, what closes it or the same again, and the unit after what lies between; of
    those, `solid` (bool [N]) are something.
    """
    kept = kept.copy()
    opening, closing, after = pairs.T
    upto = np.concatenate(([0], np.cumsum(kept & solid)))
    kept[opening] = kept[closing] = kept[opening] & (upto[after] > upto[opening])
    return kept


def narrowed(laid: Laid, query: str | None, widest: int = WIDEST) -> Laid:
    """Of a large document only what shares words with the query is left for the model to read.

    The first of two steps, as in HtmlRAG (Tan et al., WWW 2025, §3.4). What is not read keeps the order that BM25 gives
    it, below everything that is. Echoes are read only where a rare word of the query stands in them.
    """
    query = query if query and query.strip() else ""
    if laid.echoes is None and (len(laid.view) <= widest or not query):
        return laid
    texts = [laid.view[a:b] for a, b in zip(laid.views.starts.tolist(), laid.views.ends.tolist(), strict=True)]
    score = lexical(query, texts, laid.blocks)
    inside = np.array([bool(t) for t in texts])
    if laid.echoes is not None:
        inside &= ~laid.echoes | naming(query, texts)
    size = np.where(inside, [len(t) for t in texts], 0)
    if query and size.sum() > widest:
        best = np.lexsort((np.arange(len(score)), -(score + (0 if laid.blocks is not None else laid.prior)), ~inside))
        inside[best] &= np.cumsum(size[best]) <= widest
    view, views = view_of([t if keep else "" for t, keep in zip(texts, inside.tolist(), strict=True)])
    return replace(laid, view=view, views=views, prior=np.where(inside, laid.prior, laid.prior + score))


def lexical(query: str, texts: Sequence[str], blocks: np.ndarray | None) -> np.ndarray:
    """BM25 of each unit's text and of its block; what has an identifier of the query is above all. float64 [N]"""
    if not query:
        return np.zeros(len(texts))
    read = [n for n, t in enumerate(texts) if t]
    score, named = np.zeros(len(texts)), np.zeros(len(texts))
    score[read] = bm25(query, [texts[n] for n in read])
    for name in identifiers(query):
        named[[n for n in read if name in texts[n]]] += 1000
    if blocks is None:
        return score + named
    _, block = np.unique(blocks, return_inverse=True)
    joined: list[list[str]] = [[] for _ in range(int(block.max(initial=-1)) + 1)]
    for n in read:
        joined[block[n]].append(texts[n])
    best = np.zeros(len(joined))
    np.maximum.at(best, block, named)
    own: np.ndarray = score / 100 + (best + bm25(query, ["".join(j) for j in joined]))[block]
    return own


def naming(query: str, texts: Sequence[str]) -> np.ndarray:
    """Which texts hold a word of the query that few of them do, bool [N]."""
    wanted, out = set(terms(query)), np.zeros(len(texts), bool)
    found: dict[str, list[int]] = {}
    for n, text in enumerate(texts) if wanted else ():
        for word in wanted.intersection(terms(text)):
            found.setdefault(word, []).append(n)
    for at in found.values():
        if len(at) <= max(FEW, RARE * len(texts)):
            out[at] = True
    return out


def peaks(units: Units, pieces: np.ndarray, keep: np.ndarray, lowest: float) -> np.ndarray:
    """Mean of the best quarter of each unit's pieces, `lowest` where none begins; float64 [N]."""
    out = np.full(len(units), lowest)
    if not len(pieces):
        return out
    at = owners(units, pieces[:, 0])
    order = np.lexsort((-keep, at))
    at, keep = at[order], keep[order]
    first = np.searchsorted(at, at, side="left")
    counts = np.bincount(at, minlength=len(units))
    rank = np.arange(len(at)) - first
    best = rank < np.ceil(PEAK * counts[at])
    total = np.bincount(at[best], weights=keep[best], minlength=len(units))
    some = counts > 0
    out[some] = total[some] / np.ceil(PEAK * counts[some])
    return out


def spans_between(text: str, starts: np.ndarray, ends: np.ndarray, cuts: Sequence[int] = ()) -> list[Span]:
    """Ranges in source order as spans: joined where they touch, but not at `cuts`; no white space at the end."""
    spans: list[Span] = []
    apart = set(cuts)
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if spans and spans[-1].end == start and start not in apart:
            spans[-1] = Span(spans[-1].start, end)
        elif start < end:
            spans.append(Span(start, end))
    return trimmed(text, spans)
