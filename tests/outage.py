"""A service that can be killed in the middle and started again on its port, and two hundred requests through that."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import uvicorn

from laconic.client import LaconicError
from laconic.compressors import Compressor
from laconic.service.app import create_app
from laconic.service.settings import Settings

from .conftest import free_port, wait_until

COUNT, SIDE_BY_SIDE = 200, 4
RULES: dict[str, Any] = {"timeout": 5.0, "retries": 1}  # of the clients that go through it
QUICK: dict[str, Any] = {"recipe": "lexical.v1"}  # what they ask for: no model is what breaks here
TEXT = "It rained all day. The treaty number {} was signed by Ada Lovelace. Lunch was good. Nobody complained."


class Outage:
    """The service on one port of the loopback interface."""

    def __init__(self, compressor: Compressor) -> None:
        self._compressor, self._port = compressor, free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        app = create_app(Settings(), self._compressor)
        self._server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=self._port, log_level="critical"))
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        wait_until(lambda: httpx.get(f"{self.url}/readyz").status_code == 200)

    def kill(self) -> None:
        """As a crash looks from outside: connections are reset, answers under way among them, and nobody listens."""
        loop = self._server.servers[0].get_loop()
        loop.call_soon_threadsafe(self._abort)
        self._server.force_exit = self._server.should_exit = True
        self._thread.join(10)

    def _abort(self) -> None:
        for server in self._server.servers:
            server.close()
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()


def soak(outage: Outage, ask: Callable[[int, bool], Awaitable[bool]], *adapters: Any) -> tuple[Counter[str], float]:
    """What became of requests that may fail open (`open …`) or not (`closed …`) in turns, and the slowest's seconds.

    `ask` says whether what it got was compressed. The service is away from the 60th request done to the 120th. The
    adapters' pools belong to the loop, and are closed when no request is under way any more.
    """

    async def closing() -> tuple[Counter[str], float]:
        try:
            return await _soak(outage, ask)
        finally:
            await asyncio.gather(*(a.aclose() for a in adapters))

    return asyncio.run(closing())


async def _soak(outage: Outage, ask: Callable[[int, bool], Awaitable[bool]]) -> tuple[Counter[str], float]:
    seen: Counter[str] = Counter()
    turn, slowest, done = asyncio.Semaphore(SIDE_BY_SIDE), 0.0, 0

    async def one(i: int) -> None:
        nonlocal slowest, done
        opens = i % 2 == 0
        async with turn:
            began = time.monotonic()
            try:
                came = "compressed" if await ask(i, opens) else "original"
            except LaconicError as e:
                came = type(e).__name__
            slowest = max(slowest, time.monotonic() - began)
            seen[f"{'open' if opens else 'closed'} {came}"] += 1
            done += 1
            if done == 60:
                await asyncio.to_thread(outage.kill)
            elif done == 120:
                await asyncio.to_thread(outage.start)

    await asyncio.wait_for(asyncio.gather(*(one(i) for i in range(COUNT))), 60)
    return seen, slowest


def assert_survived(seen: Counter[str], slowest: float) -> None:
    """Fail-open came back with originals and no error, fail-closed with typed errors and no originals; none hung."""
    assert sum(seen.values()) == COUNT
    assert set(seen) == {"open compressed", "open original", "closed compressed", "closed Unavailable"}
    assert seen["open compressed"] > 50
    assert seen["closed compressed"] > 50
    assert slowest < RULES["timeout"] + 1
