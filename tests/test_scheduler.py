"""The lane: results, order, fairness, deadlines, cancellation, poison and dead workers, on a controllable forward."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import numpy as np
import pytest

from laconic.models import (
    Cancelled,
    DeadlineExceeded,
    EngineError,
    FakeBackend,
    ModelInput,
    ModelOutput,
    Scheduler,
    Work,
)
from laconic.models import scheduler as module
from laconic.models.work import current

POISON, KILLER, PAUSE = 13, 14, 15


class Gate(FakeBackend):
    """Forwards wait at a gate, are recorded, and fail where the first token says so."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.began = threading.Event(), threading.Semaphore(0)
        self.seen: list[int] = []
        self.batches: list[int] = []
        self.deaths = 1
        self.room, self.broken = 0, False

    def forward(self, inputs: Sequence[ModelInput], alone: bool) -> list[ModelOutput]:
        self.began.release()
        self.open.wait(10)
        marks = [i.segment[0] for i in inputs]
        self.seen += marks
        self.batches.append(len(inputs))
        if self.room and sum(len(i.segment) for i in inputs) > self.room:
            raise MemoryError
        if POISON in marks or self.broken:
            raise ValueError("poison")
        if KILLER in marks and self.deaths:
            self.deaths -= 1
            raise SystemExit
        if PAUSE in marks:
            time.sleep(0.3)
        return super().forward(inputs, alone)


def inputs(mark: int, count: int, tokens: int = 8) -> list[ModelInput]:
    return [ModelInput(query=(), segment=(mark, *range(tokens)), skip=1, count=tokens) for _ in range(count)]


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def lane(gate: Gate) -> Iterator[Scheduler]:
    made = Scheduler(gate, 1)
    yield made
    gate.open.set()
    made.close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as made:
        yield made


def under(work: Work, call: Callable[[], object]) -> object:
    """`call` as the given work."""

    def inner() -> object:
        current.set(work)
        return call()

    return copy_context().run(inner)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_outputs_are_in_the_order_of_the_inputs(lane: Scheduler, gate: Gate) -> None:
    """Longest first inside, but what comes back is in the caller's order and equals the bare forward."""
    gate.open.set()
    given = [inputs(0, 1, n)[0] for n in (3, 9, 1, 5)]
    found = lane.run(given)
    assert [len(o.keep) for o in found] == [3, 9, 1, 5]
    bare = FakeBackend().run(given)
    assert all(np.array_equal(a.keep, b.keep) for a, b in zip(found, bare, strict=True))
    assert lane.run([]) == []
    assert lane.tokens_waiting == 0


def test_a_short_request_passes_a_long_one(lane: Scheduler, gate: Gate, pool: ThreadPoolExecutor) -> None:
    """Between any two segments of a long request a short one may go first."""
    long = pool.submit(lane.run, inputs(1, 50, 200))
    assert gate.began.acquire(timeout=5)
    short = pool.submit(lane.run, inputs(2, 1))
    until(lambda: lane.tokens_waiting == 49 * 209 + 17)
    gate.open.set()
    short.result(5)
    assert len(long.result(5)) == 50
    assert gate.seen.index(2) < 3


def test_long_requests_do_not_starve(lane: Scheduler, gate: Gate, pool: ThreadPoolExecutor) -> None:
    """A long request goes before short ones that arrive after it would have been done."""
    lane.seconds_per_token = 1e-6
    blocker = pool.submit(lane.run, inputs(0, 1))
    assert gate.began.acquire(timeout=5)
    long = pool.submit(lane.run, inputs(1, 3, 100))
    until(lambda: lane.tokens_waiting == 3 * 109)
    time.sleep(0.01)
    late = pool.submit(lane.run, inputs(2, 1))
    until(lambda: lane.tokens_waiting == 3 * 109 + 17)
    gate.open.set()
    for f in (blocker, long, late):
        f.result(5)
    assert gate.seen == [0, 1, 1, 1, 2]


