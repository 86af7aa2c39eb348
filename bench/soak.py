"""`laconic bench soak`: random valid and invalid requests over every route for minutes, and what must stay flat.

Passed where nothing was answered with a 5xx but 503 and 504, and where memory, file descriptors and event loop tasks
are no more in the last third of the run than in the second (the first is for warming up).
"""

from __future__ import annotations

import json
import random
import re
import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import httpx
from tqdm import tqdm

from .load import service
from .plots import subplots, write
from .soak_requests import Made, make

ALLOWED = (503, 504)  # of 5xx: by design
GAUGES = {
    "memory_mb": (re.compile(r"^process_resident_memory_bytes (\S+)", re.MULTILINE), 1e-6),
    "cache_mb": (re.compile(r"^laconic_cache_bytes (\S+)", re.MULTILINE), 1e-6),
    "descriptors": (re.compile(r"^process_open_fds (\S+)", re.MULTILINE), 1.0),
    "tasks": (re.compile(r"^laconic_event_loop_tasks (\S+)", re.MULTILINE), 1.0),
}
# from the second third to the last, at most; the cache is bounded by its setting, and memory judged beside it
GROWTH = {"beside_cache_mb": 0.03, "descriptors": 0.10, "tasks": 0.10}
SLACK = {"beside_cache_mb": 8.0, "descriptors": 4.0, "tasks": 4.0}  # and as much in absolute terms is none


@dataclass
class Seen:
    """What came of the requests: answers by route and status, those that should not have been, and the gauges."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: list[dict[str, Any]] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)
    samples: list[dict[str, float]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, made: Made, answer: httpx.Response) -> None:
        with self.lock:
            self.answers[made.name, answer.status_code] += 1
            if answer.status_code >= 500 and answer.status_code not in ALLOWED:
                self.wrong.append({"request": made.name, "status": answer.status_code, "answer": answer.text[:300]})


class Model(BaseHTTPRequestHandler):
    """The upstream of the chats: says a word, at once."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        said = json.dumps({"choices": [{"message": {"role": "assistant", "content": "Ada."}}]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def upstream() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()


def soak(*, minutes: float, threads: int, seed: int, out: Path) -> dict[str, Any]:
    """Run it; the result says whether it `passed`, and why not."""
    from laconic.service.keys import new

    seen, key = Seen(), new("soak")
    with TemporaryDirectory() as folder, upstream() as model:
        file = Path(folder, "keys.toml")
        file.write_text(key[1].replace('["compress"]', '["compress", "chat", "admin"]'))
        # a cache that is full before the first third is over
        flags = ["--api-keys-file", str(file), "--upstream-url", model, "--cache-bytes", str(8 << 20)]
        with service(*flags, "--expand-ttl-seconds", "60") as address:
            end = time.monotonic() + 60 * minutes
            workers = [
                threading.Thread(target=send, args=(address, key[0], seed + n, end, seen)) for n in range(threads)
            ]
            for w in workers:
                w.start()
            watch(address, key[0], end, seen)
            for w in workers:
                w.join()
    found = {name: thirds(seen.samples, name) for name in (*GAUGES, "beside_cache_mb")}
    grown = [n for n, most in GROWTH.items() if rise(found[n]) > max(SLACK[n], most * found[n]["second"])]
    return {
        "minutes": minutes,
        "requests": sum(seen.answers.values()),
        "answers": {f"{name} {status}": n for (name, status), n in sorted(seen.answers.items())},
        "statuses": dict(sorted(Counter(s for (_, s), n in seen.answers.items() for _ in range(n)).items())),
        "lost": dict(seen.lost),
        "wrong": seen.wrong[:20],
        **found,
        "grown": grown,
        "passed": not seen.wrong and not grown,
        "plot": str(plot(seen.samples, out / "soak.png")),
    }


def send(address: str, key: str, seed: int, end: float, seen: Seen) -> None:
    """One client: a request at a time, of any kind, until `end`."""
    rng = random.Random(seed)
    with httpx.Client(base_url=address, timeout=120) as client:
        while time.monotonic() < end:
            made = make(rng)
            if made.leaves:
                leave(address, key, made)
                continue
            headers = {"authorization": f"Bearer {key}", **made.headers} if made.known else made.headers
            try:
                answer = client.request(made.method, made.path, headers=headers, content=made.content)
            except httpx.HTTPError as e:
                with seen.lock:
                    seen.lost[f"{made.name} {type(e).__name__}"] += 1
                continue
            seen.note(made, answer)


def leave(address: str, key: str, made: Made) -> None:
    """Send a request, or half of it, and hang up without an answer."""
    parts = urlsplit(address)
    head = f"{made.method} {made.path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
    head += "".join(f"{k}: {v}\r\n" for k, v in made.headers.items())
    raw = f"{head}content-length: {len(made.content)}\r\n\r\n".encode() + made.content
    with suppress(OSError), socket.create_connection((parts.hostname or "", parts.port or 80), 5) as s:
        s.sendall(raw[: int(len(raw) * made.leaves)])
        time.sleep(0.02)


def watch(address: str, key: str, end: float, seen: Seen) -> None:
    """The gauges, every two seconds."""
    start, total = time.monotonic(), end - time.monotonic()
    bar = tqdm(total=round(total), unit="s")
    with httpx.Client(base_url=address, headers={"authorization": f"Bearer {key}"}, timeout=60) as client:
        while (left := end - time.monotonic()) > 0:
            with suppress(httpx.HTTPError):
                text = client.get("/metrics").text
                read = {n: float(m[1]) * by for n, (p, by) in GAUGES.items() if (m := p.search(text))}
                if "memory_mb" in read and "cache_mb" in read:
                    read["beside_cache_mb"] = read["memory_mb"] - read["cache_mb"]
                seen.samples.append({"at": time.monotonic() - start, **read})
            bar.update(round(total - left) - bar.n)
            time.sleep(2)
    bar.close()


def thirds(samples: list[dict[str, float]], name: str) -> dict[str, float]:
    """Medians of a gauge in the second and the last third of the run."""
    values = [s[name] for s in samples if name in s]
    third = len(values) // 3
    if not third:
        return {"second": 0.0, "last": 0.0}
    return {"second": statistics.median(values[third : 2 * third]), "last": statistics.median(values[2 * third :])}


def rise(thirds: dict[str, float]) -> float:
    return thirds["last"] - thirds["second"]


def plot(samples: list[dict[str, float]], path: Path) -> Path:
    """The gauges over the run."""
    figure, axes = subplots(ncols=len(GAUGES), figsize=(11, 3.2))
    for axis, name in zip(axes, GAUGES, strict=True):
        rows = [(s["at"] / 60, s[name]) for s in samples if name in s]
        axis.plot([x for x, _ in rows], [y for _, y in rows])
        axis.set(title=name.replace("_", " "), xlabel="minutes", ylim=(0, None))
        axis.grid(alpha=0.3)
    return write(figure, path)
