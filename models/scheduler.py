"""The lane: N workers, shared fairly and without any batching delay.

A batch is what waits when a worker comes free, up to the backend's token budget: one unpadded input on the CPU. Two
workers on a GPU are its prefetch: one prepares the next batch while the other's runs.
- Between keys (tenants) the next forward goes to the one served the fewest tokens since it became busy: start-time
  fair queuing (Goyal et al. 1996).
- Within a key, requests go by arrival + predicted cost: short ones pass long ones, but only as long as the long one
  would have taken, so nothing starves. A request can be overtaken between any two of its segments.
- The inputs of a forward that fails are tried once more, each alone; one that fails again fails its request and no
  other, and an empty input is run to learn whether the device is still there. A worker thread that dies is replaced.
- A batch that does not fit the device's memory halves the budget and is cut anew.
- A process made by fork has none of its parent's workers or jobs: its own workers start at its first job.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .backend import Forward, Input, ModelInput
from .forks import after_fork
from .work import LOST, Cancelled, DeadlineExceeded, EngineError, Work, current

log = logging.getLogger("laconic.engine")
OVERHEAD = 8  # tokens a forward costs beyond its own: what it takes to start one
STALLED = 60.0  # seconds after which a forward that has not come back means a dead lane


@dataclass(eq=False)
class Job:
    """The forwards of one call of `run`."""

    inputs: Sequence[Input]
    work: Work
    added: float
    todo: list[int]  # numbers of inputs not begun, shortest first: taken from the end
    left: int  # not finished
    retried: set[int] = field(default_factory=set)
    outputs: dict[int, Any] = field(default_factory=dict)
    error: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def fail(self, error: BaseException) -> None:
        self.error = self.error or error
        self.todo.clear()
        self.done.set()


@dataclass(eq=False)
class Share:
    """A key with work waiting: its jobs by (arrival + predicted seconds), and the tokens it was served."""

    served: float
    jobs: list[tuple[float, int, Job]] = field(default_factory=list)


def cost(i: Input) -> int:
    """Tokens a forward is counted as."""
    return i.tokens + OVERHEAD


class Scheduler:
    """`run(inputs)` as a Backend has it, over one `Forward` and a number of workers; thread-safe.

    `forks`: whether the forward works in a process made by fork from the one that opened it.
    """

    def __init__(self, forward: Forward, workers: int, forks: bool = True) -> None:
        self.forward, self.card, self.workers = forward, forward.card, workers
        self.seconds_per_token = 2e-4  # of one worker; a running mean from the first forward on
        self.budget = forward.budget
        self.tokens_waiting = 0
        self.restarts = self.failures = self.forwards = 0
        self._sick: str | None = None
        self._forks, self._lost = forks, False
        self._shares: dict[str, Share] = {}
        self._floor = 0.0  # tokens served to the key last chosen: where a key that comes back begins
        self._number = itertools.count()
        self._lock = threading.Condition()
        self._busy: dict[int, float] = {}  # worker number -> when its forward began
        self._closed = False
        self._threads = [self._start(n) for n in range(workers)]
        after_fork(self, Scheduler._begin_anew)

    def _begin_anew(self) -> None:
        """In the child of a fork: its jobs are the parent's to do, its lock may be held by a thread of the parent."""
        self._lock = threading.Condition()
        self._shares, self._busy, self._threads = {}, {}, []
        self._floor, self.tokens_waiting = 0.0, 0
        self._lost = not self._forks

    def run(self, inputs: Sequence[Input]) -> list[Any]:
        """Score all inputs. Raises Cancelled, DeadlineExceeded (see `work.current`) or EngineError."""
        work = current.get() or Work()
        work.check()
        if not inputs:
            return []
        todo = sorted(range(len(inputs)), key=lambda n: inputs[n].tokens)
        job = Job(inputs, work, time.monotonic(), todo, len(inputs))
        work.on_cancel(lambda: self._drop(job, Cancelled()))
        self._add(job)
        wait = None if math.isinf(work.deadline) else max(0.0, work.deadline - time.monotonic())
        if not job.done.wait(wait):
            self._drop(job, DeadlineExceeded())
        work.lane += time.monotonic() - job.added
        if job.error is not None:
            raise job.error
        return [job.outputs[n] for n in range(len(inputs))]

    def trouble(self) -> str | None:
        """What is wrong with the lane, or None: dead workers, a device that fails, a forward that does not return."""
        dead = sum(not t.is_alive() for t in self._threads)
        if dead:
            return f"{dead} of {self.workers} workers are dead"
        if self._sick:
            return self._sick
        longest = max((time.monotonic() - t for t in list(self._busy.values())), default=0.0)
        return f"a forward has been running for {longest:.0f} s" if longest > STALLED else None

    def close(self) -> None:
        """End the workers after the forwards they are in; jobs still waiting fail."""
        with self._lock:
            self._closed = True
            waiting = [job for share in self._shares.values() for _, _, job in share.jobs if job.todo]
            self._shares.clear()
            self._lock.notify_all()
        for job in waiting:
            job.fail(EngineError("the service is shutting down"))

    def _add(self, job: Job) -> None:
        tokens = sum(cost(i) for i in job.inputs)
        with self._lock:
            if self._closed:
                raise EngineError("the service is shutting down")
            if self._lost:
                raise EngineError(LOST)
            if not self._threads:
                self._threads = [self._start(n) for n in range(self.workers)]
            share = self._shares.get(job.work.key)
            if share is None:
                share = self._shares[job.work.key] = Share(served=self._floor)
            rank = job.added + tokens * self.seconds_per_token / self.workers
            heapq.heappush(share.jobs, (rank, next(self._number), job))
            self.tokens_waiting += tokens
            self._lock.notify(len(job.inputs))

    def _drop(self, job: Job, error: BaseException) -> None:
        with self._lock:
            self.tokens_waiting -= sum(cost(job.inputs[n]) for n in job.todo)
            job.fail(error)

    def _head(self) -> tuple[Share, Job] | None:
        """The job whose turn it is, by share, then by rank; None where nothing waits. Called under the lock."""
        while self._shares:
            key, share = min(self._shares.items(), key=lambda entry: entry[1].served)
            while share.jobs and not share.jobs[0][2].todo:  # begun to the last forward, or dropped
                heapq.heappop(share.jobs)
            if share.jobs:
                return share, share.jobs[0][2]
            del self._shares[key]
        return None

    def _take(self) -> list[tuple[Job, int]]:
        """The next batch; empty where nothing waits. Called under the lock."""
        batch: list[tuple[Job, int]] = []
        spent = 0
        while found := self._head():
            share, job = found
            n = job.todo[-1]
            tokens = cost(job.inputs[n])
            if batch and (spent + tokens > self.budget or n in job.retried):
                break
            job.todo.pop()
            batch.append((job, n))
            spent += tokens
            self._floor = share.served
            share.served += tokens
            self.tokens_waiting -= tokens
            if n in job.retried:
                break
        return batch

    def _start(self, number: int) -> threading.Thread:
        thread = threading.Thread(target=self._live, args=(number,), name=f"lane-{number}", daemon=True)
        thread.start()
        return thread

    def _live(self, number: int) -> None:
        """A worker's life; however it ends, another takes its place until the lane is closed."""
        try:
            self._loop(number)
        except BaseException:
            log.exception("worker %d died", number)
        finally:
            self._busy.pop(number, None)
            if not self._closed:
                self.restarts += 1
                self._threads[number] = self._start(number)

    def _loop(self, number: int) -> None:
        while True:
            with self._lock:
                while not (batch := self._take()) and not self._closed:
                    self._lock.wait()
                if not batch:
                    return
                alone = not self._busy and not self._shares and not batch[-1][0].todo
                self._busy[number] = time.monotonic()
            self._run([entry for entry in batch if self._wanted(*entry)], alone)
            self._busy.pop(number, None)

    def _wanted(self, job: Job, n: int) -> bool:
        """Whether the caller is still there, and in time, as the forward is about to begin."""
        try:
            job.work.check()
        except (Cancelled, DeadlineExceeded) as e:
            self._drop(job, e)
            return False
        if job.left == len(job.inputs) and not job.work.queued:
            job.work.queued = time.monotonic() - job.added
        return job.error is None

    def _run(self, batch: list[tuple[Job, int]], alone: bool) -> None:
        if not batch:
            return
        start = time.monotonic()
        try:
            outputs = self.forward.forward([job.inputs[n] for job, n in batch], alone)
        except MemoryError as e:
            if len(batch) == 1:
                self._failed(batch, e)
                return
            self.failures += 1
            self.budget = max(1, self.budget // 2)
            log.warning("out of memory at %d inputs; budget is now %d tokens", len(batch), self.budget)
            self._put_back(batch)
            return
        except BaseException as e:
            self._failed(batch, e)
            if not isinstance(e, Exception):
                raise  # the worker dies of it, its work does not
            return
        self._sick = None
        self._learn(sum(cost(job.inputs[n]) for job, n in batch), time.monotonic() - start)
        with self._lock:
            for (job, n), output in zip(batch, outputs, strict=True):
                job.outputs[n] = output
                job.left -= 1
                if not job.left:
                    job.done.set()

    def _failed(self, batch: list[tuple[Job, int]], error: BaseException) -> None:
        """Try each input again alone; the second time, its request fails."""
        self.failures += 1
        log.warning("a forward of %d inputs failed", len(batch), exc_info=error)
        for job, n in batch:
            if n in job.retried:
                self._drop(job, EngineError(f"a forward failed twice: {type(error).__name__}"))
                self._probe()
            job.retried.add(n)
        self._put_back(batch)

    def _probe(self) -> None:
        """Was it the input or the device? A forward over nothing knows."""
        try:
            self.forward.forward([ModelInput(query=(), segment=(0, 0), skip=1, count=0)], False)
            self._sick = None
        except Exception as e:
            self._sick = f"even an empty forward fails: {type(e).__name__}"

    def _put_back(self, batch: list[tuple[Job, int]]) -> None:
        with self._lock:
            for job, n in batch:
                if job.error is not None:
                    continue
                if self._closed:
                    job.fail(EngineError("the service is shutting down"))
                    continue
                job.todo.append(n)
                self.tokens_waiting += cost(job.inputs[n])
                share = self._shares.setdefault(job.work.key, Share(served=self._floor))
                heapq.heappush(share.jobs, (job.added, next(self._number), job))
            self._lock.notify_all()

    def _learn(self, tokens: int, seconds: float) -> None:
        """Running mean of seconds per token, over about the last twenty thousand tokens."""
        self.forwards += 1
        weight = min(1.0, tokens / 20_000) if self.forwards > 20 else 0.2
        self.seconds_per_token += weight * (seconds / tokens - self.seconds_per_token)
