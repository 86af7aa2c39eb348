"""`POST /v1/chat/completions`: a chat's context compressed, everything else passed on to the upstream and back.

Fails open: whatever goes wrong with the compression, the upstream gets the caller's own text. Its answer is passed on
byte for byte as it comes, errors and streams alike; a client that leaves ends the upstream's work too.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from laconic.compressors import LaconicError
from laconic.models import Cancelled, Work

from . import messages as chats
from .edge import HEADERS
from .errors import describe, request_id
from .fronts import Chatted, chatting
from .handle import left, noted
from .messages import Chat

if TYPE_CHECKING:
    from .app import State
    from .settings import Settings

log = logging.getLogger("laconic")
T = TypeVar("T")
PATIENCE = 10.0  # seconds: a chat that cannot be compressed within these goes on as it is
TIMEOUT = httpx.Timeout(600, connect=10, pool=10)  # language models take their time between two bytes
LIMITS = httpx.Limits(max_connections=1000, max_keepalive_connections=100)
HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
ASKED = HOP | {"content-length", "cookie", "expect", "host", "proxy-authorization", "x-request-id"}  # not passed on
ANSWERED = HOP | {"alt-svc", "date", "server", "set-cookie", "strict-transport-security", "x-request-id"}  # nor back
DROPPED = {h.encode() for h in ANSWERED} | {name for name, _ in HEADERS}  # what every answer here has is not doubled


class UpstreamAway(LaconicError):
    """The upstream cannot be reached, or broke off before it answered."""

    code, status = "upstream_unreachable", 502


class UpstreamLate(LaconicError):
    """The upstream did not answer in time."""

    code, status = "upstream_timeout", 504


class Upstream:
    """Who chats are passed on to, and in whose name: its own key's, or the caller's where that is not a key of ours."""

    def __init__(self, settings: Settings) -> None:
        self.url = f"{(settings.upstream_url or '').rstrip('/')}/chat/completions"
        file = settings.upstream_key_file
        self.key = file.read_text(encoding="utf-8").strip() if file else None
        self.hides = self.key is not None or settings.api_keys_file is not None
        self.client = httpx.AsyncClient(timeout=TIMEOUT, limits=LIMITS)

    def request(self, request: Request, body: bytes) -> httpx.Request:
        """The caller's request, with another body and without what is between the two of us."""
        named = {n.strip().lower() for n in request.headers.get("connection", "").split(",")}
        not_passed = {n.encode("latin-1") for n in ASKED | named | ({"authorization"} if self.hides else set())}
        headers = httpx.Headers([(k, v) for k, v in request.headers.raw if k not in not_passed])
        headers.setdefault("accept-encoding", "identity")  # what the caller can read, not what this client could
        headers["x-request-id"] = request_id(request)
        if self.key:
            headers["authorization"] = f"Bearer {self.key}"
        url = f"{self.url}?{request.url.query}" if request.url.query else self.url
        return self.client.build_request("POST", url, content=body, headers=headers)

    async def send(self, request: httpx.Request) -> httpx.Response:
        """The answer's head; raises UpstreamAway or UpstreamLate."""
        try:
            return await self.client.send(request, stream=True)
        except (httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ConnectError) as e:
            raise UpstreamAway(f"the upstream cannot be reached: {type(e).__name__}") from None
        except httpx.TimeoutException:
            raise UpstreamLate(f"the upstream has not answered within {TIMEOUT.read:g} s") from None
        except httpx.HTTPError as e:
            raise UpstreamAway(f"the upstream broke off: {type(e).__name__}") from None


class Passed(Response):
    """Compresses, asks the upstream, and gives its answer on as it comes."""

    def __init__(self, request: Request, raw: bytes, upstream: Upstream) -> None:
        super().__init__()
        self.request, self.raw, self.upstream = request, raw, upstream
        self.state: State = request.app.state.laconic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        work = Work(key=scope["state"]["key"].name, deadline=time.monotonic() + PATIENCE)
        gone = asyncio.create_task(left(receive, work))
        try:
            body, told = await self._compressed(work, gone)
            answer = await unless(gone, self.upstream.send(self.upstream.request(self.request, body)))
            try:
                await unless(gone, relay(answer, told, send))
            except Cancelled:
                pass  # nobody is there to be told
            finally:
                await answer.aclose()
        finally:
            gone.cancel()

    async def _compressed(self, work: Work, gone: asyncio.Future[None]) -> tuple[bytes, dict[str, str]]:
        """What to send, and the headers that tell what became of it; raises Cancelled."""
        found = await asyncio.to_thread(parse, self.raw)
        if found is None:
            return self.raw, told(None, "false")  # what is wrong with it is for the upstream to say
        body, chat = found
        try:
            done = await self._chat(chat, work, gone)
            if done.messages == body["messages"]:
                return self.raw, told(done, "false")
            word = "true" if done.after < done.before else "false"  # marks may be all that was taken out
            return await asyncio.to_thread(written, body, done.messages), told(done, word)
        except Cancelled:
            raise
        except Exception as e:  # described and passed by: a chat must not be lost to its compression
            _, detail = describe(e, request_id(self.request))
            log.warning("a chat goes on as it is: %s", detail.code)
        try:
            return await asyncio.to_thread(written, body, chat.messages), told(None, "failed")
        except (ValueError, RecursionError):  # what JSON cannot say
            return self.raw, told(None, "failed")

    async def _chat(self, chat: Chat, work: Work, gone: asyncio.Future[None]) -> Chatted:
        facts = self.request.scope["state"]
        call = chatting(self.state, chat, None, request_id(self.request), facts["key"], work, gone, PATIENCE)
        return await noted(self.state, call, facts)


def parse(raw: bytes) -> tuple[dict[str, Any], Chat] | None:
    """A request's body and its chat, or None for what is no chat."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
        return None
    return body, chats.read(body["messages"])


def written(body: dict[str, Any], messages: list[Any]) -> bytes:
    """The body with other messages; raises ValueError for numbers that JSON cannot say."""
    return json.dumps({**body, "messages": messages}, allow_nan=False).encode()


def told(done: Chatted | None, compressed: str) -> dict[str, str]:
    """The headers of an answer."""
    out = {"x-laconic-compressed": compressed}
    if done:
        out["x-laconic-tokens-before"], out["x-laconic-tokens-after"] = str(done.before), str(done.after)
        out["x-laconic-saved"] = str(done.before - done.after)
    return out


async def relay(answer: httpx.Response, told: dict[str, str], send: Send) -> None:
    """The upstream's status, headers and bytes. One that breaks off is not ended: the client must see it broken."""
    headers = [(k.lower(), v) for k, v in answer.headers.raw if k.lower() not in DROPPED]
    headers += [(k.encode(), v.encode()) for k, v in told.items()]
    if ident := answer.headers.get("x-request-id"):
        headers.append((b"x-upstream-request-id", ident.encode()))
    await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
    try:
        async for chunk in answer.aiter_raw():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except httpx.HTTPError as e:
        log.warning("the upstream broke off: %s", type(e).__name__)
        return
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def unless(gone: asyncio.Future[None], wanted: Coroutine[Any, Any, T]) -> T:
    """What comes of `wanted`; once `gone` is done it is ended, and Cancelled raised."""
    task = asyncio.ensure_future(wanted)
    either: set[asyncio.Future[Any]] = {task, gone}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    if task.cancelled():
        raise Cancelled
    return task.result()
