"""The routes: parse, admit, call, answer. No blocking work on the event loop."""

from __future__ import annotations

import time
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from laconic.client.wire import CompressAnswer, CompressRequest, ErrorAnswer
from laconic.compressors import RECIPES, Compressor
from laconic.models import Card

from . import convert
from .errors import NotReady, TooLarge, request_id

router = APIRouter()
FAILURES: dict[int | str, dict[str, Any]] = {code: {"model": ErrorAnswer} for code in (400, 404, 413, 422, 500, 503)}


@router.post("/v1/compress", response_model_exclude_none=True, responses=FAILURES)
async def compress(body: CompressRequest, request: Request) -> CompressAnswer:
    """Keep the parts of the documents that matter to the query, within the budget."""
    state = request.app.state.laconic
    documents = body.documents or []
    if len(documents) > state.settings.max_documents:
        raise TooLarge(f"a request may have {state.settings.max_documents} documents", param="documents")
    characters = len(body.text or "") + sum(len(d.text) for d in documents)
    if characters > state.settings.max_characters:
        raise TooLarge(f"documents may have {state.settings.max_characters} characters in all", param="documents")
    if not state.ready and body.recipe in RECIPES and RECIPES[body.recipe].needs_model:
        raise NotReady(state.failure or "the model is still loading")
    ident = request_id(request)
    return await anyio.to_thread.run_sync(answer, state.compressor, body, ident, limiter=state.slots)


def answer(compressor: Compressor, body: CompressRequest, ident: str) -> CompressAnswer:
    """The blocking part, on a thread: the pipeline, and its result in the wire's shape."""
    start = time.perf_counter()
    pipeline = compressor.pipeline(body.recipe, body.model, body.reader)
    result = pipeline(convert.request(body))
    model = compressor.model(body.model) if RECIPES[body.recipe].needs_model else None
    elapsed = (time.perf_counter() - start) * 1000
    return convert.answer(body, result, ident, pipeline.reader.name, model, elapsed)


@router.get("/v1/models")
def models(request: Request) -> dict[str, Any]:
    """Every model there is: its card, or what is wrong with it."""
    compressor: Compressor = request.app.state.laconic.compressor
    rows = []
    for name, card in compressor.catalogue.cards().items():
        if isinstance(card, Card):
            row = {"name": name, "revision": card.revision, "summary": card.summary, "licence": card.licence}
            rows.append({**row, "profiles": sorted(card.files), "default": name == compressor.model_name})
        else:
            rows.append({"name": name, "error": str(card)})
    return {"models": rows}


@router.get("/v1/recipes")
def recipes() -> dict[str, Any]:
    """The table of recipes."""
    fields = ("name", "summary", "source", "unit", "needs_model")
    return {"recipes": [{f: getattr(r, f) for f in fields} for r in RECIPES.values()]}


@router.get("/livez")
async def livez() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"model": ErrorAnswer}})
async def readyz(request: Request) -> dict[str, str]:
    """The default model is open and has answered once."""
    state = request.app.state.laconic
    if not state.ready:
        raise NotReady(state.failure or "the model is still loading")
    return {"status": "ok"}


@router.get("/version")
async def version(request: Request) -> dict[str, str]:
    """The package's version."""
    return {"version": request.app.version}


@router.get("/", include_in_schema=False)
async def root() -> JSONResponse:
    return JSONResponse({"service": "laconic", "docs": "/docs", "compress": "/v1/compress"})
