"""From the costs of one request to a fleet: pods, Redis, bandwidth, and what bounds each. Arithmetic only."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .plots import subplots, write
from .simulate import Costs, Machine, Simulation, mixed

BUSY = 0.7  # share of what pods can do that is planned with: queues grow beyond all bounds near 1
REDIS_BUSY = 0.6  # of one Redis' only thread
PLANNED = (0.0, 0.5, 0.95, 1.0)  # hit rates of the fleets
DAY = 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Demand:
    """Requests per second, and what is in one: segments, their tokens each, and the share that the cache has."""

    per_second: float
    segments: float
    tokens: float
    hit: float


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A kind of value in Redis: bytes of the value, bytes of memory, Redis' processor seconds for a read of `keys`."""

    value: float
    memory: float
    read: float
    keys: int


def bounds(costs: Costs, machine: Machine, demand: Demand) -> dict[str, float]:
    """Requests per second of one pod, saturated, as each of its parts alone would allow; the least counts."""
    new = demand.segments * (1 - demand.hit)
    host = costs.request + costs.remote + costs.segment * demand.segments + costs.scored * new
    lane = new * (costs.forward + costs.token * demand.tokens)
    return {
        "host thread": 1 / host,
        "lanes": machine.lanes / lane if lane else math.inf,
        "cores": machine.speed(machine.cores) / (host + lane),
    }


def pods(demand: Demand, each: float) -> float:
    """How many a demand takes, at `each` requests per second of one that is saturated."""
    return demand.per_second / (BUSY * each)


def fleet(costs: Costs, machine: Machine, demand: Demand, entry: Entry) -> dict[str, Any]:
    """Pods and Redis for a demand, nothing kept in the pods' own memory; rates per second, bytes, no replication."""
    each = bounds(costs, machine, demand)
    bound = min(each, key=lambda name: each[name])
    new = demand.per_second * demand.segments * (1 - demand.hit)
    read = demand.per_second * demand.segments * demand.hit * entry.value
    per_key = entry.read / entry.keys  # a write is counted as a key that is read
    return {
        "per_pod": each[bound],
        "bound": bound,
        "pods": math.ceil(pods(demand, each[bound])),
        "redis_threads": (demand.per_second * demand.segments + new) * per_key / REDIS_BUSY,
        "redis_bytes_per_second": read + new * entry.value,
        "new_segments_per_second": new,
        "memory_per_day": new * DAY * entry.memory,
        "memory_per_million": 1e6 * entry.memory,
    }


def fleets(
    costs: Costs, machine: Machine, demand: Demand, found: dict[str, float], keys: int
) -> dict[str, dict[str, Any]]:
    """The fleet by hit rate, with a Redis whose entries and reads of `keys` cost what `entries.measure` has found."""
    entry = Entry(value=found["value_bytes"], memory=found["grown_bytes"], read=found["read_redis_us"] / 1e6, keys=keys)
    asking = replace(costs, remote=found["read_host_ms"] / 1000)
    return {str(h): fleet(asking, machine, replace(demand, hit=h), entry) for h in PLANNED}


def plot(found: dict[str, dict[str, float]], costs: Costs, machine: Machine, demand: Demand, path: Path) -> Path:
    """Left: predicted and measured on one machine, by hit rate. Right: pods that the demand takes, of two sizes."""
    figure, (left, right) = subplots(ncols=2, figsize=(11, 4.2))
    hits = [n / 20 for n in range(21)]
    simulated = [
        Simulation(costs, machine).closed(mixed(150, round(demand.segments), demand.tokens, h), 8).per_second
        for h in hits
    ]
    left.plot(hits, simulated, label="simulated, nobody else on the machine")
    at = [r["found"] for r in found.values()]
    rings = {"s": 90, "facecolors": "none", "edgecolors": "tab:blue", "label": "simulated, what others left of it"}
    left.scatter(at, [r["predicted"] for r in found.values()], **rings)
    left.scatter(at, [r["measured"] for r in found.values()], s=20, c="tab:red", zorder=3, label="measured")
    left.set(yscale="log", xlabel="hit rate", ylabel="requests/s of one process", title="One process, saturated")
    left.legend()
    for cores in (2, 4, 16):
        size = Machine(cores=cores, lanes=cores, pair=machine.pair if cores == 2 else 2.0)
        each = [min(bounds(costs, size, replace(demand, hit=h)).values()) for h in hits]
        label = f"{cores} cores each" + ("" if cores == 2 else " (arithmetic)")
        right.plot(hits, [cores * pods(demand, one) for one in each], label=label)
    right.set(yscale="log", xlabel="hit rate", ylabel="cores in all", title=f"{demand.per_second:,.0f} requests/s")
    right.legend()
    return write(figure, path)
