"""`auto.v1` over real files of every kind: what is kept parses, budgets are met, malformed texts break nothing."""

from __future__ import annotations

import ast
import random
import re
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from laconic.compressors import Budget, Compressor, Document, Request
from laconic.compressors.content import LAYOUTS, auto
from laconic.compressors.content.html_tree import OPTIONAL_END, VOID
from laconic.compressors.content.json import valid
from laconic.compressors.content.languages import errors, language_of, parse
from laconic.compressors.render import render
from laconic.compressors.select import closure

from .detection import SUFFIXES, files, made

RATE = 0.25
_WORDS = re.compile(r"[A-Za-z]{4,}")


class Balance(HTMLParser):
    """Counts tags that must be ended and are not, and endings of nothing."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults = 0
        self.feed(text)
        self.close()
        self.faults += sum(t not in OPTIONAL_END for t in self.open)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open[-1] != tag and self.open[-1] in OPTIONAL_END:
            self.open.pop()
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.faults += tag not in OPTIONAL_END


def parses(kind: str, text: str, out: str) -> bool | None:
    """Whether what is kept is as well formed as the text was; None where the text was not, or nobody can tell."""
    if kind == "json.v1":
        return (not out.strip() or valid(out)) if valid(text) else None
    if kind == "html.v1":
        return Balance(out).faults == 0 if Balance(text).faults == 0 else None
    if kind != "code.v1" or (language := language_of(text)) is None:
        return None
    if language.name != "python":
        return None if errors(parse(language, text)) else not errors(parse(language, out))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes are the file's own
        if not runs(text):
            return None
        return runs(out)


def runs(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def texts(roots: Sequence[Path], count: int, longest: int) -> Iterator[tuple[str, str]]:
    """Up to `count` texts of each kind of at most `longest` characters."""
    taken: Counter[str] = Counter()
    for kind, _, text in files(roots, 3 * count):
        if taken[kind] < count and len(text) <= longest:
            taken[kind] += 1
            yield kind, text
    for kind, _, text in islice(made(count), max(0, count - taken["log.v1"])):
        yield kind, text


def broken(text: str, draw: random.Random) -> str:
    """The text cut off somewhere, with some of its bytes changed."""
    raw = bytearray(text.encode("utf-8", "replace")[: draw.randrange(1, 2 * len(text) + 2)])
    for _ in range(draw.choice((0, 1, 5, 50))):
        if raw:
            raw[draw.randrange(len(raw))] = draw.choice(b"<>{}[]\"'`|#\\/\n\t \x00\xff" + bytes([draw.randrange(256)]))
    return raw.decode("utf-8", "replace")


def survives(kind: str, text: str, seed: int) -> str | None:
    """What is wrong with how a malformed text is laid out, or None."""
    for layout in (auto, LAYOUTS[kind]):
        try:
            laid = layout(text, "…")
            if laid is None:
                continue
            kept = np.random.default_rng(seed).random(len(laid.units)) < 0.2
            if laid.units.heads is not None:
                kept = closure(kept, laid.units.heads)
            spans, _ = laid.form(kept)
        except Exception as e:  # that nothing raises is what is measured
            return f"{kind}: {type(e).__name__}"
        flat = [at for span in spans for at in span]
        if flat != sorted(flat) or (flat and not 0 <= flat[0] <= flat[-1] <= len(text)):
            return f"{kind}: spans out of order"
    return None


def measure(compressor: Compressor, roots: Sequence[Path], count: int, longest: int) -> dict[str, Any]:
    """Per kind: files, those seen as their kind, parsed, within their budget; tokens/s; what broke."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    pipeline, draw, faults = compressor.pipeline("auto.v1"), random.Random(3), []
    for number, (kind, text) in enumerate(tqdm(list(texts(roots, count, longest)), unit="file")):
        query = " ".join(draw.sample(sorted(set(_WORDS.findall(text))) or ["what"], k=1)) + "?"
        request = Request(documents=[Document(text=text)], query=query, budget=Budget(kind="rate", value=RATE))
        start = time.perf_counter()
        result = pipeline(request)
        seconds = time.perf_counter() - start
        (d,) = result.documents
        ok = parses(kind, text, d.text) if d.kind == kind else None
        found[kind].append(
            {
                "seen": d.kind == kind,
                "parses": ok,
                "met": pipeline.reader.count([result.text])[0] <= RATE * result.tokens_in,
                "empty": not d.text,
                "built": render(text, d.spans, d.marks) == d.text,
                "used": result.tokens_out / max(1.0, RATE * result.tokens_in),
                "speed": result.tokens_in / seconds,
                "tokens": result.tokens_in,
            }
        )
        if fault := survives(kind, broken(text, draw), number):
            faults.append(fault)
        if ok is False:
            faults.append(f"{kind}: {number} does not parse")
    return {
        "rate": RATE,
        "longest": longest,
        "kinds": {k: summary(found[k]) for k in SUFFIXES if found[k]},
        "faults": faults,
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    judged = [r["parses"] for r in rows if r["parses"] is not None]
    return {
        "files": len(rows),
        **{f: sum(r[f] for r in rows) for f in ("seen", "met", "empty", "built", "tokens")},
        "judged": len(judged),
        "parsed": sum(judged),
        "median_used": round(float(np.median([r["used"] for r in rows])), 3),
        "median_tokens_per_second": round(float(np.median([r["speed"] for r in rows]))),
    }


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    lines = [
        "| recipe | files | seen as such | parses again | budget met | of it used | tokens/s |",
        "|---|" + "--:|" * 6,
    ]
    for kind, r in result["kinds"].items():
        parsed = f"{r['parsed']} of {r['judged']}" if r["judged"] else "–"
        counts = f"{r['files']} | {r['seen']} | {parsed} | {r['met']}"
        lines.append(f"| `{kind}` | {counts} | {100 * r['median_used']:.0f} % | {r['median_tokens_per_second']:,} |")
    return "\n".join(lines)
