"""What a pod can do, from what single requests cost: measured, simulated, and compared with a saturated service.

Costs come from runs that are never saturated: a service with one lane answers one request at a time, and its processor
time is read from its metrics; forwards are timed on the bare model. What is compared is another process, saturated.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import random
import re
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np

from laconic.compressors import Compressor
from laconic.models.cores import usable_cores

from .corpus import corpus, stretch
from .latency import QUERY, bodies, segments
from .load import service
from .simulate import Asked, Costs, Machine, Simulation

DOCUMENTS, WORDS, CLIENTS = 5, 130, 8  # of a request; clients of a saturated service
HITS = {0.0: 60, 0.5: 100, 0.95: 400}  # hit rates that are compared, and how many requests each takes
POOL = 60  # documents that are known
CPU = re.compile(r"^process_cpu_seconds_total (\S+)", re.MULTILINE)
USAGE = re.compile(rb'"usage":\{"tokens_in":(\d+),.*?"segments":(\d+),"cache_hits":(\d+)')


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What the answers to some requests said, and what they cost."""

    tokens: list[int]
    segments: list[int]
    hits: list[int]
    seconds: float
    client: float  # processor seconds of this process

    @property
    def hit_rate(self) -> float:
        return sum(self.hits) / max(1, sum(self.segments))

    @property
    def per_second(self) -> float:
        return len(self.segments) / self.seconds

    def asked(self) -> list[Asked]:
        """The same requests for the simulation: segments of the mean length."""
        length = sum(self.tokens) / sum(self.segments)
        each = zip(self.segments, self.hits, strict=True)
        return [Asked(new=[length] * (n - known), known=known) for n, known in each]


class Texts:
    """Documents that were sent before, and an endless supply of others."""

    def __init__(self, seed: int) -> None:
        self._rng, self._words = random.Random(seed), [t.split() for t in corpus(200)]
        self.known = list(itertools.islice(self.fresh(), POOL))

    def fresh(self) -> Iterator[str]:
        """Random stretches of the corpus; a number in every fifth place makes each segment new."""
        while True:
            some = stretch(self._rng, self._words, WORDS)
            some[::5] = [f"{w}{self._rng.randrange(10**6)}" if n % 5 == 0 else w for n, w in enumerate(some[::5])]
            yield " ".join(some)

    def request(self, hit: float, documents: int = DOCUMENTS) -> bytes:
        fresh = self.fresh()
        given = [self._rng.choice(self.known) if self._rng.random() < hit else next(fresh) for _ in range(documents)]
        return self.body(given)

    def body(self, texts: Sequence[str]) -> bytes:
        documents = [{"text": t} for t in texts]
        return json.dumps({"query": QUERY, "documents": documents, "budget": {"rate": 0.3}}).encode()

    def warm(self) -> list[bytes]:
        return [self.body(self.known[i : i + DOCUMENTS]) for i in range(0, POOL, DOCUMENTS)]


def send(address: str, requests: Sequence[bytes], clients: int) -> Answered:
    """Closed loop over connections that are kept; raises RuntimeError for anything but a 200."""
    at, queue, lock = urlsplit(address), iter(requests), threading.Lock()
    found: list[tuple[int, ...]] = []
    wrong: list[int] = []

    def one() -> None:
        connection = http.client.HTTPConnection(str(at.hostname), at.port, timeout=120)
        while True:
            with lock:
                body = next(queue, None)
            if body is None:
                return connection.close()
            connection.request("POST", "/v1/compress", body, {"content-type": "application/json"})
            answer = connection.getresponse()
            usage = USAGE.search(answer.read())
            if answer.status == 200 and usage:
                found.append(tuple(map(int, usage.groups())))
            else:
                wrong.append(answer.status)

    threads = [threading.Thread(target=one) for _ in range(clients)]
    own, start = time.process_time(), time.perf_counter()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    seconds = time.perf_counter() - start
    if wrong or len(found) != len(requests):
        raise RuntimeError(f"{len(found)} of {len(requests)} requests were answered, others with {sorted(set(wrong))}")
    tokens, each, hits = (list(column) for column in zip(*found, strict=True))
    return Answered(tokens=tokens, segments=each, hits=hits, seconds=seconds, client=time.process_time() - own)


def spent(address: str) -> float:
    """Processor seconds of a service so far."""
    found = CPU.search(httpx.get(f"{address}/metrics").text)
    assert found
    return float(found[1])


def busy() -> float:
    """Processor seconds of everybody on this machine so far, what a hypervisor took included (Linux)."""
    user, nice, system, _, _, irq, soft, stolen = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + soft + stolen) / os.sysconf("SC_CLK_TCK")


