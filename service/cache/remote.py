"""The second tier: Redis, on a thread with an event loop of its own. It never fails a request and hardly delays one.

Reads have one deadline in all, connecting included; after three failures in a row the breaker opens and requests pass
by until a probe in the background succeeds. Writes wait in a bounded queue and go out in pipelines; a full queue drops.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from redis.asyncio import RedisCluster
from redis.exceptions import ResponseError

from laconic.models.forks import abandon, after_fork

from .breaker import Breaker
from .links import connect, secrets_in, told

log = logging.getLogger("laconic.cache")
T = TypeVar("T")
READ, WRITE = 0.05, 1.0  # seconds; who waits for a read waits no longer, connecting included
PATIENT = 2.0  # the same where nobody waits for one answer
CHUNK, LARGE = 64, 8  # keys of one MGET; of latents, which are some hundred times as large
QUEUE = 64 * 1024 * 1024  # bytes waiting to be written
PIPELINE, PIPELINE_BYTES = 128, 256 * 1024  # of one write
JITTER = 0.1  # of the time to live, so that what was written together does not end together
Observe = Callable[[str, float], None]


class Remote:
    """Values in Redis by full key; `get` and `put` are for threads and return in bounded time."""

    def __init__(self, url: str, ttl: int, prefix: str = "laconic", *, patient: bool = False) -> None:
        self._url, self.ttl, self._read = url, ttl, PATIENT if patient else READ
        self._secrets, self._probe = secrets_in(url), f"{prefix}:probe".encode()  # a key that an ACL lets us read
        self.observe: Observe = lambda op, seconds: None  # whoever measures sets it
        self._closed = False
        self._reset()
        self._running()
        after_fork(self, Remote._begin_anew)

    def _reset(self) -> None:
        self.breaker = Breaker()
        self.reason: str | None = None  # why the last call failed; None once one succeeds
        self.errors = self.dropped = self.written = 0
        self._queue: deque[tuple[bytes, bytes]] = deque()
        self._queued = 0
        self._lock = threading.Lock()
        self._opened = False

    def _open(self) -> None:
        # operations are ended by their sockets, never cancelled: redis-py leaves a connection open where one is
        self.client, self.writer = connect(self._url, self._read), connect(self._url, WRITE)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cache", daemon=True)
        self._wake = asyncio.Event()
        self._endless = [self._loop.create_task(work) for work in (self._write_behind(), self._mend())]
        self._thread.start()

    def _begin_anew(self) -> None:
        """In the child of a fork: what waits to be written is the parent's to write, on the parent's connections.

        Neither they nor the loop are closed: what it watches would be unregistered in the parent too.
        """
        if self._opened and not self._closed:
            for held in (self.client, self.writer, self._loop, self._endless):
                abandon(held)
        self._reset()

    def _running(self) -> asyncio.AbstractEventLoop:
        """The loop of this process, made and started where it is not: by a fork's child at its first use."""
        if not self._opened:
            with self._lock:
                if not self._opened:
                    self._open()
                    self._opened = True
        return self._loop

    @property
    def waiting(self) -> int:
        """Bytes that wait to be written."""
        return self._queued

    def _start(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._running())

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """What Redis holds of the keys; None for each it does not, or cannot say in time."""
        out: list[bytes | None] = []
        size = LARGE if keys and b":latents:" in keys[0] else CHUNK
        for at in range(0, len(keys), size):
            found = self._try("get", self._mget(keys[at : at + size]), self._read)
            if found is None:
                break
            out += found
        return out + [None] * (len(keys) - len(out))

    def put(self, values: Mapping[bytes, bytes]) -> None:
        """Queue values to be written; what does not fit, or comes while Redis is away, is dropped and counted."""
        with self._lock:
            for key, value in values.items():
                if self.breaker.open or self._closed or self._queued + len(value) > QUEUE:
                    self.dropped += 1
                    continue
                self._queue.append((key, value))
                self._queued += len(value)
        if not self._closed:
            self._running().call_soon_threadsafe(self._wake.set)

    def drop(self, key: bytes) -> None:
        """Delete a value that does not decode; nobody waits for it."""
        if not self.breaker.open and not self._closed and self._running():
            self._start(self._guarded("delete", self.writer.delete(key), WRITE))

    def check(self) -> str | None:
        """Why Redis cannot be used, or None; for people who ask, so it may take a second."""
        with contextlib.suppress(concurrent.futures.TimeoutError):
            self._running()
            self._start(self._guarded("check", self.writer.get(self._probe), WRITE)).result(2 * WRITE)
            return self.reason
        return "no answer"

    async def flush(self, pattern: str) -> int:
        """Delete every key that matches, on any loop; returns how many. Raises what redis-py does."""
        return await asyncio.wrap_future(self._start(self._flush(pattern)))

    def settle(self, most: int = 0, seconds: float = math.inf) -> None:
        """Return once no more than `most` bytes wait to be written, or after `seconds`, or when Redis is away."""
        end = time.monotonic() + seconds
        while self._queue and self._queued >= most and not self.breaker.open and time.monotonic() < end:
            time.sleep(0.01)

    def close(self, seconds: float = 2.0) -> None:
        """Write what waits, for at most `seconds`, and end."""
        self.settle(seconds=seconds)
        self._closed = True
        if not self._opened:
            return
        with contextlib.suppress(Exception):
            self._start(self._end()).result(2 * WRITE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(2)
        if not self._loop.is_running():
            self._loop.close()

    async def _end(self) -> None:
        self._wake.set()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*rest, return_exceptions=True)  # each ends with its socket's time; none is cancelled
        for client in (self.client, self.writer):
            manager = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
            for each in (client, *(manager.sentinels if manager else ())):
                with contextlib.suppress(Exception):
                    await each.aclose()
        await asyncio.sleep(0.01)  # transports close on the loop's next turns

    def _try(self, op: str, work: Coroutine[Any, Any, T], seconds: float) -> T | None:
        """The result, or None: the breaker is open, Redis fails, or the time is over."""
        if self.breaker.open or self._closed:
            work.close()
            return None
        try:
            return self._start(self._guarded(op, work, seconds)).result(seconds)
        except concurrent.futures.TimeoutError:
            return None  # counted as a failure when it ends

    async def _guarded(self, op: str, work: Coroutine[Any, Any, T], seconds: float) -> T | None:
        """The result, or None, the breaker told which; what comes later than `seconds` is a failure."""
        start = time.perf_counter()
        try:
            found = await work
            if time.perf_counter() - start > seconds:
                raise TimeoutError
        except ResponseError as e:  # Redis lives and says no: full, no permission, wrong type
            self._failed(op, e)
            if op != "set":
                self.breaker.failure()
            return None
        except Exception as e:  # whatever it is, it is Redis' failure: no request and no task of ours ends of it
            self._failed(op, e)
            self.breaker.failure()
            return None
        finally:
            self.observe(op, time.perf_counter() - start)
        self.breaker.success()
        self.reason = None
        return found

    def told(self, error: Exception) -> str:
        """An error's text without the URL's secrets."""
        return told(error, self._secrets)

    def _failed(self, op: str, error: Exception) -> None:
        self.errors += 1
        before, self.reason = self.reason, self.told(error)
        if not self.breaker.open or self.reason != before:
            log.warning("redis %s: %s", op, self.reason)

    async def _mget(self, keys: Sequence[bytes]) -> list[bytes | None]:
        call = self.client.mget_nonatomic if isinstance(self.client, RedisCluster) else self.client.mget
        found = await call(list(keys))
        if len(found) != len(keys):
            raise ValueError("redis answered another question")
        return [value if isinstance(value, bytes) else None for value in found]

    async def _write_behind(self) -> None:
        while not self._closed:
            await self._wake.wait()
            self._wake.clear()
            while self._queue and not self.breaker.open and not self._closed:
                batch = self._batch()
                done = await self._guarded("set", self._write(batch), WRITE)
                if done is None:
                    self.dropped += len(batch)
                else:
                    self.written += len(batch)

    def _batch(self) -> list[tuple[bytes, bytes]]:
        """The next values to write: few enough that reads on the same loop do not wait for them."""
        batch: list[tuple[bytes, bytes]] = []
        spent = 0
        with self._lock:
            while self._queue and len(batch) < PIPELINE and spent < PIPELINE_BYTES:
                batch.append(self._queue.popleft())
                spent += len(batch[-1][1])
            self._queued -= spent
        return batch

    async def _write(self, batch: Sequence[tuple[bytes, bytes]]) -> bool:
        pipeline = self.writer.pipeline(transaction=False)
        for key, value in batch:
            pipeline.set(key, value, ex=int(self.ttl * random.uniform(1 - JITTER, 1 + JITTER)) or 1)
        await pipeline.execute()
        return True

    async def _mend(self) -> None:
        """While the breaker is open, ask now and then; the answer closes it."""
        while not self._closed:
            await asyncio.sleep(min(0.1, self.breaker.wait() or 0.1))
            if self.breaker.open and not self.breaker.wait() and not self._closed:
                with self._lock:
                    self.dropped += len(self._queue)
                    self._queue.clear()
                    self._queued = 0
                self.breaker.probing = True
                if await self._guarded("probe", self._mget([self._probe]), self._read) is not None:
                    log.warning("redis is back")

    async def _flush(self, pattern: str) -> int:
        gone, batch = 0, []
        async for key in self.writer.scan_iter(match=pattern, count=1000):
            batch.append(key)
            if len(batch) == 500:
                gone += await self._unlink(batch)
                batch = []
        return gone + (await self._unlink(batch) if batch else 0)

    async def _unlink(self, keys: list[bytes]) -> int:
        if isinstance(self.client, RedisCluster):  # keys of one command must be of one slot
            return sum([await self.writer.unlink(key) for key in keys])
        return int(await self.writer.unlink(*keys))
