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
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import anyio.to_thread
import httpx
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from laconic.compressors import TooLarge
from laconic.models import Cancelled, DeadlineExceeded, Work

from .admission import Overloaded
from .bodies import Bounds, few, has_more
from .edge import HEADERS
from .errors import describe, request_id
from .fronts import Chatted, ReadChat, chatting, read_chat
from .handle import left, noted
from .upstream import CONNECTION_BOUND, HOP, Upstream

if TYPE_CHECKING:
    from .app import State

log = logging.getLogger("laconic")
T = TypeVar("T")
CHARACTERS = 4  # of a token, where nobody has counted
PATIENCE = 10.0  # seconds: a chat that cannot be compressed within these goes on as it is
ANSWERED = HOP | {"alt-svc", "date", "server", "set-cookie", "strict-transport-security", "x-request-id"}  # not back
UNBUFFERED = (b"x-accel-buffering", b"no")  # proxies in the way must not wait for the end of a stream
DROPPED = {h.encode() for h in ANSWERED} | {name for name, _ in HEADERS}  # what every answer here has is not doubled


class Passed(Response):
    """Compresses, asks the upstream, and gives its answer on as it comes."""

    def __init__(self, request: Request, raw: bytes, upstream: Upstream) -> None:
        super().__init__()
        self.request, self.raw, self.upstream = request, raw, upstream
        self.state: State = request.app.state.laconic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = scope["state"]["key"]
        try:
            self.state.keys.allow(key)
            with self.upstream.room.taken(key.name):
                await self._pass(key.name, receive, send)
        except Overloaded:
            self.state.metrics.rejected.labels("overloaded").inc()
            raise

    async def _pass(self, key: str, receive: Receive, send: Send) -> None:
        work = Work(key=key, deadline=time.monotonic() + PATIENCE)
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
        try:
            found = await self.state.intake.parsed(parse, self.raw, work, gone)
        except DeadlineExceeded:
            found = None
        if found is None:
            self._charge(len(self.raw) / CHARACTERS)
            return self.raw, told(None, "false")  # what is wrong with it is for the upstream to say
        body, read = found
        try:
            done = await self._chat(read, work, gone)
            self._charge(done.before)
            if done.messages == body["messages"]:
                return self.raw, told(done, "false")
            word = "true" if done.after < done.before else "false"  # marks may be all that was taken out
            return await self._written(body, done.messages), told(done, word)
        except Cancelled:
            raise
        except Exception as e:  # described and passed by: a chat must not be lost to its compression
            _, detail = describe(e, request_id(self.request))
            log.warning("a chat goes on as it is: %s", detail.code)
        self._charge(read.characters / CHARACTERS)
        try:
            return await self._written(body, read.chat.messages), told(None, "failed")
        except (ValueError, RecursionError):  # what JSON cannot say
            return self.raw, told(None, "failed")

    def _charge(self, tokens: float) -> None:
        """Charge a chat to its key, whatever became of its compression; what was charged for that is a part of it."""
        facts = self.request.scope["state"]
        self.state.keys.spend(facts["key"], max(0.0, tokens - facts.get("usage", {}).get("tokens_in", 0)))

    async def _written(self, body: dict[str, Any], messages: list[Any]) -> bytes:
        return await anyio.to_thread.run_sync(written, body, messages, limiter=self.state.intake.writers)

    async def _chat(self, asked: ReadChat, work: Work, gone: asyncio.Future[None]) -> Chatted:
        facts, left = self.request.scope["state"], work.deadline - time.monotonic()
        made = chatting(self.state, asked, request_id(self.request), facts["key"], work, gone, left)
        call = replace(made, size=len(self.raw))
        return await noted(self.state, call, facts)


def parse(raw: bytes, bounds: Bounds) -> tuple[dict[str, Any], ReadChat] | None:
    """A request's body and its chat, or None for what is no chat, or too much of one."""
    try:
        if has_more(raw, bounds.values):
            return None
        body = json.loads(raw)
        few(body, bounds)
    except (ValueError, RecursionError, TooLarge):
        return None
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
        return None
    return body, read_chat(body["messages"])


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
    headers = [(k.lower(), v) for k, v in answer.headers.raw if k.lower() not in DROPPED and not bound(k, v)]
    headers += [(k.encode(), v.encode()) for k, v in told.items()]
    if ident := answer.headers.get("x-request-id"):
        headers.append((b"x-upstream-request-id", ident.encode()))
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        headers = [*(h for h in headers if h[0] != UNBUFFERED[0]), UNBUFFERED]
    await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
    try:
        async for chunk in answer.aiter_raw():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except httpx.HTTPError as e:
        log.warning("the upstream broke off: %s", type(e).__name__)
        return
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def bound(name: bytes, value: bytes) -> bool:
    """Whether a header asks for an identity that would be the connection's, which callers share."""
    return name.lower() == b"www-authenticate" and value.split(b" ")[0].decode("latin-1").lower() in CONNECTION_BOUND


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
