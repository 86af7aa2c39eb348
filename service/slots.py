"""A bounded number of requests worked on side by side, handed out fairly: the key that holds fewest goes next."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque

from laconic.models import Cancelled, DeadlineExceeded, Work

APART = 4  # slots, of which one can be spared


class Slots:
    """For one event loop. Within a key first come, first served. Of four slots and more no key holds the last one.

    So whoever comes finds one free while another key's requests, whatever they are, hold theirs to their deadlines.
    """

    def __init__(self, count: int) -> None:
        self.free = count
        self.most = count - 1 if count >= APART else count  # of one key
        self._held: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    async def acquire(self, work: Work, gone: asyncio.Future[None]) -> None:
        """Wait for a slot; raises DeadlineExceeded, or Cancelled once `gone` is done (the caller has left)."""
        if self.free and self._held[work.key] < self.most:  # who waits then is of keys that hold all they may
            self.free -= 1
            self._held[work.key] += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(work.key, deque()).append(turn)
        try:
            left = min(work.deadline - time.monotonic(), 1e6)
            await asyncio.wait({turn, gone}, timeout=max(0.0, left), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not turn.done():
                turn.cancel()
                self._forget(work.key, turn)
        if turn.cancelled():
            raise Cancelled if gone.done() else DeadlineExceeded

    def release(self, work: Work) -> None:
        """Give the slot to whoever's key holds fewest."""
        self._held[work.key] -= 1
        if not self._held[work.key]:
            del self._held[work.key]
        waiting = [k for k in self._waiting if self._held[k] < self.most]
        if not waiting:
            self.free += 1
            return
        key = min(waiting, key=lambda k: self._held[k])
        turn = self._waiting[key][0]
        self._forget(key, turn)
        self._held[key] += 1
        turn.set_result(None)

    def _forget(self, key: str, turn: asyncio.Future[None]) -> None:
        self._waiting[key].remove(turn)
        if not self._waiting[key]:
            del self._waiting[key]
