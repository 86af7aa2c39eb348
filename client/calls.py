"""What a caller can ask for, with and without an event loop: the same scripts of `core`, played by either.

What brings threads and event loops is imported where it is used: it takes longer than all the rest.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from typing_extensions import Unpack

from .bodies import EncodeOptions, Given, Options
from .core import Core, Health, Lost, Pause, Reply, Script, Send
from .errors import LaconicError
from .pages import Pager, Row
from .wire import BatchAnswer, CompressAnswer, CompressRequest

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future

    from .latents import Latents

T = TypeVar("T")
Line: TypeAlias = CompressRequest | Mapping[str, Any]
PAGES = 2  # of a batch, on the way at a time


class Calls:
    """Every call raises LaconicError; `timeout` and `fail_open` take the place of the client's own for one call."""

    core: Core

    def compress(
        self,
        documents: Given | None = None,
        query: str | None = None,
        *,
        timeout: float | None = None,
        fail_open: bool | None = None,
        **options: Unpack[Options],
    ) -> CompressAnswer:
        """Keep the parts of the documents (or of one `text`) that matter to the query, within the `budget`."""
        return self._play(self.core.compress(documents, query, options, timeout, fail_open))

    def compress_batch(
        self, requests: Iterable[Line], *, timeout: float | None = None, fail_open: bool | None = None
    ) -> Iterator[BatchAnswer]:
        """An answer or an error for each request, in order, while requests are still being taken from the iterable.

        Requests travel in small pages, within `timeout` for each request of a page.
        """
        from concurrent.futures import ThreadPoolExecutor

        here = os.getpid()
        pool = ThreadPoolExecutor(PAGES, "laconic-batch")
        waiting: deque[Future[list[BatchAnswer]]] = deque()
        try:
            for rows in paged(requests):
                waiting.append(pool.submit(self._play, self.core.page(rows, timeout, fail_open)))
                while len(waiting) >= PAGES or (waiting and waiting[0].done()):
                    yield from waiting.popleft().result()
                    same_process(here)
            while waiting:
                yield from waiting.popleft().result()
                same_process(here)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def encode(
        self, documents: Given | None = None, *, timeout: float | None = None, **options: Unpack[EncodeOptions]
    ) -> Latents:
        """The latents of documents (or of one `text`); see `latents` and `embeds` for what a decoder does with them."""
        return self._play(self.core.encode(documents, options, timeout))

    def expand(self, ids: Iterable[str]) -> dict[str, str | None]:
        """The texts of segments that answers named; None for those no longer kept."""
        return self._play(self.core.expand(ids))

    def models(self) -> list[dict[str, Any]]:
        """Every model of the service: its card's facts, or what is wrong with it."""
        return self._play(self.core.rows("models"))

    def recipes(self) -> list[dict[str, Any]]:
        """The table of recipes."""
        return self._play(self.core.rows("recipes"))

    def health(self, *, timeout: float | None = None) -> Health:
        """Whether the service takes work now; one look, nothing raised where it is away."""
        return self._play(self.core.health(timeout))

    def _send(self, step: Send) -> Reply | Lost:
        raise NotImplementedError

    def _play(self, script: Script[T]) -> T:
        came: Reply | Lost | None = None
        while True:
            try:
                step = script.send(came)
            except StopIteration as end:
                found: T = end.value
                return found
            if isinstance(step, Pause):
                time.sleep(step.seconds)
                came = None
            else:
                came = self._send(step)


class AsyncCalls:
    """The same on an event loop."""

    core: Core

    async def compress(
        self,
        documents: Given | None = None,
        query: str | None = None,
        *,
        timeout: float | None = None,
        fail_open: bool | None = None,
        **options: Unpack[Options],
    ) -> CompressAnswer:
        """See Calls; so for all the others."""
        return await self._play(self.core.compress(documents, query, options, timeout, fail_open))

    async def compress_batch(
        self,
        requests: Iterable[Line] | AsyncIterable[Line],
        *,
        timeout: float | None = None,
        fail_open: bool | None = None,
    ) -> AsyncIterator[BatchAnswer]:
        import asyncio

        waiting: deque[asyncio.Task[list[BatchAnswer]]] = deque()
        try:
            async for rows in apaged(requests):
                waiting.append(asyncio.create_task(self._play(self.core.page(rows, timeout, fail_open))))
                while len(waiting) >= PAGES or (waiting and waiting[0].done()):
                    for answer in await waiting.popleft():
                        yield answer
            while waiting:
                for answer in await waiting.popleft():
                    yield answer
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def encode(
        self, documents: Given | None = None, *, timeout: float | None = None, **options: Unpack[EncodeOptions]
    ) -> Latents:
        return await self._play(self.core.encode(documents, options, timeout))

    async def expand(self, ids: Iterable[str]) -> dict[str, str | None]:
        return await self._play(self.core.expand(ids))

    async def models(self) -> list[dict[str, Any]]:
        return await self._play(self.core.rows("models"))

    async def recipes(self) -> list[dict[str, Any]]:
        return await self._play(self.core.rows("recipes"))

    async def health(self, *, timeout: float | None = None) -> Health:
        return await self._play(self.core.health(timeout))

    async def _send(self, step: Send) -> Reply | Lost:
        raise NotImplementedError

    async def _play(self, script: Script[T]) -> T:
        import asyncio

        came: Reply | Lost | None = None
        while True:
            try:
                step = script.send(came)
            except StopIteration as end:
                found: T = end.value
                return found
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                came = None
            else:
                came = await self._send(step)


def same_process(begun: int) -> None:
    """A batch's threads stayed with the process that began it: a child that went on with it would wait for ever."""
    if begun != os.getpid():
        raise LaconicError("a batch does not survive a fork: begin another in the child", code="forked")


def again(kind: Callable[..., Any], made: Mapping[str, Any]) -> Any:
    """A copy of a client: what it was told, with connections of its own."""
    return kind(**made)


def paged(requests: Iterable[Line]) -> Iterator[list[Row]]:
    pager = Pager()
    for given in requests:
        if full := pager.add(given):
            yield full
    if rest := pager.rest():
        yield rest


async def apaged(requests: Iterable[Line] | AsyncIterable[Line]) -> AsyncIterator[list[Row]]:
    if not isinstance(requests, AsyncIterable):
        for full in paged(requests):
            yield full
        return
    pager = Pager()
    async for given in requests:
        if full := pager.add(given):
            yield full
    if rest := pager.rest():
        yield rest
