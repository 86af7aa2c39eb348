"""The clients: the shells that do with httpx what the scripts of `core` ask for. httpx is loaded when one is made."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from socket import SHUT_RDWR, socket
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from typing_extensions import Self

from .calls import AsyncCalls, Calls
from .core import Core, Lost, Reply, Rules, Send

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
        import httpx

        self.core = core(url, api_key, Rules(timeout=timeout, retries=retries, fail_open=fail_open))
        self._own = http is None
        self._http = http or httpx.Client(**pool(connections))

    def close(self) -> None:
        """Close the pool; a client of your own stays open."""
        if self._own:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, step: Send) -> Reply | Lost:
        import httpx

        end = time.monotonic() + step.seconds
        ask = self._http.build_request(
            step.method, step.url, headers=step.headers, content=step.content, extensions={"timeout": Left(end)}
        )
        try:
            response = self._http.send(ask, stream=True, follow_redirects=False)
            try:
                with cut(response, end):
                    content = response.read()
            finally:
                response.close()
        except httpx.RequestError as e:
            return lost(e, isinstance(e, httpx.TimeoutException))
        return Reply(status=response.status_code, headers=response.headers, content=content)


class AsyncClient(AsyncCalls):
    """For event loops; made like Client. An async context manager; or `aclose` it.

    A pool belongs to one loop: a client used under several has one for each.
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
        self.core = core(url, api_key, Rules(timeout=timeout, retries=retries, fail_open=fail_open))
        self._given, self._connections = http, connections
        self._pools: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()

    async def aclose(self) -> None:
        """Close the running loop's pool; a client of your own stays open."""
        import asyncio

        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            await pool.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _pool(self) -> httpx.AsyncClient:
        import asyncio

        import httpx

        if self._given is not None:
            return self._given
        loop = asyncio.get_running_loop()
        if loop not in self._pools:
            self._pools[loop] = httpx.AsyncClient(**pool(self._connections))
        return self._pools[loop]

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
        return Reply(status=response.status_code, headers=response.headers, content=response.content)


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
