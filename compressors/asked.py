"""What a request rules out before any score, and what needs none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .part import Parts
from .render import join
from .stages import Ranker
from .types import Compressed, Document, InvalidRequest, Request, Result, Span


class Counted(Protocol):
    """A document and how many of the reader's tokens it has."""

    @property
    def document(self) -> Document: ...

    @property
    def text(self) -> str: ...

    @property
    def tokens_in(self) -> int: ...


def asked(request: Request) -> bool:
    return bool(request.query and request.query.strip())


def check(request: Request, parts: Parts, ranker: Ranker | None = None) -> None:
    """What no stage can answer."""
    if ranker and not asked(request):
        raise InvalidRequest("a ranker needs a query", param="ranker")
    budgets = [request.budget, *(d.budget for d in request.documents if d.budget)]
    if not parts.calibrated and any(b.kind == "threshold" for b in budgets):
        raise InvalidRequest("this recipe's scores are not probabilities: no threshold", param="budget.threshold")
    if (request.unit or parts.unit) == "edu" and parts.segmenter is None:
        raise InvalidRequest("this recipe or model knows no discourse units", param="unit")
    if any(b.kind == "recall" for b in budgets) and not parts.recall_levels:
        raise InvalidRequest("nobody has measured this recipe's recall: no such budget", param="budget.recall")
    if any(b.kind == "recall" for b in budgets) and not asked(request):
        raise InvalidRequest("recall is of what a query asks for: it needs one", param="budget.recall")
    if request.top_documents is not None and request.top_documents < 1:
        raise InvalidRequest("top_documents must be at least 1", param="top_documents")
    if request.top_documents is not None and not asked(request):
        raise InvalidRequest("top_documents needs a query", param="top_documents")


def whole(request: Request, total: int) -> str | None:
    """Why the input is returned as it is, or None: nothing to drop, so no model is asked."""
    if request.top_documents is not None and request.top_documents < len(request.documents):
        return None
    if request.order != "source" or any(d.budget for d in request.documents):
        return None
    kind, value = request.budget.kind, request.budget.value
    if kind in ("rate", "recall") and value >= 1:
        return f"{kind} is 1: the input is returned unchanged"
    if kind == "tokens" and request.scope == "global" and total <= value:
        return f"the input has {total} tokens, the budget {int(value)}: it is returned unchanged"
    return None


def as_is(request: Request, documents: Sequence[Counted], total: int, why: str) -> Result:
    out = [
        Compressed(
            id=p.document.id,
            text=p.document.text,
            spans=[Span(0, len(p.text))] if p.text else [],
            score=None,
            tokens_in=p.tokens_in,
            tokens_out=p.tokens_in,
            segments=0,
            cached=0,
        )
        for p in documents
    ]
    return Result(
        text=join(request.separator, (d.text for d in out)),
        documents=out,
        order=list(range(len(out))),
        tokens_in=total,
        tokens_out=total,
        segments=0,
        cached=0,
        warnings=[why],
    )
