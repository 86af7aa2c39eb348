"""Single flight: what several requests want at once is computed once."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from laconic.models import Cancelled, DeadlineExceeded, Work, current
from laconic.models.forks import after_fork

T = TypeVar("T")
LOOK = 0.05  # seconds between two looks at whether the waiter itself is still wanted


class Flights(Generic[T]):
    """Values under way by key; thread-safe. `joined` counts the keys somebody else was already computing."""

    def __init__(self) -> None:
        self.joined = 0
        self._begin_anew()
        after_fork(self, Flights._begin_anew)

    def _begin_anew(self) -> None:
        """What was under way at a fork is the parent's: nobody in the child would ever finish it."""
        self._open: dict[bytes, concurrent.futures.Future[T]] = {}
        self._lock = threading.Lock()

    def run(self, keys: Sequence[bytes], compute: Callable[[list[bytes]], list[T]]) -> dict[bytes, T]:
        """Values of all keys, each computed by whoever asked first.

        An error of a computation reaches everybody who waits for it. A caller that leaves or runs out of time is no
        error of the computation: who waits for it takes over. Raises also Cancelled or DeadlineExceeded of this caller.
        """
        mine, others = self._claim(keys)
        out = self._fly(mine, compute) if mine else {}
        left = []
        for key, future in others.items():
            error = self._wait(future)
            if isinstance(error, Cancelled | DeadlineExceeded):
                left.append(key)
            elif error is not None:
                raise error
            else:
                out[key] = future.result()
        return out | self.run(left, compute) if left else out

    def _claim(self, keys: Sequence[bytes]) -> tuple[list[bytes], dict[bytes, concurrent.futures.Future[T]]]:
        mine, others = [], {}
        with self._lock:
            for key in dict.fromkeys(keys):
                if key in self._open:
                    others[key] = self._open[key]
                else:
                    self._open[key] = concurrent.futures.Future()
                    mine.append(key)
            self.joined += len(others)
        return mine, others

    def _fly(self, mine: list[bytes], compute: Callable[[list[bytes]], list[T]]) -> dict[bytes, T]:
        """Compute what is ours before waiting for anybody: two requests that want each other's keys never lock."""
        try:
            made = dict(zip(mine, compute(mine), strict=True))
        except BaseException as e:
            for future in self._close(mine):
                future.set_exception(e)
            raise
        for key, future in zip(mine, self._close(mine), strict=True):
            future.set_result(made[key])
        return made

    def _close(self, mine: list[bytes]) -> list[concurrent.futures.Future[T]]:
        with self._lock:
            return [self._open.pop(key) for key in mine]

    @staticmethod
    def _wait(future: concurrent.futures.Future[T]) -> BaseException | None:
        work = current.get() or Work()
        while True:
            work.check()
            try:
                return future.exception(LOOK)
            except concurrent.futures.TimeoutError:
                continue