def test_keys_share_in_tokens(lane: Scheduler, gate: Gate, pool: ThreadPoolExecutor) -> None:
    """Ten requests of one key do not keep another key's single request waiting."""
    greedy = [pool.submit(under, Work(key="greedy"), lambda: lane.run(inputs(1, 4, 50))) for _ in range(10)]
    assert gate.began.acquire(timeout=5)
    until(lambda: lane.tokens_waiting == 39 * 59)
    modest = pool.submit(under, Work(key="modest"), lambda: lane.run(inputs(2, 4, 50)))
    until(lambda: lane.tokens_waiting == 43 * 59)
    gate.open.set()
    for f in (*greedy, modest):
        f.result(5)
    assert [i for i, mark in enumerate(gate.seen) if mark == 2][-1] <= 10


def test_poison_fails_its_own_request_only(lane: Scheduler, gate: Gate, pool: ThreadPoolExecutor) -> None:
    """A forward that raises is tried twice; its neighbours never notice, and the lane is healthy after."""
    gate.open.set()
    mixed = pool.submit(lane.run, [*inputs(1, 2), *inputs(POISON, 1), *inputs(1, 2)])
    clean = [pool.submit(lane.run, inputs(3, 3)) for _ in range(4)]
    with pytest.raises(EngineError, match="ValueError"):
        mixed.result(5)
    assert all(len(f.result(5)) == 3 for f in clean)
    assert gate.seen.count(POISON) == 2
    assert lane.trouble() is None
    assert lane.tokens_waiting == 0


def test_a_killed_worker_loses_nothing(lane: Scheduler, gate: Gate, pool: ThreadPoolExecutor) -> None:
    """SystemExit inside a forward ends the thread; another finishes the request."""
    gate.open.set()
    found = pool.submit(lane.run, [*inputs(1, 2), *inputs(KILLER, 1), *inputs(1, 2)]).result(5)
    assert len(found) == 5
    assert lane.restarts == 1
    until(lambda: lane.trouble() is None)


