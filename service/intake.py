"""How a body comes in: its type and encoding, its bytes within limits and in time, parsed where it stalls nobody.

A small body is parsed where it arrives, which takes a millisecond or two at worst. The larger ones take turns, fairly
between keys, in a lane of their own: neither the event loop nor who computes or writes answers waits for them.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import anyio
from starlette.requests import ClientDisconnect, Request

from laconic.compressors import TooLarge
from laconic.models import Cancelled, Work, current

from .bodies import Bounds
from .errors import NotJson, Stalled, WrongType
from .settings import Settings
from .slots import Slots
from .threads import on_thread, seconds_left

T = TypeVar("T")
SMALL = 32 * 1024  # bytes
PIECE = 64 * 1024  # bytes handled at once
WRITERS = 4  # answers written side by side
JSON = re.compile(r"application/([\w.-]+\+)?json")
LINES = re.compile(r"application/(x-ndjson|ndjson|jsonl|x-jsonlines|jsonlines|([\w.-]+\+)?json)")


class Intake:
    """The lanes between the event loop and the compressor: one for large bodies, a few for answers. For one loop."""

    def __init__(self, settings: Settings) -> None:
        self.bounds = Bounds(documents=settings.max_documents, values=settings.max_values)
        self.most = settings.max_body_bytes
        self.writers = anyio.CapacityLimiter(WRITERS)
        self._turns, self._thread = Slots(1), anyio.CapacityLimiter(1)

    async def parsed(
        self,
        parse: Callable[[bytes, Bounds], T],
        raw: bytes,
        work: Work,
        gone: asyncio.Future[None],
        zipped: bool = False,
    ) -> T:
        """What `parse` makes of a body; raises what it raises, DeadlineExceeded and Cancelled."""
        if len(raw) <= SMALL and not zipped:
            return parse(raw, self.bounds)
        await self._turns.acquire(work, gone)
        over = partial(self._turns.release, work)
        return await on_thread(self._thread, work, gone, self._read, work, parse, raw, zipped, ended=over)

    def _read(self, work: Work, parse: Callable[[bytes, Bounds], T], raw: bytes, zipped: bool) -> T:
        current.set(work)
        return parse(unzipped(raw, self.most) if zipped else raw, self.bounds)


async def collected(request: Request, work: Work) -> bytes:
    """All of a body; raises Stalled where it is not here by the work's deadline, Cancelled where its sender left."""
    try:
        return await asyncio.wait_for(request.body(), seconds_left(work))
    except asyncio.TimeoutError:
        raise Stalled("the body did not arrive within the time a request may take") from None
    except ClientDisconnect:
        work.cancel()
        raise Cancelled from None


def expect(request: Request, taken: re.Pattern[str] = JSON, example: str = "application/json") -> None:
    """Raises WrongType for a body that is not said to be what the route takes."""
    said = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not taken.fullmatch(said):
        fault = "its content-type is another" if said else "it has no content-type"
        raise WrongType(f"the body must be sent as {example}, and {fault}")


def is_zipped(request: Request) -> bool:
    """Whether the body is gzip's; raises WrongType for any other encoding."""
    said = request.headers.get("content-encoding", "").strip().lower()
    if said not in ("", "identity", "gzip", "x-gzip"):
        raise WrongType("of content encodings gzip is taken, no other")
    return said.endswith("gzip")


class Unzip:
    """gzip's stream as it comes, in pieces that are small whatever is in it."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(zlib.MAX_WBITS | 16)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Raises NotJson for what is not gzip, or goes on after its end."""
        for at in range(0, len(chunk), PIECE):
            rest = chunk[at : at + PIECE]
            while rest:
                try:
                    piece = self._stream.decompress(rest, PIECE)
                except zlib.error:
                    raise NotJson("the body is not gzip, as its content-encoding says") from None
                if piece:
                    yield piece
                rest = self._stream.unconsumed_tail
                if self._stream.unused_data:
                    raise NotJson("the body goes on after the end of its gzip stream")

    def end(self) -> None:
        """Raises NotJson for a stream that was cut off."""
        if not self._stream.eof:
            raise NotJson("the body's gzip stream is cut off")


def unzipped(raw: bytes, most: int) -> bytes:
    """Raises TooLarge for more than `most` bytes, of which no more are held; and NotJson."""
    unzip, pieces, size = Unzip(), [], 0
    for piece in unzip.feed(raw):
        pieces.append(piece)
        size += len(piece)
        if size > most:
            raise TooLarge(f"the body may have {most} bytes")
    unzip.end()
    return b"".join(pieces)
