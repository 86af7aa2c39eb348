"""`laconic bench latency`: start a service (or use one), then lone requests, saturation, and overload."""

from __future__ import annotations

import asyncio
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from laconic.models.cores import usable_cores

from .latency import arrive, bare, bare_each, bodies, plot, saturate, summary

RESIDENT = re.compile(r"^process_resident_memory_bytes (\S+)", re.MULTILINE)


@contextmanager
def service(*flags: str) -> Iterator[str]:
    """A fresh `laconic serve` on a free port, in its own process; its address once it is ready."""
    command = [sys.executable, "-m", "laconic.service", "serve", "--port", "0", *(flags or ("--cache-bytes", "0"))]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            address = next(m[1] for line in process.stderr if (m := re.search(r"running on (http://[^\s,]+)", line)))
            for _ in range(300):
                with suppress(httpx.TransportError):
                    if httpx.get(f"{address}/readyz").status_code == 200:
                        break
                time.sleep(0.1)
            # its log must be read, or the service stops at a full pipe
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield address
        finally:
            process.terminate()


async def sample(client: httpx.AsyncClient, rows: list[tuple[float, float]]) -> None:
    """Resident memory once a second until cancelled."""
    start = time.perf_counter()
    while True:
        with suppress(httpx.HTTPError):
            found = RESIDENT.search((await client.get("/metrics")).text)
            if found:
                rows.append((time.perf_counter() - start, float(found[1])))
        await asyncio.sleep(1)


async def load(address: str, *, seconds: float, overload: float, timeout_ms: int, out: Path) -> dict[str, Any]:
    cores, limits = usable_cores(), httpx.Limits(max_connections=None, max_keepalive_connections=50)
    async with httpx.AsyncClient(base_url=address, timeout=120, limits=limits) as client:
        alone, single = [], bodies(30, 1, 340, 60_000)
        for body in single:
            begin = time.perf_counter()
            (await client.post("/v1/compress", json=body)).raise_for_status()
            alone.append(time.perf_counter() - begin)
        bare_alone = await asyncio.to_thread(bare_each, single, cores)
        requests = bodies(60, 5, 130, timeout_ms)
        speeds, rates = [], []
        for _ in range(5):  # in turn with the bare model, so that a noisy machine is noisy for both
            rate, speed, _ = await saturate(client, requests, 4 * cores)
            rates.append((rate, speed))
            speeds.append(await asyncio.to_thread(bare, requests, cores))
        capacity = statistics.median(r for r, _ in rates)
        over_http = statistics.median(s for _, s in rates)
        model_alone = statistics.median(speeds)
        memory: list[tuple[float, float]] = []
        sampler = asyncio.create_task(sample(client, memory))
        many = bodies(400, 5, 130, timeout_ms)
        found = await arrive(client, lambda n: many[n % len(many)], overload * capacity, seconds)
        sampler.cancel()
        again = [await saturate(client, bodies(24, 5, 130, 60_000), 8) for _ in range(2)]
    # the machine's speed drifts: what it could do is measured on both sides of the overload
    after = statistics.median(r for r, _, _ in again)
    capacity = (capacity + after) / 2
    picture = plot(found, memory, timeout_ms / 1000, out / "latency.png")
    return {
        "cores": cores,
        "lone_ms_p50": round(statistics.median(alone) * 1000, 1),
        "bare_lone_ms_p50": round(statistics.median(bare_alone) * 1000, 1),
        "requests_per_second": round(capacity, 2),
        "tokens_per_second_http": round(over_http),
        "tokens_per_second_bare": round(model_alone),
        "http_share_of_bare": round(statistics.median(h / b for (_, h), b in zip(rates, speeds, strict=True)), 3),
        "overload": {"factor": overload, **summary(found, seconds, timeout_ms / 1000, capacity)},
        "resident_mb": {"first": round(memory[0][1] / 1e6), "most": round(max(m for _, m in memory) / 1e6)},
        "plot": str(picture),
    }
