"""A discrete simulation of replicas under load: arrivals, admission, a cache, host work, lanes, shared cores.

Small and plain on purpose. Host work of a replica is one thread's (the interpreter's lock), forwards run on its lanes,
and all busy threads of a machine share its cores evenly. A request is host work, its missing segments on the lanes side
by side, host work again. Times are seconds of one core that has nothing else to do.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

CAUTION = 1.25  # as service/admission.py stretches its predictions


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What work costs, in seconds of a core."""

    request: float  # host work of any request
    segment: float = 0.0  # of each of its segments
    scored: float = 0.0  # host work of a segment that no cache has, beyond that
    forward: float = 0.0  # of the model for each of those
    token: float = 0.0  # and for each of its tokens
    remote: float = 0.0  # host work of asking Redis, per request
    round_trip: float = 0.0  # seconds that nobody works while Redis answers
    client: float = 0.0  # of the load generator, per request, where it runs on the same cores


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A replica's place: `cores` threads run at once, and two of them do `pair` times what one does alone."""

    cores: int = 1
    lanes: int = 1
    pair: float = 2.0

    def speed(self, busy: int) -> float:
        """Seconds of work done per second by so many busy threads together."""
        return 1 + (min(busy, self.cores) - 1) * (self.pair - 1)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a request brings: tokens of the segments that no cache has, and how many it has."""

    new: Sequence[float]
    known: int = 0


@dataclass(frozen=True, kw_only=True)
class Found:
    """What became of a run."""

    answered: int
    refused: int
    seconds: float  # until the last answer
    waits: list[float] = field(repr=False)  # seconds of each answered request, in the order they ended

    @property
    def per_second(self) -> float:
        return self.answered / self.seconds if self.seconds else 0.0


Step = tuple[str, Sequence[float]]  # who works: "client", "host", "lane", "finish" (the host again), nobody ("wait")


def steps(costs: Costs, asked: Asked) -> Iterator[Step]:
    """A request's way: read, asked of the cache, scored, assembled."""
    segments = len(asked.new) + asked.known
    host = costs.request + costs.segment * segments + costs.scored * len(asked.new) + costs.remote
    yield "client", [costs.client]
    yield "host", [host / 2]
    yield "wait", [costs.round_trip]
    yield "lane", [costs.forward + costs.token * tokens for tokens in asked.new]
    yield "finish", [host / 2]


def work(costs: Costs, asked: Asked) -> float:
    """All of a request's seconds on the replica."""
    return sum(sum(seconds) for what, seconds in steps(costs, asked) if what in ("host", "lane", "finish"))


@dataclass(eq=False)
class Piece:
    left: float
    done: Callable[[], None]


class Replica:
    """Queues before the host thread and the lanes, and what is being worked on."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.room = {"host": 1, "lane": machine.lanes, "client": 1}
        self.queues: dict[str, deque[Piece]] = {name: deque() for name in self.room}
        self.busy: dict[str, list[Piece]] = {name: [] for name in self.room}
        self.requests, self.outstanding = 0, 0.0

    def add(self, what: str, piece: Piece) -> None:
        """Queue a piece of work; the host finishes what it began before it begins anything."""
        if what == "finish":
            what = "host"
            self.queues[what].appendleft(piece)
        else:
            self.queues[what].append(piece)

    def begin(self) -> None:
        """Give what waits the room there is."""
        for what, queue in self.queues.items():
            while queue and len(self.busy[what]) < self.room[what]:
                self.busy[what].append(queue.popleft())

    def _rate(self) -> float:
        """How fast each busy thread is."""
        busy = sum(map(len, self.busy.values()))
        return self.machine.speed(busy) / busy if busy else 0.0

    def next(self) -> float:
        """Seconds until some piece of work is done."""
        rate = self._rate()
        return min((p.left for each in self.busy.values() for p in each), default=math.inf) / rate if rate else math.inf

    def advance(self, seconds: float) -> list[Piece]:
        """Let time pass; the pieces that ended."""
        rate, ended = self._rate(), []
        for each in self.busy.values():
            for p in each:
                p.left -= seconds * rate
            ended += [p for p in each if p.left <= 1e-12]
            each[:] = [p for p in each if p.left > 1e-12]
        return ended


class Simulation:
    """Replicas behind a balancer that sends a request to the one with fewest under way."""

    def __init__(self, costs: Costs, machine: Machine, replicas: int = 1, deadline: float = math.inf) -> None:
        self.costs, self.deadline, self.now = costs, deadline, 0.0
        self.replicas = [Replica(machine) for _ in range(replicas)]
        self.refused = 0
        self.waits: list[float] = []
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()

    def open(self, requests: Sequence[Asked], per_second: float, seed: int = 0) -> Found:
        """Poisson arrivals, whatever becomes of earlier ones."""
        rng, at = random.Random(seed), 0.0
        for asked in requests:
            at += rng.expovariate(per_second)
            self._at(at, lambda asked=asked: self._send(asked, lambda: None))  # type: ignore[misc]
        return self._run()

    def closed(self, requests: Sequence[Asked], clients: int) -> Found:
        """Each client sends its next request once it has the answer."""
        queue = iter(requests)

        def more() -> None:
            if (asked := next(queue, None)) is not None:
                self._send(asked, more)

        for _ in range(clients):
            self._at(0.0, more)
        return self._run()

    def _at(self, when: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (when, next(self._number), do))

    def _send(self, asked: Asked, then: Callable[[], None]) -> None:
        replica, took = min(self.replicas, key=lambda r: r.requests), work(self.costs, asked)
        wait = CAUTION * (replica.outstanding + took) / replica.machine.speed(replica.machine.cores)
        if replica.requests and wait > self.deadline:  # an idle service tries
            self.refused += 1
            then()
            return
        replica.requests += 1
        replica.outstanding += took
        began, way = self.now, steps(self.costs, asked)

        def go() -> None:
            what, seconds = next(way, ("end", []))
            some = [s for s in seconds if s > 0]
            if what == "end":
                replica.requests -= 1
                replica.outstanding -= took
                self.waits.append(self.now - began)
                then()
            elif not some:
                go()
            elif what == "wait":
                self._at(self.now + some[0], go)
            else:
                left = len(some)

                def one() -> None:
                    nonlocal left
                    left -= 1
                    if not left:
                        go()

                for s in some:
                    replica.add(what, Piece(s, one))

        go()

    def _run(self) -> Found:
        while True:
            timer = self._timers[0][0] - self.now if self._timers else math.inf
            step = min(timer, *(r.next() for r in self.replicas))
            if math.isinf(step):
                return Found(answered=len(self.waits), refused=self.refused, seconds=self.now, waits=self.waits)
            self.now += step
            for p in [p for r in self.replicas for p in r.advance(step)]:
                p.done()
            while self._timers and self._timers[0][0] <= self.now + 1e-12:
                heapq.heappop(self._timers)[2]()
            for r in self.replicas:
                r.begin()


def mixed(count: int, segments: int, tokens: float, hit: float, seed: int = 0) -> list[Asked]:
    """Requests of equal segments, each known with probability `hit`."""
    rng = random.Random(seed)
    drawn = (sum(rng.random() < hit for _ in range(segments)) for _ in range(count))
    return [Asked(new=[tokens] * (segments - known), known=known) for known in drawn]
