"""Who is let in: a request that cannot be answered in time is refused at the door, with when to come back.

The estimate is learnt from what this process does: work finished per second while there was any. No timer, no fixed
queue length; the deadline bounds the queue. Keys are served fairly, so what other keys have waiting stands before a
request only so far as it is no more than what its own key has.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from laconic.compressors import LaconicError

PER_DOCUMENT = 200  # characters of work a document costs beyond its own
HALF_LIFE = 8.0  # seconds of work after which a measurement counts half
LEAST = 0.25  # seconds: nobody is told to come back sooner
RESERVED = 0.3  # of a deadline's worth of work, at most, is kept free for those who were told to come back
MOST = 1000  # promises remembered
SETTLED, OVERDUE = 2.0, 4.0  # a request teaches for so many seconds, or times as long as predicted: others are no worse
CAUTION = 1.25  # predictions are stretched by this before they are compared with a deadline


class Overloaded(LaconicError):
    """Too much accepted work stands before this request; `retry_after` is in seconds."""

    code, status = "overloaded", 429

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = max(0.05, retry_after)


class Admission:
    """Accepted work, in characters, and the measured rate at which it is done. For the event loop's thread only."""

    def __init__(self, rate: float = 20_000.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.outstanding, self.requests = 0.0, 0
        self._held: dict[str, float] = {}  # of that, each key's
        self._done, self._busy = rate, 1.0  # decaying sums: characters, seconds
        self._clock, self._since = clock, clock()
        self._promises: OrderedDict[int, tuple[float, float, float]] = OrderedDict()  # when due, after what, how much

    @property
    def rate(self) -> float:
        """Characters per second while there is work."""
        return self._done / self._busy

    def wait(self, characters: float = 0.0, key: str | None = None) -> float:
        """Seconds until all accepted work, and this, is done; with a key, of that what is served before this."""
        total = self.outstanding
        if key is not None:
            others = [held for k, held in self._held.items() if k != key]
            own = max(0.0, total - sum(others)) + characters
            total = own - characters + sum(min(held, own) for held in others)
        return (total + characters) / self.rate

    @contextmanager
    def admit(self, characters: float, seconds: float, ident: int = 0, key: str = "") -> Iterator[None]:
        """Hold `characters` of work that is wanted within `seconds`; raises Overloaded.

        `ident` tells a request that comes back when it was told to: room was kept for it. What it holds is no more
        than can be done until it is given up.
        """
        late = CAUTION * self.wait(characters + self._reserved(ident, seconds), key) - seconds
        if self.requests and late > 0:
            after = max(LEAST, late / CAUTION)
            self._promises[ident] = (self._clock() + after, after, characters)
            if len(self._promises) > MOST:
                self._promises.popitem(last=False)
            raise Overloaded(f"accepted work takes {self.wait():.1f} s: come back later", after)
        self._promises.pop(ident, None)
        begun, most = self._clock(), max(SETTLED, OVERDUE * self.wait(characters))
        held = min(characters, seconds * self.rate)
        self._hold(key, held, 1)
        try:
            yield
            self._learn(characters, begun, most)
        finally:
            self._hold(key, -held, -1)

    def _hold(self, key: str, characters: float, requests: int) -> None:
        self.outstanding += characters
        self.requests += requests
        self._held[key] = self._held.get(key, 0.0) + characters
        if self._held[key] < 1e-3:  # sums of floats drift
            del self._held[key]
        if not self.requests:
            self.outstanding = 0.0
            self._held.clear()

    def _learn(self, characters: float, begun: float, most: float) -> None:
        """Take note of work done: in the time since the last that was, of which only that counts in which it was here.

        A request that took much longer than any like it tells of itself, not of others; what was given up tells
        nothing, for nobody knows how much of it was done.
        """
        now = self._clock()
        passed = min(now - max(self._since, begun), most)
        fade = 0.5 ** (passed / HALF_LIFE)
        self._done, self._busy = self._done * fade + characters, self._busy * fade + passed
        self._since = now

    def _reserved(self, ident: int, seconds: float) -> float:
        """Characters that requests told to come back about now may need; none of it stands before one of them."""
        now = self._clock()
        for i, (due, after, _) in list(self._promises.items()):
            if now > due + after:  # it did not come, or was let in elsewhere
                del self._promises[i]
        mine = self._promises.get(ident)
        if mine is not None and now >= mine[0] - 0.05:
            return 0.0
        due_now = sum(characters for due, _, characters in self._promises.values() if due <= now + 0.05)
        return min(due_now, RESERVED * seconds * self.rate)
