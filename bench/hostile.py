"""`laconic bench hostile`: what is meant to stall a service is sent to one, and measured who has to wait for it.

Each shape is one body of a tenant with `timeout_ms`; meanwhile /livez is asked over and over, and another tenant sends
small requests. A shape passes if it is answered or refused within its time and a grace, and the others are not delayed.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from .load import service
from .shapes import SHAPES, Asked

GRACE, SILENT, SMALL = 0.25, 0.1, 1.0  # seconds: beyond its timeout, of /livez, for another tenant's request
OTHER = {"text": "It rained all day. The treaty was signed by Ada.", "query": "Who signed?", "timeout_ms": 10_000}


def lists(item: str) -> Callable[[int], str]:
    return lambda n: f'{{"documents": [{",".join([item] * (n // (len(item) + 1)))}]}}'


def chat(content: Any) -> str:
    return json.dumps({"messages": [{"role": "user", "content": content}]})


def fields(n: int) -> str:
    return f'{{"text": "a", {",".join(f"{chr(34)}k{i}{chr(34)}:1" for i in range(n // 11))}}}'


def deep(n: int) -> str:
    return '{"documents": [{"text": "a", "metadata": ' + '{"a":' * (n // 6) + "1" + "}" * (n // 6) + "}]}"


PART = {"type": "text", "text": "<laconic>one</laconic>"}
BODIES: dict[str, Callable[[int], str]] = {  # of so many bytes, about
    "numbers for documents": lists("1"),
    "lists for documents": lists("[[]]"),
    "90,000 numbers": lambda n: lists("1")(180_000),
    "empty documents": lists('{"text":""}'),
    "unknown fields": fields,
    "9,000 unknown fields": lambda n: fields(99_000),
    "deep metadata": deep,
    "marked parts": lambda n: chat([PART] * (n // len(json.dumps(PART)))),
    "9,000 marked parts": lambda n: chat([PART] * 9000),
    "marks in one text": lambda n: chat("<laconic>a</laconic>" * (n // 20)),
    "half a surrogate pair": lambda n: '{"text": "\\ud800' + "a " * (n // 2) + '"}',
}


def bodies(size: int, timeout_ms: int, texts: bool) -> Iterator[tuple[str, bytes]]:
    """Every body by its name, with `texts` those that bring the shapes of `bench.shapes` as well."""
    for name, body in BODIES.items():
        yield name, body(size).encode()
    for name, shape in SHAPES.items() if texts else ():
        yield name, written(shape(size // 3 if "\\u" in json.dumps(shape(100).texts) else size), timeout_ms)


def written(asked: Asked, timeout_ms: int) -> bytes:
    """A shape as a body, of no more documents than a request may have."""
    titles = asked.titles or [""] * len(asked.texts)
    pairs = list(zip(asked.texts, titles, strict=True))[:1000]
    documents = [{"text": text, **({"title": title[:2000]} if title else {})} for text, title in pairs]
    keep = {"strings": [s[:1000] for s in asked.strings[:200]], "patterns": list(asked.patterns)}
    whole = {"documents": documents, "query": asked.query[:100_000], "keep": keep, "separator": asked.separator}
    return json.dumps({**whole, "timeout_ms": timeout_ms}).encode()


@contextmanager
def meanwhile(address: str, key: str) -> Iterator[dict[str, float]]:
    """The longest silence of /livez, and the longest small request, in seconds; known once the block is left."""
    found, over = {"livez": 0.0, "small": 0.0}, threading.Event()

    def watch(name: str, ask: Callable[[httpx.Client], httpx.Response], pause: float) -> None:
        with httpx.Client(base_url=address, timeout=60, headers={"authorization": f"Bearer {key}"}) as client:
            while not over.is_set():
                began = time.monotonic()
                status = ask(client).status_code
                found[name] = max(found[name], time.monotonic() - began if status == 200 else 60.0)
                over.wait(pause)

    asks = {"livez": (lambda c: c.get("/livez"), 0.01), "small": (lambda c: c.post("/v1/compress", json=OTHER), 0.2)}
    threads = [threading.Thread(target=watch, args=(name, *how)) for name, how in asks.items()]
    for t in threads:
        t.start()
    try:
        time.sleep(0.1)
        yield found
    finally:
        over.set()
        for t in threads:
            t.join()


def measure(size: int, timeout_ms: int, texts: bool, only: list[str], flags: list[str]) -> dict[str, Any]:
    """A row for each shape, and whether all `passed`."""
    from laconic.service.keys import new

    rows: dict[str, dict[str, Any]] = {}
    with TemporaryDirectory() as folder:
        file, (bad, bad_lines), (good, good_lines) = Path(folder, "keys.toml"), new("hostile"), new("other")
        file.write_text(bad_lines + "\n" + good_lines)
        # bodies without a timeout of their own have the service's
        limits = ["--api-keys-file", str(file), "--timeout-ms", str(timeout_ms)]
        with service(*limits, *flags) as address:
            httpx.post(f"{address}/v1/compress", json=OTHER, headers={"authorization": f"Bearer {good}"}, timeout=60)
            head = {"authorization": f"Bearer {bad}", "content-type": "application/json"}
            for name, raw in bodies(size, timeout_ms, texts or bool(only)):
                if only and name not in only:
                    continue
                with meanwhile(address, good) as found:
                    began = time.monotonic()
                    status = httpx.post(f"{address}/v1/compress", content=raw, headers=head, timeout=600).status_code
                    took = time.monotonic() - began
                slow = took > timeout_ms / 1000 + GRACE
                good_row = not slow and found["livez"] < SILENT and found["small"] < SMALL and status < 505
                rows[name] = {"bytes": len(raw), "status": status, "seconds": took, **found, "passed": good_row}
    return {"shapes": rows, "passed": all(r["passed"] for r in rows.values())}


def table(result: dict[str, Any]) -> str:
    """Markdown."""
    lines = [
        "| shape | bytes | status | answered, s | /livez, ms | another tenant, ms | |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, r in result["shapes"].items():
        figures = f"{r['seconds']:.2f} | {1000 * r['livez']:.0f} | {1000 * r['small']:.0f}"
        lines.append(f"| {name} | {r['bytes']:,} | {r['status']} | {figures} | {'' if r['passed'] else 'no'} |")
    return "\n".join(lines)
