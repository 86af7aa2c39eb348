"""Between the wire's shapes and the pipeline's values; nothing else knows both."""

from __future__ import annotations

from dataclasses import asdict

from laconic.client.wire import (
    BudgetBody,
    CompressAnswer,
    CompressRequest,
    DocumentAnswer,
    DocumentBody,
    ModelAnswer,
    NodeAnswer,
    UsageAnswer,
)
from laconic.client.wire_latents import EncodeRequest
from laconic.compressors import (
    RECIPES,
    Budget,
    Compressed,
    Document,
    InvalidRequest,
    Keep,
    Request,
    Result,
    Span,
    segment_id,
    tree_of,
)
from laconic.models import Model

from .telemetry import coarse


def budget(body: BudgetBody) -> Budget:
    if body.rate is not None:
        return Budget(kind="rate", value=body.rate)
    if body.tokens is not None:
        return Budget(kind="tokens", value=body.tokens)
    if body.recall is not None:
        return Budget(kind="recall", value=body.recall)
    return Budget(kind="threshold", value=body.threshold or 0.0)


def usual(recipe: str) -> Budget:
    """The budget of a request that names none."""
    known = RECIPES.get(recipe)
    return Budget(kind="rate", value=known.rate if known else 0.5)


def beside(body: CompressRequest | EncodeRequest) -> int:
    """Characters that come with the texts and are read too: ids, titles, and what is to be kept."""
    found = sum(len(d.id or "") + len(d.title or "") for d in body.documents or [])
    if isinstance(body, CompressRequest):
        found += sum(map(len, (*body.keep.strings, *body.keep.patterns)))
    return found


def texts(body: CompressRequest | EncodeRequest) -> list[str]:
    return [d.text for d in body.documents] if body.documents is not None else [body.text or ""]


def documents(body: CompressRequest | EncodeRequest) -> list[Document]:
    """Raises InvalidRequest where two documents share an id."""
    if body.text is not None:
        return [Document(text=body.text)]
    found = [
        Document(
            id=d.id if d.id is not None else str(i),
            text=d.text,
            title=d.title,
            budget=budget(d.budget) if d.budget else None,
            compress=d.compress,
            metadata=d.metadata or {},
        )
        for i, d in enumerate(body.documents or [])
    ]
    if len({d.id for d in found}) != len(found):
        raise InvalidRequest("two documents have the same id", param="documents")
    return found


def request(body: CompressRequest) -> Request:
    """Raises InvalidRequest where two documents share an id."""
    return Request(
        documents=documents(body),
        budget=budget(body.budget) if "budget" in body.model_fields_set else usual(body.recipe),
        query=body.query,
        keep=Keep(**body.keep.model_dump()),
        unit=body.unit,
        scope=body.scope,
        order=body.order,
        top_documents=body.top_documents,
        on_over_budget=body.on_over_budget,
        separator=body.separator,
        duplicates=body.duplicates,
        marker=body.marker,
    )


def answer(
    body: CompressRequest, result: Result, ident: str, reader: str, model: Model | None, elapsed: float
) -> CompressAnswer:
    given = body.documents if body.documents is not None else [DocumentBody(text=body.text or "")]
    return CompressAnswer(
        id=ident,
        recipe=body.recipe,
        model=ModelAnswer(name=model.card.name, revision=model.card.revision, profile=model.profile) if model else None,
        reader=reader,
        text=result.text if "text" in body.returns else None,
        documents=[document(d, body, g, result) for d, g in zip(result.documents, given, strict=True)],
        usage=UsageAnswer(
            tokens_in=result.tokens_in,
            tokens_out=result.tokens_out,
            rate=round(result.tokens_out / result.tokens_in, 4) if result.tokens_in else 0.0,
            segments=result.segments,
            cache_hits=result.cached,
            compute_ms=coarse(elapsed / 1000),
        ),
        warnings=list(result.warnings),
    )


def document(d: Compressed, body: CompressRequest, given: DocumentBody, result: Result) -> DocumentAnswer:
    return DocumentAnswer(
        id=d.id,
        title=d.title if not given.title else None,
        text=d.text if "text" in body.returns else None,
        spans=[(s, e) for s, e in d.spans] if "spans" in body.returns else None,
        marks=[(m.at, m.text) for m in d.marks] if "spans" in body.returns and d.marks else None,
        repeats=[(*r.span, result.documents[r.of].id, *r.there) for r in d.repeats] or None,
        recipe=d.kind,
        scores=scores(d) if "scores" in body.returns else None,
        score=round(d.score, 4) if d.score is not None else None,
        tokens_in=d.tokens_in,
        tokens_out=d.tokens_out,
        cached=f"{d.cached}/{d.segments}",
        metadata=given.metadata,
        tree=nodes(d, given.text) if "tree" in body.returns else None,
        segments=segments(d, given.text) if "segments" in body.returns else None,
    )


def segments(d: Compressed, text: str) -> list[tuple[int, int, str]]:
    """Bounds and names of its segments; a document that was not cut is one."""
    bounds = d.bounds or ([Span(0, len(text))] if text.strip() else [])
    return [(a, b, segment_id(text[a:b])) for a, b in bounds]


def nodes(d: Compressed, text: str) -> list[NodeAnswer]:
    """The document's structure, and what of it was kept."""
    return [NodeAnswer(**asdict(n)) for n in tree_of(text, d)]


def scores(d: Compressed) -> list[tuple[int, int, float]]:
    """Start, end and keep probability of every unit."""
    if d.units is None or d.scores is None:
        return []
    return list(zip(d.units.starts.tolist(), d.units.ends.tolist(), d.scores.round(4).tolist(), strict=True))
