"""Pure ASGI middleware inside `Limits`: who is asking, how long it took, and a line in the log for it."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from laconic.compressors import LaconicError

from . import errors

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
    """Checks the key before the body is read; measures every answer."""

    def __init__(self, app: ASGIApp, state: State) -> None:
        self.app, self.state = app, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0
        facts: dict[str, object] = scope["state"]
        facts["started"] = start

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message.setdefault("headers", [])
                headers.extend(HEADERS)
                if self.state.draining:  # whoever keeps this connection finds another process with the next one
                    headers.append((b"connection", b"close"))
            await send(message)

        try:
            refused = self._refuse(scope)
            await (refused or self.app)(scope, receive, seen)
        finally:
            self._record(scope, status or 500, time.perf_counter() - start)

    def _refuse(self, scope: Scope) -> ASGIApp | None:
        path = scope["path"]
        if not path.startswith("/v1/") and path not in ("/metrics", "/compress"):
            return None
        admin = path in ("/metrics", "/v1/cache")
        header = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
        try:
            scope["state"]["key"] = self.state.keys.check(header, "admin" if admin else "compress")
        except LaconicError as e:
            self.state.metrics.rejected.labels(e.code).inc()
            return errors.of(e, scope["state"]["request_id"])
        return None

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
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
