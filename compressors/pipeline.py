"""`split → score → select → render`: pure, synchronous, no I/O of its own."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from laconic.models import checkpoint

from . import units as cutting
from .allocate import allocate
from .asked import as_is, asked, check, whole
from .content.laid import Laid, narrowed, peaks
from .context import context
from .depend import negated, together
from .edu import assemble, depth, inside
from .forced import Forcing
from .link import link
from .part import Parts, sigmoid
from .phrases import phrases
from .protect import uncut
from .rank import arrange, by_relevance, spread
from .render import join, render
from .repeat import once
from .select import Piece, with_heads
from .stages import Ranker, Reader
from .titles import title_of
from .types import Compressed, Document, Repeat, Request, Result, Scores, Segment, Span, UnitName, Units

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """One document cut up and counted, before any score."""

    document: Document
    text: str  # as tokenizers can take it; same length as the document's
    token_spans: np.ndarray
    tokens_in: int
    sentences: Units = field(default_factory=lambda: cutting.from_starts([], 0))  # none where it was laid
    laid: Laid | None = None  # where it was cut by its structure

    @property
    def read(self) -> tuple[str, Units]:
        """The text that scorers see, and what its segments are made of."""
        return (self.laid.view, self.laid.views) if self.laid else (self.text, self.sentences)


class Pipeline:
    """One recipe's parts and one reader, callable on requests; safe to call from several threads."""

    def __init__(self, parts: Parts, reader: Reader, ranker: Ranker | None = None) -> None:
        self.parts, self.reader, self.ranker = parts, reader, ranker

    def __call__(self, request: Request) -> Result:
        """Compress; raises InvalidRequest or BudgetUnreachable for what the request itself rules out."""
        check(request, self.parts, self.ranker)
        documents = self._prepare(request)
        total = self.reader.count([join(request.separator, (p.text for p in documents))])[0]
        if unchanged := whole(request, total):
            return as_is(request, documents, total, unchanged)
        forced = Forcing(request.keep)
        documents = [self._cut_up(request, p) for p in documents]
        seen = [replace(p.document, text=p.read[0]) if p.laid else p.document for p in documents]
        segments = self.parts.splitter(seen, [p.read[1] for p in documents])
        scores = self.parts.scorer(request.query, segments)
        grouped = by_document(segments, scores, len(documents))
        best = self._best(request, documents, grouped)
        units = self._units(request, documents, segments)
        means = [cutting.pooled(p.read[1], *cutting.together(g)) for p, g in zip(documents, grouped, strict=True)]
        raised = self._raised(request, documents, means, best)
        each = zip(documents, units, grouped, means, raised, strict=True)
        pieces = [self._piece(request, forced, *given) for given in each]
        if request.top_documents is not None:
            pieces = only(pieces, by_relevance(best)[: request.top_documents])
        order = arrange(best, request.order)
        repeats: Sequence[Sequence[Repeat]] = [()] * len(pieces)
        # documents that have a budget each stand for themselves
        if self._unit(request) == "sentence" and request.duplicates == "once" and request.scope == "global":
            pieces, repeats = once(pieces)
        kept, warnings = allocate(request, pieces, total, self.reader, self.parts.least, order)
        if not any(k.any() for k in kept) and (below := self._below(request, documents, segments, grouped, pieces)):
            for smaller, word in below:
                again, warned = allocate(request, smaller, total, self.reader, self.parts.least, order)
                if any(k.any() for k in again):
                    pieces, kept = smaller, again
                    warnings = [*warned, f"no whole sentence fits the budget: {word} of the best one are kept"]
                    break
        result = self._result(request, documents, grouped, best, pieces, kept, order, total, warnings)
        return bounded(replace(result, documents=standing(result.documents, repeats)), segments)

    def _cut_up(self, request: Request, p: Prepared) -> Prepared:
        """The document cut by its structure, where the recipe sees one, else into sentences."""
        checkpoint()
        layout = self.parts.content if p.document.compress else None
        if layout and (laid := layout(p.text, request.marker)):
            return replace(p, laid=narrowed(laid, request.query))
        return replace(p, sentences=cutting.sentences(p.text))

    def _prepare(self, request: Request) -> list[Prepared]:
        documents = request.documents
        texts = [cutting.printable(d.text) for d in documents]
        return [
            Prepared(document=d, text=t, token_spans=spans, tokens_in=len(spans))
            for d, t, spans in zip(documents, texts, self.reader.spans(texts), strict=True)
        ]

    def _best(
        self, request: Request, documents: Sequence[Prepared], grouped: Sequence[Sequence[Scores]]
    ) -> list[float]:
        """How relevant each document is: what the ranker says, or its best segment's score."""
        if self.ranker:
            return [float(x) for x in self.ranker(request.query or "", [p.text for p in documents])]
        return [max((s.relevance for s in g), default=cutting.LOWEST) for g in grouped]

    def _units(self, request: Request, documents: Sequence[Prepared], segments: Sequence[Segment]) -> list[Units]:
        """What the selector keeps or drops of each document."""
        unit = self._unit(request)
        if unit == "edu":
            return self._clauses(documents, [s for s in segments if documents[s.document].laid is None])
        return [p.laid.units if p.laid else cut(unit, p) for p in documents]

    def _unit(self, request: Request) -> UnitName:
        return request.unit or self.parts.unit

    def _clauses(self, documents: Sequence[Prepared], segments: Sequence[Segment]) -> list[Units]:
        assert self.parts.segmenter is not None  # see check
        own = by_document(segments, segments, len(documents))
        found = by_document(segments, self.parts.segmenter(segments), len(documents))
        each = zip(documents, own, found, strict=True)
        return [p.laid.units if p.laid else uncut(assemble(len(p.text), s, d), p.text) for p, s, d in each]

    def _raised(
        self,
        request: Request,
        documents: Sequence[Prepared],
        means: Sequence[np.ndarray],
        best: Sequence[float],
    ) -> list[np.ndarray]:
        """What the company that each document's sentences keep says of them: what their scores are raised by."""
        query = request.query or ""
        if self.parts.spread:
            return [np.array([r]) for r in spread(best, self.parts.spread)]
        if not self.parts.company or not asked(request):
            return [np.zeros(1)] * len(documents)
        titles = [p.document.title or title_of(p.text) for p in documents]
        said = [(*p.read, m) for p, m in zip(documents, means, strict=True)]
        prose = [None if p.laid else s for p, s in zip(documents, said, strict=True)]
        return context(query, titles, prose, link(query, titles, said))

    def _piece(
        self,
        request: Request,
        forced: Forcing,
        p: Prepared,
        units: Units,
        scores: Sequence[Scores],
        means: np.ndarray,
        raised: np.ndarray,
    ) -> Piece:
        checkpoint()
        if p.laid:
            return structured(forced, p, p.laid, scores, raised)
        coherence = self.parts.coherence if asked(request) else self.parts.coherence_unasked
        sunk = 0.0 if asked(request) else self.parts.depth * depth(units)
        beside = np.broadcast_to(raised, len(p.sentences))[cutting.owners(p.sentences, units.starts)]
        return Piece(
            text=p.text,
            units=units,
            score=cutting.drawn(units, p.sentences, scores, means, coherence) + beside - sunk,
            forced=forced(p.document, units, p.sentences),
            cost=cost(p, units),
            allowed=np.ones(len(units), bool),
            heads=inside(units, p.sentences) if self._unit(request) == "edu" else units.heads,
            leads=units.leads,
        )

    def _below(
        self,
        request: Request,
        documents: Sequence[Prepared],
        segments: Sequence[Segment],
        grouped: Sequence[Sequence[Scores]],
        pieces: Sequence[Piece],
    ) -> Iterator[tuple[list[Piece], str]]:
        """The best sentence alone, by its clauses, then by its words: for budgets that hold no whole one."""
        found = [(float(p.score[p.allowed].max()), -n) for n, p in enumerate(pieces) if p.allowed.any()]
        if self._unit(request) != "sentence" or not found or documents[at := -max(found)[1]].laid:
            return
        p, piece = documents[at], pieces[at]
        best = int(np.argmax(np.where(piece.allowed, piece.score, -np.inf)))
        start, end = int(piece.units.starts[best]), int(piece.units.ends[best])
        rest = [replace(p, allowed=np.zeros(len(p.units), bool)) for p in pieces]
        own = [s for s in segments if s.document == at]
        clauses = self._clauses([p], [replace(s, document=0) for s in own])[0] if self.parts.segmenter else None
        for units, word in ((clauses, "clauses"), (negated(p.text, cut("word", p)), "words")):
            if units is None:
                continue
            score = cutting.pooled(units, *cutting.together(grouped[at]))
            inside_it = (units.starts < end) & (units.ends > start)
            smaller = Piece(
                text=p.text,
                units=units,
                score=score,
                forced=np.zeros(len(units), bool),
                cost=cost(p, units),
                allowed=inside_it,
                heads=inside(units, p.sentences) if word == "clauses" else units.heads,
            )
            yield [*rest[:at], smaller, *rest[at + 1 :]], word

    def _result(
        self,
        request: Request,
        documents: Sequence[Prepared],
        grouped: Sequence[Sequence[Scores]],
        best: Sequence[float],
        pieces: Sequence[Piece],
        kept: Sequence[np.ndarray],
        order: Sequence[int],
        total: int,
        warnings: list[str],
    ) -> Result:
        written = [p.written(k) for p, k in zip(pieces, kept, strict=True)]
        texts = [render(p.text, *w) for p, w in zip(pieces, written, strict=True)]
        joined = join(request.separator, (texts[i] for i in order))
        *counts, tokens_out = self.reader.count([*texts, joined])
        out = []
        for i, p in enumerate(documents):
            checkpoint()
            out.append(
                Compressed(
                    id=p.document.id,
                    text=render(p.document.text, *written[i]),
                    spans=written[i][0],
                    marks=written[i][1],
                    kind=p.laid.kind if p.laid else None,
                    score=sigmoid(best[i]) if asked(request) and self.parts.calibrated and not self.ranker else None,
                    tokens_in=p.tokens_in,
                    tokens_out=counts[i],
                    segments=len(grouped[i]),
                    cached=sum(s.cached for s in grouped[i]),
                    units=pieces[i].units,
                    scores=self.parts.probability(pieces[i].score),
                )
            )
        return Result(
            text=join(request.separator, (out[i].text for i in order)),
            documents=out,
            order=order,
            tokens_in=total,
            tokens_out=tokens_out,
            segments=sum(d.segments for d in out),
            cached=sum(d.cached for d in out),
            warnings=warnings,
        )


