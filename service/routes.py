"""The routes: parse, admit, call, answer. No blocking work on the event loop."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from laconic.client.wire import CompressAnswer, CompressRequest, ErrorAnswer
from laconic.compressors import RECIPES, Compressor
from laconic.models import Cancelled, Card, DeadlineExceeded, Work, current

from . import convert
from .admission import PER_DOCUMENT, Overloaded
from .errors import NotReady, TooLarge, request_id
from .telemetry import server_timing

if TYPE_CHECKING:
    from .app import State

router = APIRouter()
metrics = APIRouter()
CODES = (400, 401, 403, 404, 413, 422, 429, 500, 503, 504)
FAILURES: dict[int | str, dict[str, Any]] = {code: {"model": ErrorAnswer} for code in CODES}


@router.post("/v1/compress", response_model_exclude_none=True, responses=FAILURES)
async def compress(body: CompressRequest, request: Request, response: Response) -> CompressAnswer:
    """Keep the parts of the documents that matter to the query, within the budget."""
    state: State = request.app.state.laconic
    settings, facts = state.settings, request.scope["state"]
    documents = body.documents or []
    if len(documents) > settings.max_documents:
        raise TooLarge(f"a request may have {settings.max_documents} documents", param="documents")
    characters = len(body.text or "") + sum(len(d.text) for d in documents)
    if characters > settings.max_characters:
        raise TooLarge(f"documents may have {settings.max_characters} characters in all", param="documents")
    needs_model = body.recipe in RECIPES and RECIPES[body.recipe].needs_model
    if (refusal := state.refusal()) and (needs_model or state.draining):
        raise NotReady(refusal)
    seconds = min(body.timeout_ms or settings.timeout_ms, settings.timeout_ms) / 1000
    work = Work(key=facts["key"].name, deadline=time.monotonic() + seconds)
    stages = {"parse": time.perf_counter() - facts["started"]}
    try:
        state.keys.allow(facts["key"])
        with state.admission.admit(characters + PER_DOCUMENT * len(documents), seconds):
            found = await attend(state, body, request, work, stages)
    except Overloaded:
        state.metrics.rejected.labels("overloaded").inc()
        raise
    except (Cancelled, DeadlineExceeded) as e:
        state.metrics.cancelled.labels("client" if isinstance(e, Cancelled) else "deadline").inc()
        raise
    state.keys.spend(facts["key"], found.usage.tokens_in)
    facts["usage"] = {f: getattr(found.usage, f) for f in ("tokens_in", "tokens_out", "segments")}
    count(state, found, stages)
    response.headers["server-timing"] = server_timing(stages)
    return found


async def attend(
    state: State, body: CompressRequest, request: Request, work: Work, stages: dict[str, float]
) -> CompressAnswer:
    """Wait for a slot, run on a thread, and give up as soon as the client has."""
    start = time.perf_counter()
    gone = asyncio.create_task(leaving(request, work))
    try:
        await state.slots.acquire(work, gone)
        try:
            waited = time.perf_counter() - start
            found = await anyio.to_thread.run_sync(
                answer, state.compressor, body, request_id(request), work, limiter=state.threads
            )
        finally:
            state.slots.release(work)
    finally:
        gone.cancel()
    total = time.perf_counter() - start
    stages["queue"] = waited + work.queued
    stages["infer"] = work.lane - work.queued
    stages["assemble"] = total - waited - work.lane
    return found


async def leaving(request: Request, work: Work) -> None:
    """Return when the client has closed its connection, and cancel its work."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    work.cancel()


def answer(compressor: Compressor, body: CompressRequest, ident: str, work: Work) -> CompressAnswer:
    """The blocking part, on a thread: the pipeline, and its result in the wire's shape."""
    current.set(work)
    work.check()
    start = time.perf_counter()
    pipeline = compressor.pipeline(body.recipe, body.model, body.reader)
    result = pipeline(convert.request(body))
    model = compressor.model(body.model) if RECIPES[body.recipe].needs_model else None
    elapsed = (time.perf_counter() - start) * 1000
    return convert.answer(body, result, ident, pipeline.reader.name, model, elapsed)


def count(state: State, found: CompressAnswer, stages: dict[str, float]) -> None:
    m, usage = state.metrics, found.usage
    for stage, seconds in stages.items():
        m.stages.labels(stage).observe(seconds)
    m.tokens_in.inc(usage.tokens_in)
    m.tokens_out.inc(usage.tokens_out)
    m.saved.inc(max(0, usage.tokens_in - usage.tokens_out))
    if usage.tokens_out:
        m.ratio.observe(usage.tokens_in / usage.tokens_out)


@metrics.get("/metrics", include_in_schema=False)
def scrape(request: Request) -> Response:
    """Prometheus text; needs the admin scope where there are keys."""
    return Response(generate_latest(request.app.state.laconic.metrics.registry), media_type=CONTENT_TYPE_LATEST)


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


@router.get("/livez", responses={503: {"model": ErrorAnswer}})
async def livez(request: Request) -> dict[str, str]:
    """The process answers and its lanes are alive."""
    if trouble := request.app.state.laconic.trouble():
        raise NotReady(trouble)
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"model": ErrorAnswer}})
async def readyz(request: Request) -> dict[str, str]:
    """The default model is open and has answered once, and new work is taken."""
    if refusal := request.app.state.laconic.refusal():
        raise NotReady(refusal)
    return {"status": "ok"}


@router.get("/version")
async def version(request: Request) -> dict[str, str]:
    """The package's version."""
    return {"version": request.app.version}


@router.get("/", include_in_schema=False)
async def root() -> JSONResponse:
    return JSONResponse({"service": "laconic", "docs": "/docs", "compress": "/v1/compress"})