def alone(address: str, requests: Sequence[bytes]) -> tuple[float, Answered]:
    """Processor seconds of the service per request, one request at a time."""
    before = spent(address)
    answered = send(address, requests, 1)
    return (spent(address) - before) / len(requests), answered


@dataclass(frozen=True, kw_only=True)
class Forwards:
    """Seconds of one forward on one thread: what any takes, and per token; and what two threads do together."""

    each: float
    token: float
    pair: float


def forwards(count: int) -> Forwards:
    """By least squares over real segments. Processor time, so that other people's work on the machine is left out."""
    with closing(Compressor(workers=1)) as compressor:
        sizes = [b for words in (30, 80, 130, 170) for b in bodies(count, 1, words, 60_000)]
        inputs = [i for each in segments(sizes, compressor) for i in each]
        forward = compressor.model().backend.forward

        def timed(_: int) -> list[float]:
            took = []
            for i in inputs:
                start = time.thread_time()  # a forward of one session thread runs on the thread that asks for it
                forward.forward([i], False)
                took.append(time.thread_time() - start)
            return took

        timed(0)
        alone = [statistics.median(each) for each in zip(*map(timed, range(3)), strict=True)]
        with ThreadPoolExecutor(2) as pool:
            together = sum(map(sum, pool.map(timed, range(2))))
    token, each = np.polyfit([i.count for i in inputs], alone, 1)
    return Forwards(each=float(each), token=float(token), pair=2 * 2 * sum(alone) / together)


def calibrate(texts: Texts, address: str, model: Forwards) -> Costs:
    """Costs of a service with one lane and nothing to do: known requests small and large, then unknown ones."""
    send(address, texts.warm(), 1)
    small, few = alone(address, [texts.request(1.0, 1) for _ in range(60)])
    large, many = alone(address, [texts.request(1.0, 9) for _ in range(60)])
    mean = statistics.mean
    segment = (large - small) / (mean(many.segments) - mean(few.segments))
    request = small - segment * mean(few.segments)
    cold, new = alone(address, [texts.request(0.0) for _ in range(25)])
    count, tokens = mean(new.segments), mean(new.tokens)
    scored = (cold - request - segment * count - model.each * count - model.token * tokens) / count
    return Costs(
        request=request,
        segment=segment,
        scored=scored,
        forward=model.each,
        token=model.token,
        client=(few.client + many.client) / (len(few.segments) + len(many.segments)),
    )


def compare(rounds: int) -> list[dict[str, Any]]:
    """Predicted and measured requests per second at each hit rate, costs anew in each round.

    `predicted` is for the part of the machine that others left, `quiet` for all of it.
    """
    cores, rows = usable_cores(), []
    for number in range(rounds):
        texts = Texts(number)
        model = forwards(8)
        with service("--workers", "1", "--cache-bytes", str(2**28)) as address:
            costs = calibrate(texts, address, model)
        machine = Machine(cores=cores, lanes=cores, pair=model.pair)
        with service("--cache-bytes", str(2**28)) as address:
            send(address, texts.warm(), 1)
            for hit, count in HITS.items():
                requests = [texts.request(hit) for _ in range(count)]
                before, own = busy(), spent(address)
                measured = send(address, requests, CLIENTS)
                ours = spent(address) - own + measured.client
                others = max(0.0, busy() - before - ours) / (measured.seconds * cores)
                predicted = Simulation(costs, machine).closed(measured.asked(), CLIENTS)
                row = {
                    "hit": hit,
                    "found": measured.hit_rate,
                    "measured": measured.per_second,
                    "quiet": predicted.per_second,
                    "predicted": predicted.per_second * (1 - others),
                    "others": others,
                    "tokens": statistics.mean(measured.tokens),
                    "segments": statistics.mean(measured.segments),
                }
                print(" ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)
                rows.append({**row, "costs": asdict(costs), "pair": machine.pair})
    return rows


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """By hit rate: medians of what was measured and predicted, and of the one in the other."""
    out = {}
    for hit in HITS:
        some = [r for r in rows if r["hit"] == hit]
        middle = {
            k: statistics.median(r[k] for r in some) for k in ("found", "measured", "predicted", "quiet", "others")
        }
        out[str(hit)] = {**middle, "ratio": statistics.median(r["predicted"] / r["measured"] for r in some)}
    return out


def middle(rows: list[dict[str, Any]]) -> tuple[Costs, float]:
    """The median of each cost over the rounds, and of what a pair of threads does."""
    costs = {f.name: statistics.median(r["costs"][f.name] for r in rows) for f in fields(Costs)}
    return Costs(**costs), statistics.median(r["pair"] for r in rows)
