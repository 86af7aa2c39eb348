"""What the shared cache costs: bytes that Redis holds per segment, and what reading them takes it and us."""

from __future__ import annotations

import statistics
import time
from typing import Any

import redis

from laconic.compressors import Budget, Compressor, Document, Request
from laconic.service.cache import Lru, Remote, Tiers

from .latency import QUERY, bodies

RATE = 4  # tokens per latent
KEYS = 7  # of one read: the segments of a request of five passages


def measure(url: str, count: int, reads: int = 2000) -> dict[str, Any]:
    """Of a Redis that holds nothing else: figures by kind of entry, and of reads of KEYS keys, one after another."""
    plain = redis.Redis.from_url(url)
    if plain.dbsize():
        raise ValueError("this Redis holds something: memory is measured on an empty one")
    texts = [d["text"] for b in bodies(count, 5, 130, 1) for d in b["documents"]]
    empty, out = int(plain.info("memory")["used_memory"]), {}
    for name, kind in (("token.v1", b"scores"), ("late.v1", b"codes"), ("latents", b"latents")):
        store = Tiers(Lru(0), Remote(url, 3600))
        compressor = Compressor(store=store)
        tokens = sum(compressor.model().tokenizer.count(texts))
        fill(compressor, name, texts)
        compressor.close()  # writes what waits
        keys = list(plain.scan_iter(match=b"*:" + kind + b":*", count=1000))
        held = [plain.memory_usage(k, samples=0) or 0 for k in keys]
        values = [int(plain.strlen(k)) for k in keys]
        grown = int(plain.info("memory")["used_memory"]) - empty
        out[name] = {
            "entries": len(keys),
            "tokens_each": round(tokens / len(keys), 1),
            "value_bytes": round(statistics.mean(values), 1),
            "memory_usage_bytes": round(statistics.mean(held), 1),
            "grown_bytes": round(grown / len(keys), 1),  # with the table of keys and, for late.v1, its scores
            **reading(url, plain, keys, reads),
        }
        plain.flushall()
    return out


def fill(compressor: Compressor, name: str, texts: list[str]) -> None:
    documents = [Document(id=str(i), text=t) for i, t in enumerate(texts)]
    for i in range(0, len(documents), 5):
        some = documents[i : i + 5]
        if name == "latents":
            compressor.encoder()(some, RATE)
        else:
            compressor(Request(documents=some, query=QUERY, budget=Budget(kind="rate", value=0.3)), recipe=name)


def reading(url: str, plain: redis.Redis, keys: list[bytes], reads: int) -> dict[str, float]:
    """Seconds a read takes from here, and of processor time here and in Redis; none of them side by side."""
    remote = Remote(url, 3600)
    some = [[keys[(n * KEYS + i) % len(keys)] for i in range(KEYS)] for n in range(reads)]
    remote.get(some[0])
    before, own, took = busy(plain), time.process_time(), []
    for each in some:
        start = time.perf_counter()
        found = remote.get(each)
        took.append(time.perf_counter() - start)
        assert all(found), "a read came too late"
    here, there = time.process_time() - own, busy(plain) - before
    remote.close()
    return {
        "read_ms_p50": round(statistics.median(took) * 1000, 3),
        "read_host_ms": round(here / reads * 1000, 3),
        "read_redis_us": round(there / reads * 1e6, 1),
    }


def busy(plain: redis.Redis) -> float:
    """Processor seconds of Redis so far."""
    found = plain.info("cpu")
    return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])
