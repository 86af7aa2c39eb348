"""The routes: parse, admit, call, answer. No blocking work on the event loop."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from laconic.client.wire import CompressAnswer, CompressRequest, ErrorAnswer
from laconic.client.wire_latents import EncodeAnswer, EncodeRequest, ExpandAnswer
from laconic.compressors import RECIPES, Compressor, UnknownName
from laconic.models import Card

from . import pages  # noqa: F401  # its routes
from .access import may
from .batch import Batch
from .bodies import ENCODE, EXPAND, encode_body, expand_body
from .cache import Tiers
from .documented import body as documented
from .encode import Encoded, encoding, expanded, package
from .errors import NotReady
from .exchange import Plan, answered, begun, state_of, taken
from .fronts import (
    ANY,
    CHAT_BODY,
    HOOK,
    ChatAnswer,
    HookAnswer,
    HookRequest,
    ReadChat,
    any_body,
    as_chat,
    as_hook,
    chatting,
    hook_body,
    hooked,
)
from .handle import compressing
from .intake import LINES, collected, expect
from .plain import names_only

metrics = APIRouter()  # admin's, where the main port has them
CODES = (400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 503, 504)
FAILURES: dict[int | str, dict[str, Any]] = {code: {"model": ErrorAnswer} for code in CODES}
ANYTHING: dict[str, Any] = {"application/json": {"schema": {}}, "text/event-stream": {"schema": {"type": "string"}}}
PASSED = {
    **FAILURES,
    200: {"description": "the upstream's own answer; its errors come as they are", "content": ANYTHING},
    502: {"model": ErrorAnswer},
}


@may.compress.post(
    "/v1/compress", response_model=CompressAnswer | ChatAnswer, responses=FAILURES, openapi_extra=documented(ANY)
)
async def compress(request: Request) -> Response:
    """Keep the parts of the documents that matter to the query, within the budget.

    A body with `messages` is a chat, as LiteLLM's `headroom` guardrail posts it: results of tools and long context of
    users are compressed, each on its own, and the same messages come back. The last user's message is the query.
    """
    state = state_of(request)

    def plan(body: CompressRequest | ReadChat) -> Plan[Any]:
        if isinstance(body, ReadChat):
            return Plan(make=partial(chatting, state, body), dump=as_chat)
        return Plan(make=partial(compressing, state, body), dump=as_json, timeout_ms=body.timeout_ms)

    return await answered(request, any_body, plan)


@may.compress.post("/compress", response_model=HookAnswer, responses=FAILURES, openapi_extra=documented(HOOK))
async def hook(request: Request) -> Response:
    """Compress one text, as Headroom asks a compressor that is not its own."""
    state = state_of(request)

    def plan(body: HookRequest) -> Plan[CompressAnswer]:
        call = partial(compressing, state, hooked(body, state.settings.upstream_rate))
        return Plan(make=call, dump=partial(as_hook, body))

    return await answered(request, hook_body, plan)


@may.chat.post("/v1/chat/completions", responses=PASSED, openapi_extra=CHAT_BODY, response_class=Response)
async def chat_completions(request: Request) -> Response:
    """Pass a chat on to the upstream (`--upstream-url`), its context compressed; the answer comes back as it is.

    What stands in `<laconic rate="0.3">…</laconic>` is compressed and the tags are taken out; without any, old results
    of tools and long context of users. `x-laconic-*` headers tell what was saved. `GET /v1/models` is of this service.
    """
    if (upstream := state_of(request).upstream) is None:
        raise UnknownName("this service has no upstream: see --upstream-url", param="upstream_url")
    from .passthrough import Passed  # loaded where there is an upstream

    expect(request)
    return Passed(request, await collected(request, begun(request)), upstream)


@may.compress.post(
    "/v1/encode",
    responses={**FAILURES, 200: {"model": EncodeAnswer, "content": {"application/octet-stream": {}}}},
    openapi_extra=documented(ENCODE),
    response_class=Response,
)
async def encode(request: Request) -> Response:
    """Turn documents into latents: in a safetensors file, or in JSON for vLLM or as numbers."""
    state = state_of(request)

    def plan(body: EncodeRequest) -> Plan[Encoded]:
        return Plan(make=partial(encoding, state, body), dump=package, timeout_ms=body.timeout_ms)

    return await answered(request, encode_body, plan)


@may.compress.post("/v1/expand", response_model=ExpandAnswer, responses=FAILURES, openapi_extra=documented(EXPAND))
async def expand(request: Request) -> ExpandAnswer:
    """The texts of segments that answers named, as long as they are kept for this key."""
    state, key, work = state_of(request), request.scope["state"]["key"], begun(request)
    state.keys.allow(key)
    body, _, gone = await taken(request, expand_body, work)
    gone.cancel()
    found = partial(expanded, state.compressor, body, key.name)
    return await anyio.to_thread.run_sync(found, limiter=state.intake.writers)


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
    expect(request, LINES, "application/x-ndjson")
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
    """Every model there is: its card, or what is wrong with it. `object` and `data` are for OpenAI's clients."""
    rows = model_rows(request.app.state.laconic.compressor)
    whole = [row["name"] for row in rows if "error" not in row]
    data = [{"id": name, "object": "model", "created": 0, "owned_by": "laconic"} for name in whole]
    return {"models": rows, "object": "list", "data": data}


def model_rows(compressor: Compressor) -> list[dict[str, Any]]:
    rows = []
    for name, card in compressor.catalogue.cards().items():
        if isinstance(card, Card):
            row = {f: getattr(card, f) for f in ("kind", "revision", "summary", "licence")}
            rows.append({"name": name, **row, "profiles": sorted(card.files), "default": name == compressor.model_name})
        else:
            rows.append({"name": name, "error": names_only(str(card))})
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
