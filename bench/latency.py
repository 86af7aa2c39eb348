"""Latency, goodput and refusals of a running service: lone, at saturation, and with open-loop arrivals above it.

Open loop: requests start at fixed times whatever became of the earlier ones, so a slow answer is not hidden by the
load generator waiting for it (Schroeder et al., NSDI 2006, "Open versus closed").
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from tqdm import tqdm

from laconic.compressors import Compressor, Document
from laconic.compressors.score_token import TokenScorer
from laconic.compressors.units import sentences
from laconic.models import Card, FakeBackend, Input, ModelInput

from .corpus import corpus, stretch
from .plots import subplots, write

QUERY = "which exception is raised when the file cannot be opened?"
SAMPLED = 0.1  # share of refused requests that come back when they were told to


@dataclass(frozen=True, slots=True)
class Answer:
    """One request of the load: when it was due (seconds into the run), its status, and how long it took."""

    due: float
    status: int
    seconds: float
    retry_after: float = 0.0
    retried: str = ""  # accepted, refused, or not tried


def bodies(count: int, documents: int, words: int, timeout_ms: int) -> list[dict[str, Any]]:
    """Requests that are all different: slices of documentation that ships with Python."""
    rng, texts = random.Random(7), [t.split() for t in corpus(200)]
    out = []
    for _ in range(count):
        slices = []
        for _ in range(documents):
            slices.append({"text": " ".join(stretch(rng, texts, words))})
        out.append({"query": QUERY, "documents": slices, "budget": {"rate": 0.3}, "timeout_ms": timeout_ms})
    return out


class Recorder(FakeBackend):
    """Keeps what the model would have been asked."""

    def __init__(self, card: Card) -> None:
        super().__init__(card)
        self.seen: list[ModelInput] = []

    def run(self, inputs: Sequence[Input]) -> list[Any]:
        self.seen += [i for i in inputs if isinstance(i, ModelInput)]
        return super().run(inputs)


def segments(requests: list[dict[str, Any]], compressor: Compressor) -> list[list[ModelInput]]:
    """What the model is asked for each request."""
    model, out = compressor.model(), []
    splitter = compressor.pipeline().parts.splitter
    for r in requests:
        recorder = Recorder(model.card)
        documents = [Document(id=str(i), text=d["text"]) for i, d in enumerate(r["documents"])]
        cut = splitter(documents, [sentences(d.text) for d in documents])
        TokenScorer(recorder, model.tokenizer)(r["query"], cut)
        out.append(recorder.seen)
    return out


def bare(requests: list[dict[str, Any]], workers: int) -> float:
    """Tokens per second of the model alone on the requests' own segments, cut and encoded beforehand."""
    compressor = Compressor()
    seen = [i for one in segments(requests, compressor) for i in one]
    forward, queue, lock = compressor.model().backend.forward, iter(seen), threading.Lock()

    def work() -> None:
        while True:
            with lock:
                i = next(queue, None)
            if i is None:
                return
            forward.forward([i], False)

    threads = [threading.Thread(target=work) for _ in range(workers)]
    start = time.perf_counter()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    passed = time.perf_counter() - start
    compressor.close()
    return sum(i.count for i in seen) / passed


def bare_each(requests: list[dict[str, Any]], workers: int) -> list[float]:
    """Seconds of each request's forwards alone, one request at a time, on all cores."""
    compressor = Compressor(workers=workers)
    backend, out = compressor.model().backend, []
    for inputs in segments(requests, compressor):
        begin = time.perf_counter()
        backend.run(inputs)
        out.append(time.perf_counter() - begin)
    compressor.close()
    return out


async def saturate(
    client: httpx.AsyncClient, requests: list[dict[str, Any]], connections: int
) -> tuple[float, float, list[float]]:
    """Closed loop: (requests/s, model tokens/s, seconds of each), every connection always busy."""
    queue, tokens, took = iter(requests), 0, []

    async def one() -> None:
        nonlocal tokens
        for body in queue:
            begin = time.perf_counter()
            answer = await client.post("/v1/compress", json={**body, "timeout_ms": 60_000})
            answer.raise_for_status()
            took.append(time.perf_counter() - begin)
            tokens += answer.json()["usage"]["tokens_in"]

    start = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(connections)))
    passed = time.perf_counter() - start
    return len(took) / passed, tokens / passed, took


