"""Pure ASGI middleware outside all others: what a request is for, however its request line says it."""

from __future__ import annotations

import re

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_ABSOLUTE = re.compile(r"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)


class Target:
    """Leaves the application a plain path: without the host that a proxy's request line has, and without `root`.

    `root` is the prefix a proxy shows the service under. It is taken off where the proxy has not done so; requests
    without it, as probes of a pod make them, are answered too.
    """

    def __init__(self, app: ASGIApp, root: str) -> None:
        self.app, self.root = app, root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if found := _ABSOLUTE.fullmatch(scope["path"]):  # RFC 9112, 3.2.2: its host counts, not the header
            scope["path"] = found[2] or "/"
            others = [(k, v) for k, v in scope["headers"] if k != b"host"]
            scope["headers"] = [*others, (b"host", found[1].encode("latin-1", "replace"))]
        if self.root and scope["path"] == self.root:  # the page's own links are relative
            await RedirectResponse(f"{self.root}/")(scope, receive, send)
            return
        if self.root and scope["path"].startswith(f"{self.root}/"):
            scope["path"] = scope["path"][len(self.root) :]
        await self.app(scope, receive, send)
