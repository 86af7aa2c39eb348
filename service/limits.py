"""Pure ASGI middleware: a request id for everything, and bodies cut off at the limit before they are read."""

from __future__ import annotations

import re
import uuid

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from laconic.compressors import TooLarge

from .errors import of

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Limits:
    """Sets `state.request_id` (the caller's `x-request-id` if it is a plain one) and enforces the body limit.

    `streamed` paths are left alone: they bound what they hold themselves.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int, streamed: tuple[str, ...] = ()) -> None:
        self.app, self.most, self.streamed = app, max_body_bytes, streamed
        self.refusal = f"the body may have {max_body_bytes} bytes"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        ident = given if _ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = ident
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.most:
                raise HTTPException(413, self.refusal)  # passes through FastAPI's body parsing as it is
            return message

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", []).append((b"x-request-id", ident.encode()))
            await send(message)

        length = headers.get(b"content-length", b"0")
        if scope["path"] in self.streamed:
            await self.app(scope, receive, named)
        elif length.isdigit() and int(length) > self.most:
            await of(TooLarge(self.refusal), ident)(scope, receive, named)
        else:
            await self.app(scope, counted, named)