async def arrive(
    client: httpx.AsyncClient, make: Callable[[int], dict[str, Any]], per_second: float, seconds: float
) -> list[Answer]:
    """Open loop at a constant rate for some seconds; every request accounted for."""
    start, rng = time.perf_counter(), random.Random(1)
    found: list[Answer] = []

    async def one(number: int, due: float) -> None:
        begin = time.perf_counter()
        try:
            answer = await client.post("/v1/compress", json=make(number))
        except httpx.HTTPError:
            found.append(Answer(due, 0, time.perf_counter() - begin))
            return
        took = time.perf_counter() - begin
        after = float(answer.headers.get("retry-after-ms", 0)) / 1000
        retried = ""
        if answer.status_code == 429 and rng.random() < SAMPLED:
            retried = await again(client, make(number), after)
        found.append(Answer(due, answer.status_code, took, after, retried))

    tasks = []
    for number in tqdm(range(int(per_second * seconds)), desc=f"{per_second:.1f} requests/s", unit="request"):
        due = number / per_second
        await asyncio.sleep(max(0.0, start + due - time.perf_counter()))
        tasks.append(asyncio.create_task(one(number, due)))
    await asyncio.gather(*tasks)
    return found


async def again(client: httpx.AsyncClient, body: dict[str, Any], after: float) -> str:
    """Come back after the time told, and once more at twice that: was it let in by then?"""
    for _ in range(2):
        await asyncio.sleep(after)
        answer = await client.post("/v1/compress", json=body)
        if answer.status_code != 429:
            return "accepted"
    return "refused"


def summary(found: list[Answer], seconds: float, timeout: float, capacity: float) -> dict[str, Any]:
    """What the answers say: goodput, percentiles of accepted requests, refusals, whether Retry-After was right."""
    good = sorted(a.seconds for a in found if a.status == 200)
    codes: dict[str, int] = {}
    for a in found:
        codes[str(a.status)] = codes.get(str(a.status), 0) + 1
    tried = [a for a in found if a.retried]
    quick = sorted(a.seconds for a in found if a.status == 429)
    in_time = sum(s <= timeout * 1.02 for s in good)
    return {
        "requests": len(found),
        "codes": codes,
        "goodput_per_second": round(len(good) / seconds, 2),
        "goodput_of_capacity": round(len(good) / seconds / capacity, 3),
        "accepted_in_deadline": round(in_time / max(1, len(good)), 4),
        "seconds": {f"p{q}": round(percentile(good, q), 3) for q in (50, 99, 99.9)},
        "refusal_seconds_p99": round(percentile(quick, 99), 3),
        "retry_after_seconds_p50": round(percentile(sorted(a.retry_after for a in found if a.retry_after), 50), 2),
        "retry_after_right": f"{sum(a.retried == 'accepted' for a in tried)}/{len(tried)}",
    }


def percentile(ordered: list[float], q: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * q / 100))] if ordered else 0.0


def plot(found: list[Answer], memory: list[tuple[float, float]], timeout: float, path: Path) -> Path:
    """Latency of every request by when it was due, refusals below, and the service's memory."""
    figure, (top, low) = subplots(nrows=2, figsize=(11, 6), sharex=True, height_ratios=(3, 1))
    for name, colour, pick in (
        ("answered", "tab:blue", lambda a: a.status == 200),
        ("refused (429)", "tab:orange", lambda a: a.status == 429),
        ("anything else", "tab:red", lambda a: a.status not in (200, 429)),
    ):
        some = [a for a in found if pick(a)]
        top.scatter([a.due for a in some], [a.seconds for a in some], s=8, c=colour, label=f"{name}: {len(some)}")
    top.axhline(timeout, ls="--", c="grey", label="deadline")
    top.set(ylabel="seconds", ylim=(0, None))
    top.legend(loc="upper right")
    low.plot([t for t, _ in memory], [m / 1e6 for _, m in memory])
    low.set(ylabel="resident MB", xlabel="seconds into the run", ylim=(0, None))
    return write(figure, path)
