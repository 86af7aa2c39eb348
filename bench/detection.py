"""Is each text seen for what it is: files of every kind, by their suffix, beside what `detect` says of their text."""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

from laconic.compressors.content.detect import detect
from laconic.compressors.content.json import valid
from laconic.models.question_sets import rows

SUFFIXES = {
    "html.v1": ".html .htm .xhtml",
    "json.v1": ".json .jsonl .ipynb",
    "code.v1": ".py .pyi .js .mjs .cjs .ts .tsx .jsx .java .go .rs .c .h .cc .cpp .hpp .sh",
    "log.v1": ".log",
    "markdown.v1": ".md .markdown",
}
KIND = {suffix: kind for kind, names in SUFFIXES.items() for suffix in names.split()}
KINDS = (*SUFFIXES, "prose")
_LEGAL = re.compile(r"(?i)licen[cs]e|copying|notice|authors")  # plain text whatever the suffix
_TEMPLATE = re.compile(r"\{%|<%|<\?php")  # programs that write HTML
LEAST, MOST, TOGETHER = 400, 2_000_000, 10  # bytes of a file, and files of one folder


def files(roots: Sequence[Path], count: int, seed: int = 1) -> Iterator[tuple[str, str, str]]:
    """Up to `count` files of each kind, their texts all different, few of one folder; the same ones every time."""
    found = sorted(
        {
            p
            for root in roots
            for p in root.rglob("*")
            if p.suffix.lower() in KIND and p.is_file() and not p.is_symlink()
        },
        key=lambda p: hashlib.sha1(f"{seed} {p}".encode()).digest(),
    )
    taken: Counter[str] = Counter()
    beside: Counter[tuple[str, Path]] = Counter()
    seen: set[bytes] = set()
    for path in found:
        kind = KIND[path.suffix.lower()]
        if taken[kind] >= count or beside[kind, path.parent] >= TOGETHER or not LEAST <= path.stat().st_size <= MOST:
            continue
        body = path.read_bytes()
        mark = hashlib.sha1(body).digest()
        text = body.decode("utf-8", "replace")
        if mark in seen or "\0" in text or not fair(kind, path, text):
            continue
        seen.add(mark)
        taken[kind] += 1
        beside[kind, path.parent] += 1
        yield kind, str(path), text


def passages(data: Path, count: int) -> Iterator[tuple[str, str, str]]:
    """Up to `count` passages of each set of a data folder: prose."""
    for path in sorted(data.glob("*.passages.jsonl.xz")):
        if "kv-" in path.name:  # those are JSON
            continue
        for row in islice(rows(path), count):
            yield "prose", row["pid"], row["text"]


_FORMS = (
    "{y}-{m:02}-{d:02} {t},{n:03} {level} [{name}] {text}",
    "{y}-{m:02}-{d:02}T{t}.{n:03}Z {level} {name}: {text}",
    "{mon} {d:2} {t} host{n} {name}[{n}]: {text}",
    '10.0.{d}.{m} - - [{d:02}/{mon}/{y}:{t} +0000] "GET /{name}/{n} HTTP/1.1" 200 {n}',
    "{y}/{m:02}/{d:02} {t} [{level}] {n}#{d}: *{n} {text}",
    "{level}:{name}:{text}",
    "[{t}] [{name}/{level}]: {text}",
    "[{n:5}.{n:06}] {name}: {text}",
    "I{m:02}{d:02} {t}.{n:06}    {n} {name}.go:{d}] {text}",
    'time="{y}-{m:02}-{d:02}T{t}Z" level={level} msg="{text}"',
    "{y}-{m:02}-{d:02} {t}.{n:03}  {level} {n} --- [main] {name} : {text}",
    "<{d}>1 {y}-{m:02}-{d:02}T{t}Z host {name} {n} - - {text}",
)
_TEXTS = (
    "connection from 10.0.0.{} closed|job {} took 12 ms|cache miss for user {}|retry {} of 5|{} rows written|started"
)


def made(count: int) -> Iterator[tuple[str, str, str]]:
    """Logs made for the purpose, a dozen usual forms in turn, some with stack traces."""
    for i in range(count):
        draw = random.Random(i)
        lines = []
        for n in range(draw.randint(8, 200)):
            level = draw.choice(("INFO", "DEBUG", "WARN", "ERROR"))
            text = draw.choice(_TEXTS.split("|")).format(draw.randrange(10_000))
            clock = f"{n // 60 % 24:02}:{n % 60:02}:{draw.randrange(60):02}"
            when = {"y": 2026, "m": 3, "d": 1 + n % 28, "mon": "Mar", "t": clock, "n": draw.randrange(1, 1000)}
            name = draw.choice(("worker", "http", "db", "scheduler"))
            lines.append(_FORMS[i % len(_FORMS)].format(**when, level=level, name=name, text=text))
            if level == "ERROR" and i % 3 == 0:
                lines += ["Traceback (most recent call last):", '  File "run.py", line 3, in main', "ValueError: no"]
        yield "log.v1", f"made {i}", "\n".join(lines)


def fair(kind: str, path: Path, text: str) -> bool:
    """Whether a file is what its suffix says: licences are plain text, templates are no pages, JSON must parse."""
    if kind in ("json.v1", "log.v1"):  # logs of JSON are JSON
        return valid(text) == (kind == "json.v1")
    return not (_LEGAL.search(path.name) if kind == "markdown.v1" else kind == "html.v1" and _TEMPLATE.search(text))


def measure(roots: Sequence[Path], count: int, data: Path | None = None, seed: int = 1) -> dict[str, Any]:
    """How often each kind was taken for which, the files that were taken for another, characters per second."""
    confusion: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    wrong, size, spent = [], 0, 0.0
    known = list(files(roots, count, seed))
    logs = made(max(0, count - sum(kind == "log.v1" for kind, _, _ in known)))
    for kind, path, text in (*known, *logs, *(passages(data, count) if data else ())):
        begun = perf_counter()
        found = detect(text) or "prose"
        spent += perf_counter() - begun
        size += len(text)
        confusion[kind][found] += 1
        if found != kind:
            wrong.append((kind, found, path))
    right = {k: c[k] / c.total() for k, c in confusion.items() if c}
    return {
        "confusion": {k: dict(c) for k, c in confusion.items()},
        "accuracy": right,
        "wrong": wrong,
        "characters_per_second": round(size / spent) if spent else 0,
    }


def table(result: dict[str, Any]) -> str:
    """What each kind was taken for, as Markdown."""
    names = KINDS
    lines = ["| is, taken for | " + " | ".join(names) + " | right |", "|---" * (len(names) + 2) + "|"]
    for kind, taken in result["confusion"].items():
        cells = " | ".join(str(taken.get(n, 0)) for n in names)
        lines.append(f"| {kind} | {cells} | {result['accuracy'].get(kind, 0):.3f} |")
    return "\n".join(lines)
