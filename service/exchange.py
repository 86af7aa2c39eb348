"""One exchange over HTTP: a body taken in, a call served, an answer written; the clock runs from the head on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio.to_thread
from fastapi import Request, Response

from laconic.models import Cancelled, DeadlineExceeded, Work

from .bodies import Bounds
from .errors import request_id
from .handle import A, Call, left, noted
from .intake import collected, expect, is_zipped
from .telemetry import server_timing

if TYPE_CHECKING:
    from .app import State

B = TypeVar("B")


@dataclass(frozen=True, kw_only=True)
class Plan(Generic[A]):
    """What a parsed body comes to: the call it makes, how its answer is written, and within which time it is wanted."""

    make: Callable[..., Call[A]]
    dump: Callable[[A], tuple[bytes | str, str]]
    timeout_ms: int | None = None


def state_of(request: Request) -> State:
    found: State = request.app.state.laconic
    return found


def begun(request: Request) -> Work:
    """The work of a request, due when the longest time it may have is over since its head arrived."""
    facts, most = request.scope["state"], state_of(request).settings.timeout_ms
    return Work(key=facts["key"].name, deadline=arrived(facts) + most / 1000)


def arrived(facts: dict[str, Any]) -> float:
    """When the head did, in `time.monotonic` seconds."""
    return time.monotonic() - (time.perf_counter() - float(facts["started"]))


async def taken(request: Request, parse: Callable[[bytes, Bounds], B], work: Work) -> tuple[B, int, asyncio.Task[None]]:
    """The body as a request, its size in bytes, and a task that is done once the client has left (to be cancelled)."""
    state, zipped = state_of(request), is_zipped(request)
    expect(request)
    with given_up(state):
        raw = await collected(request, work)
        gone = asyncio.create_task(left(request.receive, work))
        try:
            return await state.intake.parsed(parse, raw, work, gone, zipped), len(raw), gone
        except BaseException:
            gone.cancel()
            raise


@contextmanager
def given_up(state: State) -> Iterator[None]:
    """Count what ends before it is a call."""
    try:
        yield
    except (Cancelled, DeadlineExceeded) as e:
        state.metrics.cancelled.labels("client" if isinstance(e, Cancelled) else "deadline").inc()
        raise


@contextmanager
def at_most(asked: int | None, most: int) -> Iterator[list[str]]:
    """Say so where more milliseconds are asked for than a request may have: in its warnings, or where it fails by it.

    It is no error: whoever waits longer is served as well. Clients send what is left of their own timeout.
    """
    said = f"timeout_ms: {most} is the most a request may have here"
    more = asked is not None and asked > most
    try:
        yield [said] if more else []
    except DeadlineExceeded:
        if more:
            raise DeadlineExceeded(f"the answer would come later than is allowed; {said}") from None
        raise


async def answered(request: Request, parse: Callable[[bytes, Bounds], B], plan: Callable[[B], Plan[A]]) -> Response:
    """Serve what a body asks for and write the answer; a client that leaves takes its work along."""
    state, facts, work = state_of(request), request.scope["state"], begun(request)
    body, size, gone = await taken(request, parse, work)
    try:
        planned = plan(body)
        if planned.timeout_ms is not None:
            work.deadline = min(work.deadline, arrived(facts) + planned.timeout_ms / 1000)
        seconds = work.deadline - time.monotonic()
        call = replace(planned.make(request_id(request), facts["key"], work, gone, seconds), size=size)
        call.stages["parse"] = time.perf_counter() - facts["started"]
        with at_most(planned.timeout_ms, state.settings.timeout_ms) as warnings:
            found = await noted(state, call, facts)
    finally:
        gone.cancel()
    getattr(found, "warnings", []).extend(warnings)
    content, kind = await anyio.to_thread.run_sync(planned.dump, found, limiter=state.intake.writers)
    return Response(content, media_type=kind, headers={"server-timing": server_timing(call.stages)})
