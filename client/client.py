"""The clients: the shells that do with httpx what the scripts of `core` ask for. httpx is loaded when one is made."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from socket import SHUT_RDWR, socket
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from typing_extensions import Self

from .calls import AsyncCalls, Calls, again
from .core import Core, Lost, Reply, Rules, Send, foreign
from .errors import LaconicError

if TYPE_CHECKING:
    import asyncio
    import ssl

    import httpx

URL = "http://127.0.0.1:8000"


class Client(Calls):
    """For threads: one client serves all of them. A context manager; or `close` it.

    `timeout` is the time for a whole call in seconds, waiting and asking again included; the service is told of it.
    `retries` counts asking again: when the service says, else in growing intervals. With `fail_open`, `compress`
    answers with its input where the service fails (see ServiceFailure), and the answer's `warnings` say so.
    `connections` is the size of the pool; `http`, a client of your own (proxies, certificates), takes its place.
    A process made by fork has a pool of its own (docs/adr/0028-forks.md). Copies and pickles are made anew.
    """

    def __init__(
        self,
        url: str = URL,
        *,
        api_key: str | None = None,
        timeout: float = 30.0,
        retries: int = 4,
        fail_open: bool = False,
        connections: int = 100,
        http: httpx.Client | None = None,
    ) -> None:
        rules: dict[str, Any] = {"timeout": timeout, "retries": retries, "fail_open": fail_open}
        self.core = core(url, api_key, Rules(**rules))
        self._made = {"url": url, "api_key": api_key, "connections": connections, "http": http, **rules}
        self._given = Given(http) if http is not None else None
        self._pools: dict[int, httpx.Client] = {}
        if http is None:
            self._pool()

    def close(self) -> None:
        """Close this process's pool; a client of your own stays open, and so does what a parent left here."""
        if found := self._pools.get(os.getpid()):
            found.close()

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return again, (type(self), self._made)

    def _pool(self) -> httpx.Client:
        """Of this process: on an inherited connection both would read what comes first. Raises LaconicError."""
        import httpx

        if self._given is not None:
            own: httpx.Client = self._given.here()
            return own
        found = self._pools.get(os.getpid())
        return found or self._pools.setdefault(os.getpid(), httpx.Client(**pool(self._made["connections"])))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, step: Send) -> Reply | Lost:
        import httpx

        end, pool = time.monotonic() + step.seconds, self._pool()
        ask = pool.build_request(
            step.method, step.url, headers=step.headers, content=step.content, extensions={"timeout": Left(end)}
        )
        try:
            response = pool.send(ask, stream=True, follow_redirects=False)
            try:
                with cut(response, end):
                    content = response.read()
            finally:
                response.close()
        except httpx.RequestError as e:
            return lost(e, isinstance(e, httpx.TimeoutException))
        if foreign(step, response.headers) and self._given is None:
            self._pools.pop(os.getpid(), None)  # its other connections may be as much out of step
        return Reply(status=response.status_code, headers=response.headers, content=content)


class AsyncClient(AsyncCalls):
    """For event loops; made like Client. An async context manager; or `aclose` it.

    A pool belongs to one loop: a client used under several has one for each. A loop does not survive a fork.
    """

    def __init__(
        self,
        url: str = URL,
        *,
        api_key: str | None = None,
        timeout: float = 30.0,
        retries: int = 4,
        fail_open: bool = False,
        connections: int = 100,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        rules: dict[str, Any] = {"timeout": timeout, "retries": retries, "fail_open": fail_open}
        self.core = core(url, api_key, Rules(**rules))
        self._made = {"url": url, "api_key": api_key, "connections": connections, "http": http, **rules}
        self._given = Given(http) if http is not None else None
        self._pools: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[int, httpx.AsyncClient]] = WeakKeyDictionary()

    async def aclose(self) -> None:
        """Close the running loop's pool; a client of your own stays open."""
        import asyncio

        maker, found = self._pools.pop(asyncio.get_running_loop(), (0, None))
        if found is not None and maker == os.getpid():
            await found.aclose()

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return again, (type(self), self._made)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _pool(self) -> httpx.AsyncClient:
        import asyncio

        import httpx

        if self._given is not None:
            own: httpx.AsyncClient = self._given.here()
            return own
        loop = asyncio.get_running_loop()
        if loop not in self._pools:
            self._pools[loop] = os.getpid(), httpx.AsyncClient(**pool(self._made["connections"]))
        maker, found = self._pools[loop]
        if maker != os.getpid():
            raise forked("an event loop")
        return found

    async def _send(self, step: Send) -> Reply | Lost:
        import asyncio

        import httpx

        end = time.monotonic() + step.seconds
        going = self._pool().request(
            step.method, step.url, headers=step.headers, content=step.content, timeout=None, follow_redirects=False
        )
        try:
            response = await asyncio.wait_for(going, end - time.monotonic())
        except httpx.RequestError as e:
            return lost(e, isinstance(e, httpx.TimeoutException))
        except asyncio.TimeoutError:
            return Lost(reason="no answer came in time", late=True)
        if foreign(step, response.headers):
            self._pools.pop(asyncio.get_running_loop(), None)
        return Reply(status=response.status_code, headers=response.headers, content=response.content)


class Given:
    """An httpx client of the caller's own, which only the process that first used it may use: its pool is shared."""

    def __init__(self, http: Any) -> None:
        self._http, self._user = http, 0

    def here(self) -> Any:
        """The client; raises LaconicError where another process has used it."""
        self._user = self._user or os.getpid()
        if self._user != os.getpid():
            raise forked("an httpx client of your own")
        return self._http


def forked(what: str) -> LaconicError:
    """Not a failure of the service, which failing open would hide."""
    return LaconicError(f"{what} does not survive a fork once it was used: make another in the child", code="forked")


def core(url: str, api_key: str | None, rules: Rules) -> Core:
    """Raises ValueError for what cannot be used; files of keys end with a newline."""
    return Core(url=url.rstrip("/"), api_key=api_key.strip() if api_key else None, rules=rules)


def pool(connections: int) -> dict[str, Any]:
    import httpx

    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    return {"limits": limits, "verify": authorities()}


@lru_cache
def authorities() -> ssl.SSLContext:
    """Whose certificates are trusted; read once, which takes longer than many a request."""
    import httpx

    return httpx.create_ssl_context()


def lost(error: Exception, late: bool) -> Lost:
    return Lost(reason=f"{type(error).__name__}: {error}".rstrip(": "), late=late)


class Left(dict[str, float]):
    """httpx's timeouts of one request, each the time left when it is looked up: connecting, writing, waiting.

    The one for reading headers is looked up once: a server that sends them byte by byte can take longer than is left.
    """

    def __init__(self, end: float) -> None:
        super().__init__()
        self.end = end

    def get(self, *_: object) -> Any:
        return max(0.001, self.end - time.monotonic())


@contextmanager
def cut(response: httpx.Response, end: float) -> Iterator[None]:
    """Break the connection at `end`: timeouts start anew with every byte, so a body could trickle in for ever."""
    stream = response.extensions.get("network_stream")
    held = stream.get_extra_info("socket") if stream is not None and response.http_version != "HTTP/2" else None
    timer = threading.Timer(max(0.0, end - time.monotonic()), shut, (held,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def shut(held: Any) -> None:
    if isinstance(held, socket):
        with suppress(OSError):
            socket.shutdown(held, SHUT_RDWR)  # wakes the thread that reads; TLS is not asked first
