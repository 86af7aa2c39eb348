"""The routes: parse, admit, call, answer. No blocking work on the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from laconic.client.wire import CompressAnswer, ErrorAnswer
from laconic.client.wire_latents import EncodeAnswer, EncodeRequest, ExpandAnswer, ExpandRequest
from laconic.compressors import RECIPES, Compressor, UnknownName
from laconic.models import Card, Work

from . import pages  # noqa: F401  # its routes
from .access import may
from .batch import Batch
from .cache import Tiers
from .encode import encoding, expanded, package
from .errors import NotReady, request_id
from .fronts import (
    CHAT_BODY,
    AnyRequest,
    ChatAnswer,
    ChatConfig,
    ChatRequest,
    HookAnswer,
    HookRequest,
    as_chat,
    as_hook,
    chatting,
    hooked,
)
from .handle import A, Call, compressing, left, noted
from .messages import read
from .telemetry import server_timing

if TYPE_CHECKING:
    from .app import State

metrics = APIRouter()  # admin's, where the main port has them
CODES = (400, 401, 403, 404, 413, 422, 429, 500, 503, 504)
FAILURES: dict[int | str, dict[str, Any]] = {code: {"model": ErrorAnswer} for code in CODES}
ANYTHING: dict[str, Any] = {"application/json": {"schema": {}}, "text/event-stream": {"schema": {"type": "string"}}}
PASSED = {
    **FAILURES,
    200: {"description": "the upstream's own answer; its errors come as they are", "content": ANYTHING},
    502: {"model": ErrorAnswer},
}


@may.compress.post("/v1/compress", response_model=CompressAnswer | ChatAnswer, responses=FAILURES)
async def compress(body: AnyRequest, request: Request) -> Response:
    """Keep the parts of the documents that matter to the query, within the budget.

    A body with `messages` is a chat, as LiteLLM's `headroom` guardrail posts it: results of tools and long context of
    users are compressed, each on its own, and the same messages come back. The last user's message is the query.
    """
    if isinstance(body, ChatRequest):
        config = body.config or ChatConfig()
        chat = await asyncio.to_thread(read, body.messages, config.frozen_message_count or 0)
        return await answered(request, None, partial(chatting, state_of(request), chat, config.target_ratio), as_chat)
    return await answered(request, body.timeout_ms, partial(compressing, state_of(request), body), as_json)


@may.compress.post("/compress", response_model=HookAnswer, responses=FAILURES)
async def hook(body: HookRequest, request: Request) -> Response:
    """Compress one text, as Headroom asks a compressor that is not its own."""
    state = state_of(request)
    call = partial(compressing, state, hooked(body, state.settings.upstream_rate))
    return await answered(request, None, call, partial(as_hook, body))


@may.chat.post("/v1/chat/completions", responses=PASSED, openapi_extra=CHAT_BODY, response_class=Response)
async def chat_completions(request: Request) -> Response:
    """Pass a chat on to the upstream (`--upstream-url`), its context compressed; the answer comes back as it is.

    What stands in `<laconic rate="0.3">…</laconic>` is compressed and the tags are taken out; without any, old results
    of tools and long context of users. `x-laconic-*` headers tell what was saved. `GET /v1/models` is of this service.
    """
    raw = await request.body()
    if (upstream := state_of(request).upstream) is None:
        raise UnknownName("this service has no upstream: see --upstream-url", param="upstream_url")
    from .passthrough import Passed  # loaded where there is an upstream

    return Passed(request, raw, upstream)


@may.compress.post(
    "/v1/encode",
    responses={**FAILURES, 200: {"model": EncodeAnswer, "content": {"application/octet-stream": {}}}},
    response_class=Response,
)
async def encode(body: EncodeRequest, request: Request) -> Response:
    """Turn documents into latents: in a safetensors file, or in JSON for vLLM or as numbers."""
    return await answered(request, body.timeout_ms, partial(encoding, state_of(request), body), package)


@may.compress.post("/v1/expand", response_model=ExpandAnswer, responses=FAILURES)
async def expand(body: ExpandRequest, request: Request) -> ExpandAnswer:
    """The texts of segments that answers named, as long as they are kept for this key."""
    state, key = state_of(request), request.scope["state"]["key"]
    state.keys.allow(key)
    return await asyncio.to_thread(expanded, state.compressor, body, key.name)


def state_of(request: Request) -> State:
    found: State = request.app.state.laconic
    return found


async def answered(
    request: Request,
    timeout_ms: int | None,
    make: Callable[..., Call[A]],
    dump: Callable[[A], tuple[bytes | str, str]],
) -> Response:
    """Serve a call and write its answer, both off the event loop; a client that leaves takes its work along."""
    state, facts = state_of(request), request.scope["state"]
    began = {"parse": time.perf_counter() - facts["started"]}
    seconds = min(timeout_ms or state.settings.timeout_ms, state.settings.timeout_ms) / 1000
    work = Work(key=facts["key"].name, deadline=time.monotonic() + seconds)
    gone = asyncio.create_task(left(request.receive, work))
    try:
        call = make(request_id(request), facts["key"], work, gone, seconds)
        call.stages.update(began)
        found = await noted(state, call, facts)
    finally:
        gone.cancel()
    content, kind = await asyncio.to_thread(dump, found)
    return Response(content, media_type=kind, headers={"server-timing": server_timing(call.stages)})


def as_json(found: CompressAnswer) -> tuple[bytes | str, str]:
    return found.model_dump_json(exclude_none=True, by_alias=True), "application/json"


@metrics.get("/metrics", include_in_schema=False)
def scrape(request: Request) -> Response:
    """Prometheus text; needs the admin scope where there are keys."""
    return Response(generate_latest(request.app.state.laconic.metrics.registry), media_type=CONTENT_TYPE_LATEST)


@may.compress.post(
    "/v1/compress/batch",
    responses={**FAILURES, 200: {"content": {"application/x-ndjson": {}}, "description": "one BatchAnswer per line"}},
    openapi_extra={
        "requestBody": {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}, "required": True}
    },
    response_class=Response,
)
async def batch(request: Request) -> Response:
    """One request per line in, one answer per line out, in order, while lines are still coming in."""
    if refusal := request.app.state.laconic.refusal():
        raise NotReady(refusal)
    return Batch(request)


@may.admin.get("/v1/cache", responses={404: {"model": ErrorAnswer}})
async def cache(request: Request) -> dict[str, Any]:
    """What the cache holds and how often it had the answer; needs the admin scope where there are keys."""
    return store_of(request).stats()


@may.admin.delete("/v1/cache", responses={404: {"model": ErrorAnswer}})
async def flush(request: Request, key: str | None = None) -> dict[str, Any]:
    """Forget what was kept for one API key, by its name, or everything; counts by tier, null where Redis is away."""
    return {"removed": await store_of(request).flush(key)}


def store_of(request: Request) -> Tiers:
    store = request.app.state.laconic.compressor.store
    if not isinstance(store, Tiers):
        raise UnknownName("this service keeps no cache", param="cache_bytes")
    return store


@may.known.get("/v1/models")
def models(request: Request) -> dict[str, Any]:
    """Every model there is: its card, or what is wrong with it."""
    return {"models": model_rows(request.app.state.laconic.compressor)}


def model_rows(compressor: Compressor) -> list[dict[str, Any]]:
    rows = []
    for name, card in compressor.catalogue.cards().items():
        if isinstance(card, Card):
            row = {f: getattr(card, f) for f in ("kind", "revision", "summary", "licence")}
            rows.append({"name": name, **row, "profiles": sorted(card.files), "default": name == compressor.model_name})
        else:
            rows.append({"name": name, "error": str(card)})
    return rows


@may.known.get("/v1/recipes")
def recipes() -> dict[str, Any]:
    """The table of recipes."""
    fields = ("name", "summary", "source", "unit", "kind")
    return {"recipes": [{f: getattr(r, f) for f in fields} for r in RECIPES.values()]}


@may.public.get("/livez", responses={503: {"model": ErrorAnswer}})
async def livez(request: Request) -> dict[str, str]:
    """The process answers and its lanes are alive."""
    if trouble := request.app.state.laconic.trouble():
        raise NotReady(trouble)
    return {"status": "ok"}


@may.public.get("/readyz", responses={503: {"model": ErrorAnswer}})
async def readyz(request: Request) -> dict[str, str]:
    """The default model is open and has answered once, and new work should come here."""
    if reason := request.app.state.laconic.unready():
        raise NotReady(reason)
    return {"status": "ok"}


@may.public.get("/version")
async def version(request: Request) -> dict[str, str]:
    """The package's version."""
    return {"version": request.app.version}
