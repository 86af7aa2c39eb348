"""`split → score → select → render`: pure, synchronous, no I/O of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from laconic.models import checkpoint

from . import units as cutting
from .allocate import allocate
from .asked import as_is, asked, check, whole
from .below import fitted
from .cached import CachedScorer
from .content.laid import Laid, narrowed, peaks
from .context import context
from .depend import negated
from .draft import Draft, drawn, each, owners, pooled
from .edu import assemble, depth, inside
from .forced import Forcing
from .link import link
from .outline import outline
from .part import Parts
from .phrases import phrases
from .protect import uncut
from .rank import arrange, by_relevance, spread
from .render import join
from .repeat import once
from .result import written
from .scored import RecentlyScored, Scored
from .select import Piece, with_heads
from .stages import Ranker, Reader
from .types import Document, Request, Result, Segment, UnitName, Units

T = TypeVar("T")


class Pipeline:
    """One recipe's parts and one reader, callable on requests; safe to call from several threads."""

    def __init__(self, parts: Parts, reader: Reader, ranker: Ranker | None = None) -> None:
        self.parts, self.reader, self.ranker = parts, reader, ranker
        self.recent = RecentlyScored(parts.scorer.store) if isinstance(parts.scorer, CachedScorer) else None

    def __call__(self, request: Request) -> Result:
        """Compress; raises InvalidRequest or BudgetUnreachable for what the request itself rules out."""
        check(request, self.parts, self.ranker)
        scored = self.recent.get(request) if self.recent else None
        drafts = scored.drafts if scored else self._drafts(request)
        total = scored.total if scored else self.reader.count([join(request.separator, (d.text for d in drafts))])[0]
        if unchanged := whole(request, total):
            return as_is(request, drafts, total, unchanged)
        if scored is None:
            scored = self._scored(request, drafts, total)
        order = arrange([d.relevance for d in drafts], request.order)
        pieces, kept, warnings = self._select(request, scored, order)
        graded = asked(request) and self.parts.calibrated and not self.ranker
        return written(request, drafts, pieces, kept, order, total, warnings, self.reader, self.parts, graded=graded)

    def warm(self, request: Request) -> tuple[int, int]:
        """Compute and keep what no question changes, where the recipe has that, else what is kept without one.

        Gives the number of segments and how many were kept before.
        """
        if self.parts.warm is None:
            found = self(request)
            return found.segments, found.cached
        drafts = self._drafts(request)
        self._split(request, drafts)
        segments = [s for d in drafts for s in d.segments]
        return len(segments), self.parts.warm(segments)

    def _scored(self, request: Request, drafts: list[Draft], total: int) -> Scored:
        """All that does not depend on the budget."""
        self._split(request, drafts)
        self._score(request, drafts)
        pieces = self._pieces(request, drafts)
        # documents that have a budget each stand for themselves
        if self._unit(request) == "sentence" and request.duplicates == "once" and request.scope == "global":
            for n, repeats in once(pieces, [None if d.laid else d.outline.said for d in drafts]).items():
                drafts[n].repeats = repeats
        scored = Scored(drafts=drafts, pieces=pieces, total=total)
        if self.recent:
            self.recent.put(request, scored)
        return scored

    def _drafts(self, request: Request) -> list[Draft]:
        texts = [cutting.printable(d.text) for d in request.documents]
        return [
            Draft(document=d, outline=outline(t), token_spans=spans)
            for d, t, spans in zip(request.documents, texts, self.reader.spans(texts), strict=True)
        ]

    def _split(self, request: Request, drafts: Sequence[Draft]) -> None:
        """Cut each document by its structure, where the recipe sees one, else into sentences; then into segments."""
        for d in drafts:
            checkpoint()
            layout = self.parts.content if d.document.compress else None
            if layout and (laid := layout(d.text, request.marker)):
                d.laid = narrowed(laid, request.query)
        known = [None if d.laid else d.outline.known("segments", self.parts.splitter) for d in drafts]
        new = [n for n, found in enumerate(known) if found is None]
        if new:
            views = [drafts[n].read for n in new]
            found = self.parts.splitter([Document(text=text) for text, _ in views], [units for _, units in views])
            for n, own in zip(new, by_document(found, found, len(new)), strict=True):
                known[n] = own
                if drafts[n].laid is None:
                    drafts[n].outline.keep("segments", self.parts.splitter, own)
        for n, (d, segments) in enumerate(zip(drafts, known, strict=True)):
            title = d.document.title
            later = title or (d.outline.title if self.parts.company and len(segments or ()) > 1 else title)
            d.segments = [
                Segment(document=n, start=s.start, text=s.text, title=later if i else title)
                for i, s in enumerate(segments or ())
            ]

    def _score(self, request: Request, drafts: Sequence[Draft]) -> None:
        segments = [s for d in drafts for s in d.segments]
        scores = self.parts.scorer(request.query, segments)
        for d, own in zip(drafts, by_document(segments, scores, len(drafts)), strict=True):
            d.scores = own
        self._rank(request, drafts)
        self._cut(request, drafts)

    def _rank(self, request: Request, drafts: Sequence[Draft]) -> None:
        """How relevant each document is: what the ranker says, or its best segment's score."""
        if self.ranker:
            for d, found in zip(drafts, self.ranker(request.query or "", [d.text for d in drafts]), strict=True):
                d.relevance = float(found)
            return
        for d in drafts:
            d.relevance = max((s.relevance for s in d.scores), default=cutting.LOWEST)

    def _cut(self, request: Request, drafts: Sequence[Draft]) -> None:
        """What the selector keeps or drops of each document."""
        unit = self._unit(request)
        prose = [d for d in drafts if d.laid is None]
        for d, units in zip(prose, self._units(unit, prose), strict=True):
            d.units = units
        for d in drafts:
            if d.laid:
                d.units = d.laid.units

    def _unit(self, request: Request) -> UnitName:
        return request.unit or self.parts.unit

    def _units(self, unit: UnitName, drafts: Sequence[Draft]) -> list[Units]:
        if unit != "edu":
            return [cut(unit, d) for d in drafts]
        assert self.parts.segmenter is not None  # see check
        found = iter(self.parts.segmenter([s for d in drafts for s in d.segments]))
        own = [[next(found) for _ in d.segments] for d in drafts]
        return [
            uncut(assemble(len(d.text), d.segments, o), d.text, names=True) for d, o in zip(drafts, own, strict=True)
        ]

    def _pieces(self, request: Request, drafts: Sequence[Draft]) -> list[Piece]:
        """Each document as the selector sees it."""
        read = [d.read for d in drafts]
        means = pooled(drafts, [units for _, units in read])
        raised = self._raised(request, drafts, each(means, [len(units) for _, units in read]))
        forced = Forcing(request.keep)
        scores = iter(self._prose(request, drafts, means, raised))
        edu = self._unit(request) == "edu"
        pieces = []
        for d, extra in zip(drafts, raised, strict=True):
            checkpoint()
            if d.laid:
                pieces.append(structured(forced, d, d.laid, extra))
                continue
            pieces.append(
                Piece(
                    text=d.text,
                    units=d.units,
                    score=next(scores),
                    forced=forced(d.document, d.units, d.sentences),
                    cost=d.cost(d.units),
                    allowed=np.ones(len(d.units), bool),
                    heads=inside(d.units, d.sentences) if edu else d.units.heads,
                    leads=d.units.leads,
                )
            )
        if request.top_documents is not None:
            return only(pieces, by_relevance([d.relevance for d in drafts])[: request.top_documents])
        return pieces

    def _prose(
        self, request: Request, drafts: Sequence[Draft], means: np.ndarray, raised: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """The scores of the units of each document that is prose."""
        prose = [d for d in drafts if d.laid is None]
        if not prose:
            return []
        if len(prose) < len(drafts):
            rows = each(means, [len(d.read[1]) for d in drafts])
            means = np.concatenate([row for row, d in zip(rows, drafts, strict=True) if d.laid is None])
        coherence = self.parts.coherence if asked(request) else self.parts.coherence_unasked
        score = drawn(prose, means, coherence)
        extra = [r for r, d in zip(raised, drafts, strict=True) if d.laid is None]
        if any(r.any() for r in extra):
            wide = [np.broadcast_to(r, len(d.sentences)) for r, d in zip(extra, prose, strict=True)]
            score = score + np.concatenate(wide)[owners(prose)]
        if self.parts.depth and not asked(request):
            score = score - self.parts.depth * np.concatenate([depth(d.units) for d in prose])
        return each(score, [len(d.units) for d in prose])

    def _raised(self, request: Request, drafts: Sequence[Draft], means: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What the company that each document's sentences keep says of them: what their scores are raised by."""
        if self.parts.spread:
            return [np.array([r]) for r in spread([d.relevance for d in drafts], self.parts.spread)]
        if not self.parts.company or not asked(request):
            return [np.zeros(1)] * len(drafts)
        query, titles = request.query or "", [d.title for d in drafts]
        said = [(*d.read, m) for d, m in zip(drafts, means, strict=True)]
        prose = [None if d.laid else s for d, s in zip(drafts, said, strict=True)]
        names = [d.outline.names for d in drafts if d.laid is None]
        return context(query, titles, prose, names, link(query, titles, said))

    def _select(
        self, request: Request, scored: Scored, order: Sequence[int]
    ) -> tuple[list[Piece], list[np.ndarray], list[str]]:
        """Kept units of each document, of which pieces, and warnings."""
        pieces, said = scored.pieces, list[str]()
        if self._unit(request) == "sentence":
            clauses = self._units if self.parts.segmenter else None
            pieces, said = fitted(request, scored.drafts, pieces, scored.total, clauses)
        kept, warnings = allocate(request, pieces, scored.total, self.reader, self.parts.least, order)
        if any(k.any() for k in kept):
            return pieces, kept, [*warnings, *said]
        return scored.pieces, [np.zeros(len(p.units), bool) for p in scored.pieces], warnings


def cut(unit: UnitName, d: Draft) -> Units:
    """A document's sentences, words, phrases or the reader's tokens."""
    checkpoint()
    if unit == "sentence":
        return d.outline.together
    if unit == "token":
        starts = [int(s) for s in d.token_spans[:, 0]]
        return negated(d.text, uncut(cutting.tokens(starts, len(d.text)), d.text, names=True))
    return negated(d.text, uncut(cutting.words(d.text) if unit == "word" else phrases(d.text), d.text))


def structured(forced: Forcing, d: Draft, laid: Laid, raised: np.ndarray) -> Piece:
    """A document that was cut by its structure as the selector sees it."""
    found = peaks(laid.views, *cutting.together(d.scores), cutting.LOWEST)
    piece = Piece(
        text=d.text,
        units=laid.units,
        score=found + laid.prior + raised,
        forced=forced(d.document, laid.units, laid.units),
        cost=d.cost(laid.units),
        allowed=np.ones(len(laid.units), bool),
        heads=laid.units.heads,
        form=laid.form,
    )
    return replace(piece, forced=with_heads(piece.forced, piece))


def by_document(segments: Sequence[Segment], values: Sequence[T], count: int) -> list[list[T]]:
    """What belongs to each segment, grouped by the segments' documents."""
    out: list[list[T]] = [[] for _ in range(count)]
    for segment, value in zip(segments, values, strict=True):
        out[segment.document].append(value)
    return out


def only(pieces: Sequence[Piece], numbers: Sequence[int]) -> list[Piece]:
    """The same pieces with every unit of the others dropped, forced ones too."""
    chosen = set(numbers)
    none = [np.zeros(len(p.units), bool) for p in pieces]
    return [p if i in chosen else replace(p, forced=none[i], allowed=none[i]) for i, p in enumerate(pieces)]
