"""`POST /v1/compress/batch`: newline-delimited JSON both ways, in order, with back-pressure in both directions.

At most a window of lines is in memory, and one message read ahead: so a client that leaves while the window is full is
noticed. Beyond that nothing is read and the sender's socket fills; a line leaves the window when its answer has been
taken by the client's socket.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from laconic.client.wire import BatchAnswer, CompressAnswer, CompressRequest
from laconic.compressors import LaconicError, TooLarge
from laconic.models import Cancelled, Work

from .admission import Overloaded
from .bodies import compress_body
from .errors import NotJson, describe, request_id
from .handle import compressing, serve
from .intake import Unzip, is_zipped

if TYPE_CHECKING:
    from .app import State


class Batch(Response):
    """Reads the request's lines as it sends the answers'."""

    def __init__(self, request: Request) -> None:
        # proxies in the way must not wait for the end
        super().__init__(media_type="application/x-ndjson", headers={"x-accel-buffering": "no"})
        del self.headers["content-length"]  # nobody knows it yet
        self.state: State = request.app.state.laconic
        self.key = request.scope["state"]["key"]
        self.ident = request_id(request)
        self.window = max(2, self.state.settings.concurrency // 2)
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.works: set[Work] = set()
        self.unzip = Unzip() if is_zipped(request) else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        room = asyncio.Semaphore(self.window)
        order: asyncio.Queue[asyncio.Task[BatchAnswer] | None] = asyncio.Queue()
        ahead: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        reader = asyncio.create_task(self._read(ahead, room, order))
        listener = asyncio.create_task(self._listen(receive, ahead))
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
            listener.cancel()

    async def _listen(self, receive: Receive, ahead: asyncio.Queue[bytes | None]) -> None:
        """Put what comes into `ahead`, None at the end, and go on listening: next may be that the client left."""
        more = True
        while (message := await receive())["type"] != "http.disconnect":
            if more:
                await ahead.put(message.get("body", b""))
                if not (more := message.get("more_body", False)):
                    await ahead.put(None)
        self._leave()
        if more:
            if ahead.full():
                ahead.get_nowait()
            ahead.put_nowait(None)

    async def _read(
        self,
        ahead: asyncio.Queue[bytes | None],
        room: asyncio.Semaphore,
        order: asyncio.Queue[asyncio.Task[BatchAnswer] | None],
    ) -> None:
        """Begin a line whenever there is room for it."""
        number = 0
        async for line in self._lines(ahead):
            await room.acquire()
            order.put_nowait(asyncio.create_task(self._one(number, line)))
            number += 1
        order.put_nowait(None)

    async def _lines(self, ahead: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes | LaconicError]:
        """Lines that are not blank, or what is wrong with one: it is too long, or no more can be read."""
        lines = Lines(self.state.settings.max_body_bytes)
        try:
            while (chunk := await ahead.get()) is not None:
                for piece in self.unzip.feed(chunk) if self.unzip else (chunk,):
                    for line in lines.feed(piece):
                        yield line
                    await asyncio.sleep(0)
            if self.unzip:
                self.unzip.end()
        except NotJson as e:
            yield e
            return
        for line in lines.rest():
            yield line

    async def _one(self, number: int, line: bytes | LaconicError) -> BatchAnswer:
        ident = f"{self.ident}-{number}"
        work = Work(key=self.key.name)
        self.works.add(work)
        if self.gone.done():
            work.cancel()
        try:
            if isinstance(line, LaconicError):
                raise line
            begun = time.monotonic()
            body = await self.state.intake.parsed(compress_body, line, work, self.gone)
            if body.timeout_ms is not None:
                work.deadline = begun + body.timeout_ms / 1000
            return BatchAnswer(index=number, status=200, answer=await self._serve(body, len(line), ident, work))
        except Cancelled:
            raise
        except Exception as e:  # described, whatever it is: a line must not lose its batch
            status, detail = describe(e, ident)
            return BatchAnswer(index=number, status=status, error=detail)
        finally:
            self.works.discard(work)

    async def _serve(self, body: CompressRequest, size: int, ident: str, work: Work) -> CompressAnswer:
        call = replace(compressing(self.state, body, ident, self.key, work, self.gone, math.inf), size=size)
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


class Lines:
    """Cuts what comes, in pieces of whatever size, into lines; each byte is looked at once."""

    def __init__(self, most: int) -> None:
        self.most, self.held, self.skipping = most, bytearray(), False

    def feed(self, chunk: bytes) -> Iterator[bytes | LaconicError]:
        """The lines that end in the chunk."""
        *ends, last = chunk.split(b"\n")
        for part in ends:
            self._hold(part)
            yield from self.rest()
        self._hold(last)

    def rest(self) -> Iterator[bytes | LaconicError]:
        """What has come of the line that ends now, if it is not blank."""
        line, skipping = bytes(self.held), self.skipping
        self.held, self.skipping = bytearray(), False
        if skipping:
            yield TooLarge(f"a line may have {self.most} bytes")
        elif line and not line.isspace():
            yield line

    def _hold(self, part: bytes) -> None:
        if not self.skipping:
            self.held += part
            if len(self.held) > self.most:
                self.held, self.skipping = bytearray(), True
