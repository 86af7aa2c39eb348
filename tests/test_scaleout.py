"""Two replicas share one Redis behind HAProxy: what one has scored the other knows, and both restart unnoticed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from .balancer import Balancer, Load, Replica, haproxy
from .conftest import free_port, wait_until
from .redis_server import RedisServer, executable

DRAIN = 1.5  # seconds: two checks of 0.2 s and the time of one must fit, on a machine that is busy
COUNT = 5_000
TEXT = "In {} it rained. The bridge of {} stones was built by Ada Lovelace. Lunch was good. Nobody complained."
BODIES: list[dict[str, Any]] = [
    {
        "query": "Who built the bridge?",
        "documents": [{"text": TEXT.format(1500 + i, d)} for d in range(4)],
        "budget": {"rate": 0.4},
    }
    for i in range(60)
]

if haproxy() is None or executable() is None:
    if os.environ.get("LACONIC_REQUIRE_BALANCER"):
        raise RuntimeError(
            "LACONIC_REQUIRE_BALANCER is set, and there is no HAProxy or no redis-server: see .ci/balancer"
        )
    pytest.skip("no haproxy or no redis-server here: apt-get install haproxy", allow_module_level=True)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"), free_port())
    yield server
    server.kill()


@pytest.fixture(scope="module")
def replicas(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Replica]]:
    at = tmp_path_factory.mktemp("replicas")
    settings = {"redis_url": redis.url, "drain_seconds": DRAIN, "workers": 1, "log_level": "warning"}
    made = [Replica(at / f"{name}.log", **settings) for name in "ab"]
    for replica in made:
        replica.wait()
    yield made
    for replica in made:
        replica.kill()


def ask(replica: Replica, rate: float) -> list[dict[str, Any]]:
    with httpx.Client(base_url=replica.url, timeout=60) as client:
        answers = [client.post("/v1/compress", json={**b, "budget": {"rate": rate}}) for b in BODIES]
    assert {a.status_code for a in answers} == {200}
    return [a.json() for a in answers]


def test_the_second_replica_knows_what_the_first_has_scored(redis: RedisServer, replicas: list[Replica]) -> None:
    """At least 99 % of the segments that one replica saw first are hits of the other's, with the same answers."""
    first, second = replicas
    before = ask(first, 0.4)
    segments = sum(a["usage"]["segments"] for a in before)
    assert sum(a["usage"]["cache_hits"] for a in before) == 0
    wait_until(lambda: redis.client().dbsize() >= segments, 5)
    after = ask(second, 0.4)
    assert sum(a["usage"]["cache_hits"] for a in after) >= 0.99 * segments >= 200
    assert [a["text"] for a in after] == [a["text"] for a in before]


def test_a_rolling_restart_fails_no_request(replicas: list[Replica], tmp_path: Path) -> None:
    """Each replica gets SIGTERM under load and comes back: every answer is a 200, next to nothing is scored anew."""
    ask(replicas[0], 0.4)  # known to all, also where this test runs alone
    time.sleep(0.5)
    balancer = Balancer(tmp_path / "haproxy.log", *replicas)
    load = None
    try:
        wait_until(lambda: httpx.get(f"{balancer.url}/readyz").status_code == 200)
        start = time.monotonic()
        load = Load(balancer.port, [{**b, "documents": b["documents"][:1]} for b in BODIES], clients=6)
        for replica in replicas:
            wait_until(lambda seen=load.done: load.done > seen + COUNT / 5, 60)
            assert replica.terminate() == 0
            replica.start()
            replica.wait()
            time.sleep(0.5)  # until the balancer has seen it too
        wait_until(lambda: load.done >= COUNT, 60)
        took = time.monotonic() - start
    finally:
        if load:
            load.stop()
        balancer.kill()
    assert load.done >= COUNT
    assert load.seen == {"200": load.done}
    assert load.missed <= 0.01 * COUNT  # of one segment each: a read of Redis may take too long on a busy machine
    print(f"{load.done} requests in {took:.1f} s")
