"""Does `meta.v1` give back every text, and what does it save? Real files by suffix; generated logs and JSON."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from laconic.compressors import Reader, restore
from laconic.compressors.lossless import code

KINDS = {
    "text": (".md", ".rst", ".txt", "copyright", "README", "LICENSE", "METADATA", "changelog"),
    "code": (".py", ".pyi", ".js", ".mjs", ".ts", ".c", ".h", ".hpp", ".sh", ".css"),
    "json": (".json",),
    "html": (".html", ".htm"),
    "log": (".log",),
}


def kind_of(path: Path) -> str | None:
    return next((k for k, ends in KINDS.items() if path.name.endswith(ends)), None)


def files(given: Iterable[Path]) -> Iterator[Path]:
    """The files given, and those below the folders given, in one order."""
    for path in given:
        yield from sorted(p for p in path.rglob("*") if p.is_file() and not p.is_symlink()) if path.is_dir() else [path]


def texts(given: Iterable[Path], longest: int, each: int) -> dict[str, list[str]]:
    """Different texts of UTF-8 files by kind, cut to `longest` characters; up to `each` of a kind, drawn at random."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in files(given):
        if kind := kind_of(path):
            found[kind].append(path)
    rng, seen = random.Random(1), set()
    out: dict[str, list[str]] = {k: [] for k in KINDS}
    for kind, paths in found.items():
        for path in rng.sample(paths, len(paths)):
            if len(out[kind]) == each:
                break
            try:
                text = path.read_text(encoding="utf-8")[:longest]
            except (UnicodeDecodeError, OSError):
                continue
            name = hashlib.blake2b(text.encode()).digest()
            if text.strip() and name not in seen:
                seen.add(name)
                out[kind].append(text)
    return out


def generated(count: int) -> dict[str, list[str]]:
    """Logs of a service and answers of an API, of 1 to 200 lines or items."""
    rng = random.Random(2)
    words = "alpha beta gamma delta cache lock queue index shard user order page lease token merge".split()  # noqa: SIM905

    def line(n: int) -> str:
        level = rng.choices(("INFO", "DEBUG", "WARNING", "ERROR"), (70, 20, 8, 2))[0]
        said = rng.choice(("handled request", "opened connection to", "evicted", "retried"))
        at = f"2026-11-{rng.randint(1, 28):02d} {rng.randrange(24):02d}:{n % 60:02d}:{rng.randrange(60):02d}"
        return (
            f"{at} {level} [worker-{rng.randrange(8)}] {said} r-{rng.randrange(1 << 20):05x} in {rng.randrange(900)} ms"
        )

    def item(n: int) -> dict[str, Any]:
        tags = rng.sample(words, rng.randint(0, 3))
        return {"id": n, "name": " ".join(rng.sample(words, 2)), "score": round(rng.random(), 4), "tags": tags}

    sizes = [rng.randint(1, 200) for _ in range(2 * count)]
    return {
        "generated log": ["\n".join(map(line, range(n))) for n in sizes[:count]],
        "generated json": [
            json.dumps([item(i) for i in range(n)], indent=rng.choice((None, 2))) for n in sizes[count:]
        ],
    }


def measure(reader: Reader, given: Iterable[Path], longest: int, each: int, made: int) -> dict[str, Any]:
    """Per kind: documents, how many came back to the letter, how many were coded, and tokens saved."""
    kinds = {**texts(given, longest, each), **generated(made)}
    out: dict[str, Any] = {}
    with tqdm(total=sum(map(len, kinds.values())), unit="document") as bar:
        for kind, documents in kinds.items():
            rows = []
            for text in documents:
                start = time.perf_counter()
                coded = code(text, reader)
                seconds = time.perf_counter() - start
                before, after = reader.count([text, coded])
                rows.append((restore(coded) == text, coded != text, before, after, seconds))
                bar.update()
            if rows:
                out[kind] = summary(np.array(rows, np.float64))
    return {"reader": reader.name, "longest": longest, "kinds": out}


def summary(rows: np.ndarray) -> dict[str, Any]:
    same, coded, before, after, seconds = rows.T
    saved = 1 - after / np.maximum(before, 1)
    return {
        "documents": len(rows),
        "restored": int(same.sum()),
        "coded": int(coded.sum()),
        "more_tokens": int((after > before).sum()),
        "tokens": int(before.sum()),
        "saved": round(1 - after.sum() / max(before.sum(), 1), 4),
        "median_saved": round(float(np.median(saved)), 4),
        "best_saved": round(float(saved.max()), 4),
        "tokens_per_second": round(before.sum() / seconds.sum()),
    }


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    lines = [
        "| kind | documents | restored | coded | saved of all tokens | median | best | tokens/s |",
        "|---|" + "--:|" * 7,
    ]
    for kind, r in result["kinds"].items():
        shares = " | ".join(f"{100 * r[f]:.1f} %" for f in ("saved", "median_saved", "best_saved"))
        counts = f"{r['documents']:,} | {r['restored']:,} | {r['coded']:,}"
        lines.append(f"| {kind} | {counts} | {shares} | {r['tokens_per_second']:,} |")
    return "\n".join(lines)
