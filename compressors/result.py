"""From what is kept to the answer: texts, spans, counts and what they mean."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from laconic.models import checkpoint

from .draft import Draft, each
from .part import Parts
from .render import join, render
from .select import Piece
from .stages import Reader
from .types import Compressed, Repeat, Request, Result, Span


def written(
    request: Request,
    drafts: Sequence[Draft],
    pieces: Sequence[Piece],
    kept: Sequence[np.ndarray],
    order: Sequence[int],
    total: int,
    warnings: list[str],
    reader: Reader,
    parts: Parts,
    *,
    graded: bool,
) -> Result:
    """The answer; `graded`: what a document's relevance says is shown as a probability."""
    shown = [p.written(k) for p, k in zip(pieces, kept, strict=True)]
    texts = [p.rendered(k) for p, k in zip(pieces, kept, strict=True)]
    *counts, tokens_out = reader.count([*texts, join(request.separator, (texts[i] for i in order))])
    own = [
        t if d.text == d.document.text else render(d.document.text, *w)
        for d, t, w in zip(drafts, texts, shown, strict=True)
    ]
    scores = each(
        parts.probability(np.concatenate([np.zeros(0), *(p.score for p in pieces)])), [len(p.units) for p in pieces]
    )
    starts = [[s.start for s in w.spans] for w in shown] if any(d.repeats for d in drafts) else []

    def stands(r: Repeat) -> bool:
        at = bisect_right(starts[r.of], r.there.start) - 1
        return at >= 0 and r.there.start < shown[r.of].spans[at].end

    out = []
    for i, d in enumerate(drafts):
        checkpoint()
        out.append(
            Compressed(
                id=d.document.id,
                text=own[i],
                spans=shown[i].spans,
                marks=shown[i].marks,
                kind=d.laid.kind if d.laid else None,
                title=d.title or None,
                score=parts.graded(d.relevance) if graded else None,
                tokens_in=d.tokens_in,
                tokens_out=counts[i],
                segments=len(d.segments),
                cached=sum(s.cached for s in d.scores),
                units=pieces[i].units,
                scores=scores[i],
                # those of one cut by its structure lie elsewhere
                bounds=() if d.laid else [Span(s.start, s.start + len(s.text)) for s in d.segments],
                repeats=[r for r in d.repeats if stands(r)],
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
