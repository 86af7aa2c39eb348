"""A circuit breaker: after a few failures in a row nobody asks any more, until a probe in the background succeeds."""

from __future__ import annotations

import time

FAILURES = 3
FIRST, MOST = 0.5, 15.0  # seconds until the first probe, and the longest between two


class Breaker:
    """`open` is a plain attribute: what an open breaker costs a request is one look at it."""

    def __init__(self) -> None:
        self.open = self.probing = False
        self.opened = 0  # times
        self._failures, self._pause, self._next = 0, FIRST, 0.0

    @property
    def state(self) -> int:
        """0 closed, 1 half open (a probe is under way), 2 open."""
        return (1 if self.probing else 2) if self.open else 0

    def success(self) -> None:
        self._failures, self._pause = 0, FIRST
        self.open = self.probing = False

    def failure(self) -> None:
        self._failures += 1
        if self.open:
            self._pause = min(MOST, self._pause * 2)
        elif self._failures >= FAILURES:
            self.open = True
            self.opened += 1
        self.probing = False
        self._next = time.monotonic() + self._pause

    def wait(self) -> float:
        """Seconds until the next probe is due."""
        return max(0.0, self._next - time.monotonic())
