"""`POST /v1/compress/batch`: newline-delimited JSON both ways, in order, with back-pressure in both directions.

At most a window of lines is in memory. While it is full nothing is read, so the sender's socket fills; a line leaves it
when its answer has been taken by the client's socket.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from laconic.client.wire import BatchAnswer, CompressAnswer, CompressRequest
from laconic.compressors import TooLarge
from laconic.models import Cancelled, Work

from .admission import Overloaded
from .errors import describe, request_id
from .handle import compressing, serve

if TYPE_CHECKING:
    from .app import State


class Batch(Response):
    """Reads the request's lines as it sends the answers'."""

    def __init__(self, request: Request) -> None:
        super().__init__(media_type="application/x-ndjson")
        del self.headers["content-length"]  # nobody knows it yet
        self.state: State = request.app.state.laconic
        self.key = request.scope["state"]["key"]
        self.ident = request_id(request)
        self.window = max(2, self.state.settings.concurrency // 2)
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.works: set[Work] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        room = asyncio.Semaphore(self.window)
        order: asyncio.Queue[asyncio.Task[BatchAnswer] | None] = asyncio.Queue()
        reader = asyncio.create_task(self._read(receive, room, order))
        try:
            while (task := await order.get()) is not None:
                line = (await task).model_dump_json(exclude_none=True, by_alias=True)
                await send({"type": "http.response.body", "body": line.encode() + b"\n", "more_body": True})
                room.release()
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except Cancelled:
            pass  # nobody is there to be told
        finally:
            self._leave()
            reader.cancel()

    async def _read(
        self, receive: Receive, room: asyncio.Semaphore, order: asyncio.Queue[asyncio.Task[BatchAnswer] | None]
    ) -> None:
        number = 0
        async for line in self._lines(receive):
            await room.acquire()
            order.put_nowait(asyncio.create_task(self._one(number, line)))
            number += 1
        order.put_nowait(None)
        while (await receive())["type"] != "http.disconnect":
            pass
        self._leave()

    async def _lines(self, receive: Receive) -> AsyncIterator[bytes | None]:
        """Lines that are not blank; None for one that is longer than a body may be."""
        most, held, skipping, more = self.state.settings.max_body_bytes, b"", False, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self._leave()
                return
            more = message.get("more_body", False)
            *whole, held = (held + message.get("body", b"")).split(b"\n")
            if not more:
                whole, held = [*whole, held], b""
            for line in whole:
                if skipping or line.strip():
                    yield None if skipping or len(line) > most else line
                skipping = False
            if len(held) > most:
                skipping, held = True, b""

    async def _one(self, number: int, line: bytes | None) -> BatchAnswer:
        ident = f"{self.ident}-{number}"
        work = Work(key=self.key.name)
        self.works.add(work)
        if self.gone.done():
            work.cancel()
        try:
            if line is None:
                raise TooLarge(f"a line may have {self.state.settings.max_body_bytes} bytes")
            body = await asyncio.to_thread(CompressRequest.model_validate_json, line)
            if body.timeout_ms is not None:
                work.deadline = time.monotonic() + body.timeout_ms / 1000
            return BatchAnswer(index=number, status=200, answer=await self._serve(body, ident, work))
        except Cancelled:
            raise
        except Exception as e:  # described, whatever it is: a line must not lose its batch
            status, detail = describe(e, ident)
            return BatchAnswer(index=number, status=status, error=detail)
        finally:
            self.works.discard(work)

    async def _serve(self, body: CompressRequest, ident: str, work: Work) -> CompressAnswer:
        call = compressing(self.state, body, ident, self.key, work, self.gone, math.inf)
        while True:  # a batch is not in a hurry: it waits where a single request would be told to come back
            try:
                return await serve(self.state, call)
            except Overloaded as e:
                await asyncio.wait({self.gone}, timeout=e.retry_after)
                work.check()

    def _leave(self) -> None:
        if not self.gone.done():
            self.gone.set_result(None)
        for work in list(self.works):
            work.cancel()
