"""Pure ASGI middleware inside `Limits`: who is asking, what they may, how long it took, and a line in the log."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from laconic.compressors import LaconicError

from . import errors
from .access import Row, Table

if TYPE_CHECKING:
    from .app import State

log = logging.getLogger("laconic.access")
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
]
QUIET = ("/livez", "/readyz", "/metrics")  # probes: counted, and logged only when they fail


class Edge:
    """Lets in what a router declared and its key may do, before the body is read; measures every answer."""

    def __init__(self, app: ASGIApp, state: State, table: Table) -> None:
        self.app, self.state, self.table = app, state, table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # a WebSocket: no router declares one
            await send({"type": "websocket.close", "code": 1008})
            return
        start, status = time.perf_counter(), 0
        facts: dict[str, object] = scope["state"]
        facts["started"] = start
        row = self.table.find(scope["path"])
        head = scope["method"] == "HEAD"

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message.setdefault("headers", [])
                headers.extend(HEADERS)
                if self.state.draining:  # whoever keeps this connection finds another process with the next one
                    headers.append((b"connection", b"close"))
            elif head:
                message = {**message, "body": b""}
            await send(message)

        try:
            answer = self._answer(scope, row) or self.app
            # a copy, so that the server still knows what was asked: it leaves the body out itself
            await answer({**scope, "method": "GET"} if head else scope, receive, seen)
        finally:
            self._record(scope, row, status or 500, time.perf_counter() - start)

    def _answer(self, scope: Scope, row: Row | None) -> ASGIApp | None:
        """What is answered without the application: refusals, and which methods there are."""
        method, ident, headers = scope["method"], scope["state"]["request_id"], dict(scope["headers"])
        try:
            self.state.names.check(headers.get(b"host"))
        except LaconicError as e:
            return errors.of(e, ident)
        if row is None:
            return errors.of(HTTPException(404, "there is nothing here: see /docs"), ident)
        if (access := row.methods.get(method)) is None:
            allowed = {"allow": ", ".join(sorted({*row.methods, "OPTIONS"}))}
            if method == "OPTIONS":
                return Response(status_code=204, headers=allowed)
            return errors.of(HTTPException(405, f"{row.path} takes {allowed['allow']}", allowed), ident)
        if access == "public":
            return None
        header = headers.get(b"authorization", b"").decode("latin-1")
        try:
            scope["state"]["key"] = self.state.keys.check(header, None if access == "known" else access)
        except LaconicError as e:
            self.state.metrics.rejected.labels(e.code).inc()
            return errors.of(e, ident)
        return None

    def _record(self, scope: Scope, row: Row | None, status: int, seconds: float) -> None:
        route = row.path if row is not None else "other"
        self.state.metrics.requests.labels(route, str(status)).inc()
        self.state.metrics.duration.labels(route).observe(seconds)
        if route in QUIET and status < 400:
            return
        facts = scope["state"]
        key = facts.get("key")
        extra = {
            "request_id": facts["request_id"],
            "route": route,
            "status": status,
            "ms": round(seconds * 1000, 2),
            "key": key.name if key is not None else None,
            "trace_id": facts.get("trace_id"),
            **facts.get("usage", {}),
        }
        log.info("%s %s %d %.1f ms", scope["method"], route, status, seconds * 1000, extra=extra)