def test_a_stuck_forward_is_trouble(
    lane: Scheduler, gate: Gate, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forward that does not come back turns the lane's health."""
    stuck = pool.submit(lane.run, inputs(1, 1))
    assert gate.began.acquire(timeout=5)
    assert lane.trouble() is None
    monkeypatch.setattr(module, "STALLED", 0.01)
    until(lambda: "running for" in (lane.trouble() or ""))
    gate.open.set()
    stuck.result(5)
    until(lambda: lane.trouble() is None)


def test_cancelled_work_stops_within_a_segment(lane: Scheduler, gate: Gate, pool: ThreadPoolExecutor) -> None:
    """After `cancel` no further forward of the request begins and the caller is woken at once."""
    work = Work()
    running = pool.submit(under, work, lambda: lane.run(inputs(1, 30)))
    assert gate.began.acquire(timeout=5)
    work.cancel()
    with pytest.raises(Cancelled):
        running.result(1)
    gate.open.set()
    lane.run(inputs(2, 1))
    assert gate.seen == [1, 2]
    assert lane.tokens_waiting == 0
    with pytest.raises(Cancelled):
        under(work, lambda: lane.run(inputs(1, 1)))


def test_deadline_passes_in_the_queue(lane: Scheduler, gate: Gate, pool: ThreadPoolExecutor) -> None:
    """The caller is told at its deadline; what waited is not computed."""
    blocker = pool.submit(lane.run, inputs(0, 1))
    assert gate.began.acquire(timeout=5)
    with pytest.raises(DeadlineExceeded):
        under(Work(deadline=time.monotonic() + 0.05), lambda: lane.run(inputs(1, 5)))
    with pytest.raises(DeadlineExceeded):
        under(Work(deadline=time.monotonic() - 1), lambda: lane.run(inputs(1, 5)))
    gate.open.set()
    blocker.result(5)
    assert lane.run(inputs(2, 1))
    assert gate.seen == [0, 2]


def test_the_cost_model_learns(lane: Scheduler, gate: Gate) -> None:
    """Seconds per token come from measured forwards; nothing waits once they are done."""
    gate.open.set()
    for _ in range(30):
        lane.run(inputs(PAUSE, 1, 92)[:1] if lane.forwards == 0 else inputs(1, 1, 92))
    assert 0 < lane.seconds_per_token < 3e-3
    assert lane.tokens_waiting == 0


def test_close_fails_what_waits(lane: Scheduler, gate: Gate, pool: ThreadPoolExecutor) -> None:
    """A closed lane takes nothing, answers what waits with an error, and finishes the forward it is in."""
    first = pool.submit(lane.run, inputs(1, 1))
    assert gate.began.acquire(timeout=5)
    waiting = pool.submit(lane.run, inputs(2, 3))
    until(lambda: lane.tokens_waiting > 0)
    lane.close()
    gate.open.set()
    assert first.result(5)
    with pytest.raises(EngineError, match="shutting down"):
        waiting.result(5)
    with pytest.raises(EngineError, match="shutting down"):
        lane.run(inputs(1, 1))


def test_a_batch_is_what_waits_up_to_the_budget(gate: Gate, pool: ThreadPoolExecutor) -> None:
    """With a budget, inputs of several requests share a forward; each gets its own outputs."""
    gate.budget = 100
    lane = Scheduler(gate, 1)
    blocker = pool.submit(lane.run, inputs(0, 1))
    assert gate.began.acquire(timeout=5)
    some = [pool.submit(lane.run, inputs(mark, 3)) for mark in (1, 2, 3)]
    until(lambda: lane.tokens_waiting == 9 * 17)
    gate.open.set()
    for f in (blocker, *some):
        assert all(len(o.keep) == 8 for o in f.result(5))
    assert gate.batches == [1, 5, 4]
    lane.close()


def test_poison_in_a_batch_fails_alone(gate: Gate, pool: ThreadPoolExecutor) -> None:
    """A failing batch is run again one by one: its other requests are answered."""
    gate.budget = 1000
    lane = Scheduler(gate, 1)
    blocker = pool.submit(lane.run, inputs(0, 1))
    assert gate.began.acquire(timeout=5)
    bad = pool.submit(lane.run, inputs(POISON, 1))
    good = [pool.submit(lane.run, inputs(mark, 2)) for mark in (1, 2)]
    until(lambda: lane.tokens_waiting == 5 * 17)
    gate.open.set()
    with pytest.raises(EngineError, match="ValueError"):
        bad.result(5)
    assert all(len(f.result(5)) == 2 for f in good)
    assert blocker.result(5)
    assert gate.batches == [1, 5, 1, 1, 1, 1, 1, 1]  # blocker, all, each alone and one probe
    assert lane.trouble() is None
    lane.close()


def test_out_of_memory_halves_the_budget(gate: Gate, pool: ThreadPoolExecutor) -> None:
    """A batch too big for the device is cut anew; nobody is told."""
    gate.budget, gate.room = 400, 60
    lane = Scheduler(gate, 1)
    gate.open.set()
    assert len(lane.run(inputs(1, 20))) == 20
    assert lane.budget == 100
    assert max(gate.batches[-3:]) * 9 <= 60
    lane.close()


def test_a_device_that_fails_is_trouble(lane: Scheduler, gate: Gate) -> None:
    """Where even an empty forward fails, the lane says so, until one succeeds again."""
    gate.open.set()
    gate.broken = True
    with pytest.raises(EngineError):
        lane.run(inputs(1, 1))
    until(lambda: "empty forward" in (lane.trouble() or ""))
    gate.broken = False
    lane.run(inputs(1, 1))
    assert lane.trouble() is None
