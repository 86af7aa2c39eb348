"""Whose work a forward is: a request's claim on the lanes, carried to the scheduler in a context variable.

The stages between a route and a lane need not know of deadlines, tenants or disconnects.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar

LOST = "a model that runs in torch does not survive a fork: open it in the process that uses it"


class Cancelled(Exception):
    """Nobody waits for the answer any more."""


class DeadlineExceeded(Exception):
    """The answer would come later than the caller said it is of use."""


class EngineError(RuntimeError):
    """A forward failed twice; the request it belongs to fails, no other."""


class Work:
    """One request: its share (`key`), when it stops being of use (`time.monotonic()` seconds), and whether it has."""

    def __init__(self, *, key: str = "", deadline: float = math.inf) -> None:
        self.key, self.deadline = key, deadline
        self.cancelled = False
        self.lane = 0.0  # seconds spent in `Scheduler.run`
        self.queued = 0.0  # of those, until its first forward began
        self._wake: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def cancel(self) -> None:
        """Drop what has not begun and wake whoever waits; any thread, any number of times."""
        with self._lock:
            self.cancelled = True
            wake = list(self._wake)
        for call in wake:
            call()

    def on_cancel(self, call: Callable[[], None]) -> None:
        """Have `call` run at `cancel`, at once if that has been."""
        with self._lock:
            self._wake.append(call)
            late = self.cancelled
        if late:
            call()

    def check(self) -> None:
        """Raises Cancelled or DeadlineExceeded."""
        if self.cancelled:
            raise Cancelled
        if time.monotonic() >= self.deadline:
            raise DeadlineExceeded


TURN, ASIDE = 0.02, 0.0002  # seconds between two turns of others, and how long one steps aside for them
_turns = threading.local()
current: ContextVar[Work | None] = ContextVar("work", default=None)


def checkpoint() -> None:
    """Where host work looks up: raises Cancelled or DeadlineExceeded of the `current` work, if there is any.

    Whatever can take longer than a few milliseconds calls it between its steps; a lane does so between forwards.

    Others get their turn here too: a thread that goes in and out of native code every few microseconds takes the
    interpreter's lock back before whoever waits for it has woken, and keeps an event loop waiting for half a second.
    """
    if (work := current.get()) is not None:
        work.check()
        now = time.monotonic()
        if now - getattr(_turns, "last", -math.inf) > TURN:
            time.sleep(ASIDE)
            _turns.last = time.monotonic()


def tenant() -> str:
    """Whose work this is, "" where it is nobody's: part of the key of whatever is remembered of a text."""
    return work.key if (work := current.get()) is not None else ""
