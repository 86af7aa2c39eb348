"""Host work on a thread, waited for no longer than it is of use."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any, TypeVar

import anyio.to_thread

from laconic.models import Cancelled, DeadlineExceeded, Work

T = TypeVar("T")
_begun: set[asyncio.Task[Any]] = set()  # a loop holds its tasks weakly


async def on_thread(
    limiter: anyio.CapacityLimiter,
    work: Work,
    gone: asyncio.Future[None],
    run: Callable[..., T],
    *given: Any,
    ended: Callable[[], None] = lambda: None,
) -> T:
    """What `run` returns; raises DeadlineExceeded or Cancelled as soon as that is so, whatever the thread still does.

    A thread cannot be stopped: it looks up at its next `checkpoint`. `ended` is called, on the loop, when it is over,
    so that what it holds (a slot, a place in `limiter`) is not given away before.
    """
    task = asyncio.ensure_future(anyio.to_thread.run_sync(run, *given, limiter=limiter))
    _begun.add(task)

    def over(task: asyncio.Task[T]) -> None:
        _begun.discard(task)
        ended()
        if not task.cancelled():
            task.exception()  # asked for: nobody may be there to whom it matters

    task.add_done_callback(over)
    either: set[asyncio.Future[Any]] = {task, gone}
    await asyncio.wait(either, timeout=seconds_left(work), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        return task.result()
    if gone.done():
        raise Cancelled
    raise DeadlineExceeded


def seconds_left(work: Work) -> float | None:
    """Until its deadline, at least 0; None where it has none."""
    return None if work.deadline == math.inf else max(0.0, work.deadline - time.monotonic())