def cut(unit: str, p: Prepared) -> Units:
    """A document's sentences, words, phrases or the reader's tokens."""
    checkpoint()
    if unit == "sentence":
        return together(p.text)
    if unit == "token":
        return uncut(cutting.tokens([int(s) for s in p.token_spans[:, 0]], len(p.text)), p.text, names=True)
    return uncut(cutting.words(p.text) if unit == "word" else phrases(p.text), p.text)


def cost(p: Prepared, units: Units) -> np.ndarray:
    """How many of the reader's tokens end in each unit; int64 [N]."""
    at = cutting.owners(units, np.maximum(p.token_spans[:, 1] - 1, p.token_spans[:, 0]))
    return np.bincount(at, minlength=len(units))


def structured(forced: Forcing, p: Prepared, laid: Laid, scores: Sequence[Scores], raised: np.ndarray) -> Piece:
    """A document that was cut by its structure as the selector sees it."""
    found = peaks(laid.views, *cutting.together(scores), cutting.LOWEST)
    piece = Piece(
        text=p.text,
        units=laid.units,
        score=found + laid.prior + raised,
        forced=forced(p.document, laid.units, laid.units),
        cost=cost(p, laid.units),
        allowed=np.ones(len(laid.units), bool),
        heads=laid.units.heads,
        form=laid.form,
    )
    return replace(piece, forced=with_heads(piece.forced, piece))


def bounded(result: Result, segments: Sequence[Segment]) -> Result:
    """The result, each document with the bounds of its segments; they lie elsewhere in one cut by its structure."""
    spans = [Span(s.start, s.start + len(s.text)) for s in segments]
    own = by_document(segments, spans, len(result.documents))
    return replace(
        result, documents=[replace(d, bounds=() if d.kind else b) for d, b in zip(result.documents, own, strict=True)]
    )


def standing(documents: Sequence[Compressed], repeats: Sequence[Sequence[Repeat]]) -> list[Compressed]:
    """The documents, each with what it left to another that is kept there."""

    starts = [[s.start for s in d.spans] for d in documents]

    def kept(r: Repeat) -> bool:
        at = bisect_right(starts[r.of], r.there.start) - 1
        return at >= 0 and r.there.start < documents[r.of].spans[at].end

    return [
        replace(d, repeats=[r for r in own if kept(r)]) if own else d for d, own in zip(documents, repeats, strict=True)
    ]


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
