"""The capacity model: where theory has a closed form the simulation agrees, and formulas agree with the simulation."""

from __future__ import annotations

import re
import statistics
from pathlib import Path

import pytest

from laconic.bench.plan import Demand, Entry, fleet, fleets
from laconic.bench.simulate import Asked, Costs, Machine, Simulation, mixed

HOST = Costs(request=0.01)
ENTRY = Entry(value=200, memory=500, read=7e-6, keys=7)
MIXED = Costs(request=0.002, segment=0.0001, scored=0.0005, forward=0.004, token=0.0001)


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_one_server_waits_as_the_formula_says(load: float) -> None:
    """Mean time in an M/D/1 queue: D + load·D / (2·(1 - load)) (Pollaczek and Khinchine)."""
    found = Simulation(HOST, Machine()).open([Asked(new=[])] * 10_000, load / 0.01, seed=1)
    assert statistics.mean(found.waits) == pytest.approx(0.01 + load * 0.01 / (2 * (1 - load)), rel=0.05)


def test_lanes_and_cores_bound_the_rate() -> None:
    """Saturated, four lanes on four cores do four times one's work; on two that are siblings, what the pair does."""
    forwards = Costs(request=0.0, forward=0.1)
    requests = [Asked(new=[1.0] * 4)] * 100
    wide = Simulation(forwards, Machine(cores=4, lanes=4)).closed(requests, 2)
    assert wide.per_second == pytest.approx(10)
    siblings = Simulation(forwards, Machine(cores=2, lanes=4, pair=1.2)).closed(requests, 2)
    assert siblings.per_second == pytest.approx(3)


def test_the_host_thread_is_one() -> None:
    """However many cores there are, a replica's host work is done one piece at a time; two replicas do twice."""
    one = Simulation(HOST, Machine(cores=8)).closed([Asked(new=[])] * 200, 8)
    two = Simulation(HOST, Machine(cores=8), replicas=2).closed([Asked(new=[])] * 200, 8)
    assert (one.per_second, two.per_second) == (pytest.approx(100), pytest.approx(200))


def test_more_hits_more_answers() -> None:
    """The rate grows with the hit rate, and a run repeats itself to the last digit with the same seed."""
    machine = Machine(cores=2, lanes=2, pair=1.3)
    runs = [Simulation(MIXED, machine).closed(mixed(200, 5, 150, h), 8) for h in (0.0, 0.25, 0.5, 0.75, 1.0)]
    rates = [r.per_second for r in runs]
    assert rates == sorted(rates)
    assert rates[-1] > 5 * rates[0]
    again = Simulation(MIXED, machine).closed(mixed(200, 5, 150, 0.5), 8)
    assert again.waits == runs[2].waits


def test_admission_bounds_the_wait() -> None:
    """At twice the capacity half is refused and nothing accepted is late; without a deadline waits grow and grow."""
    requests = [Asked(new=[])] * 4000
    found = Simulation(HOST, Machine(), deadline=0.5).open(requests, 200, seed=2)
    assert found.answered + found.refused == 4000
    assert found.refused == pytest.approx(2000, rel=0.1)
    assert max(found.waits) <= 0.5
    assert max(Simulation(HOST, Machine()).open(requests, 200, seed=2).waits) > 15


def test_redis_delays_and_does_not_occupy() -> None:
    """A round trip is waited for by its request only: the rate of many clients stays what the host can do."""
    costs = Costs(request=0.01, round_trip=0.05)
    assert Simulation(costs, Machine()).closed([Asked(new=[])] * 300, 1).per_second == pytest.approx(1 / 0.06, rel=0.01)
    assert Simulation(costs, Machine()).closed([Asked(new=[])] * 300, 10).per_second == pytest.approx(100, rel=0.05)


def test_a_pod_does_what_its_narrowest_part_allows() -> None:
    """The formulas of the plan agree with the simulation where forwards bind, and where the host thread does."""
    for machine, hit, bound in (
        (Machine(cores=2, lanes=2), 0.0, "cores"),
        (Machine(cores=8, lanes=2), 0.0, "lanes"),
        (Machine(cores=8, lanes=8), 1.0, "host thread"),
    ):
        found = fleet(MIXED, machine, Demand(per_second=1000, segments=5, tokens=150, hit=hit), ENTRY)
        simulated = Simulation(MIXED, machine).closed(mixed(300, 5, 150, hit), 16)
        assert found["bound"] == bound
        assert simulated.per_second == pytest.approx(found["per_pod"], rel=0.1)


def test_a_fleet_adds_up() -> None:
    """Ten requests a second of a tenth of a second each are a pod and its reserve; memory grows by misses."""
    found = fleet(Costs(request=0.1), Machine(), Demand(per_second=10, segments=4, tokens=100, hit=0.75), ENTRY)
    assert found["pods"] == 2
    assert found["new_segments_per_second"] == 10
    assert found["memory_per_day"] == 10 * 86_400 * 500
    assert found["redis_bytes_per_second"] == 40 * 200
    assert found["redis_threads"] == pytest.approx(50 * 1e-6 / 0.6)


def test_the_guides_table_follows_from_its_figures() -> None:
    """docs/scale.md: its costs, requests and entries give the rows that it shows for 100,000 requests per second."""
    text = (Path(__file__).parent.parent / "docs" / "scale.md").read_text()
    costs = Costs(request=3.54e-3, segment=0.34e-3, scored=3.5e-3, forward=0.19e-3, token=0.299e-3)
    read = {"value_bytes": 545, "grown_bytes": 778, "read_redis_us": 65, "read_host_ms": 0.46}
    demand = Demand(per_second=1e5, segments=6.65, tokens=1172 / 6.65, hit=0.3)
    found = fleets(costs, Machine(cores=2, lanes=2, pair=2.06), demand, read, 7)
    for name, row in {"pods": "pods", "redis_threads": "Redis threads for `token.v1`"}.items():
        (cells,) = re.findall(rf"^\| {row} \|(.*)\|$", text, re.MULTILINE)
        shown = [int(c.replace(",", "")) for c in cells.split("|")]
        assert [f[name] for f in found.values()] == pytest.approx(shown, rel=0.04)
    assert [f["bound"] for f in found.values()] == ["cores"] * 3 + ["host thread"]
