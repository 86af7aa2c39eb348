"""`laconic bench needles`: an entry that a query asks for, somewhere in a long document: is it kept?

A maker writes one document with its needle at a random place; truncation, BM25 lines and `token.v1` run on the same
cases. An entry counts as kept if the whole of its answer is in the output.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from laconic.compressors import Budget, Compressor, Document, Request
from laconic.compressors.score_lexical import bm25
from laconic.compressors.stages import Reader
from laconic.models.question_sets import rows

WORDS = """
    account address archive basket batch bucket cache channel client cluster column contract counter credit
    customer device digest document driver event export feature filter folder gateway graph header history image
    index invoice journal ledger letter license member message metric module network notice object offer order
    packet parcel payment policy portal profile project quota record refund region report request reserve result
    route sample scope sensor server session shard shipment signal source staff station status stock stream system
    tariff tenant ticket token topic transfer usage vendor version volume voucher warehouse window worker zone
""".split()  # noqa: SIM905
VERBS = """
    check collect compare convert count create decode drop encode fetch find format group join load merge parse
    pick prune publish rank read release rename repair replace reset resolve save scan send sort split store sum
""".split()  # noqa: SIM905


@dataclass(frozen=True, kw_only=True)
class Case:
    """One document, what is asked of it, and what must be left of it."""

    text: str
    query: str
    answer: str


Maker = Callable[[random.Random], Case]


def module(draw: random.Random) -> Case:
    """A Python module of about 2,000 lines; one of its functions answers the query."""
    out = ['"""Helpers of a shop\'s back office."""\n', "import json", "import os", "from pathlib import Path\n"]
    names = draw.sample([(v, a, b) for v in VERBS for a in WORDS for b in WORDS if a != b], 160)
    wanted = draw.randrange(len(names))
    for n, (verb, a, b) in enumerate(names):
        value, odd = draw.randint(1000, 99999), draw.choice(WORDS)
        out += [f"\ndef {verb}_{a}_{b}({a}, limit=None):", f'    """{verb.capitalize()} the {b} of one {a}."""']
        out += [f"    found = lookup_{b}({a}, limit)", "    if found is None:", "        return None"]
        out += [f"    for {odd} in found:", f"        if {odd}.size > {draw.randint(2, 90)}:"]
        out += [f"            log({odd}.name)", f"    {b}_limit = {value}"]
        out += [f"    if len(found) > {b}_limit:", f"        raise ValueError('too many: {b}')"]
        out.append("    return sorted(found)")
        if n == wanted:
            query, answer = f"Which limit applies when we {verb} the {b} of one {a}?", f"{b}_limit = {value}"
    return Case(text="\n".join(out) + "\n", query=query, answer=answer)


def log(draw: random.Random) -> Case:
    """A log of 10,000 lines, one of 3,000 and more of its template; an identifier is asked for."""
    lines = 10_000
    needle = draw.randrange(lines)
    hexes = [f"{draw.getrandbits(20):05x}" for _ in range(lines)]
    wanted = f"r-{draw.randrange(10)}{draw.getrandbits(16):04x}"
    ending = f"{draw.choice(WORDS)} after {draw.randint(100, 9999)} ms"
    out = []
    for n in range(lines):
        at = f"2026-11-{1 + n // 4000:02d}T{n // 400 % 24:02d}:{n // 7 % 60:02d}:{n % 60:02d}Z"
        mine, kind = f"r-{hexes[n]}", draw.random()
        if n == needle:
            out.append(f"{at} INFO request {wanted} was finished by {ending}")
        elif kind < 0.33:
            out.append(
                f"{at} INFO request {mine} was finished by {draw.choice(WORDS)} after {draw.randint(1, 9999)} ms"
            )
        elif kind < 0.66:
            out.append(f"{at} INFO request {mine} from 10.0.{draw.randint(0, 255)}.{draw.randint(0, 255)} accepted")
        elif kind < 0.95:
            out.append(f"{at} DEBUG cache hit for {draw.choice(WORDS)}/{hexes[n]} in shard {draw.randint(0, 31)}")
        elif kind < 0.99:
            out.append(f"{at} WARN queue {draw.choice(WORDS)} holds {draw.randint(50, 900)} jobs")
        else:
            out.append(f"{at} ERROR worker {draw.randint(1, 64)} gave up on {draw.choice(WORDS)}: timed out")
    return Case(
        text="\n".join(out) + "\n",
        query=f"What happened to request {wanted}?",
        answer=f"{wanted} was finished by {ending}",
    )


def array(draw: random.Random) -> Case:
    """A JSON array of 100 to 2,000 records; one field of one of them is asked for."""
    count = draw.randint(100, 2000)
    entries = [
        {
            "id": f"{draw.choice(WORDS)[:3].upper()}-{n:04d}{draw.randint(0, 9)}",
            "name": f"{draw.choice(WORDS)} {draw.choice(WORDS)}",
            "owner": draw.choice(WORDS),
            "price": draw.randint(100, 99999) / 100,
        }
        for n in range(count)
    ]
    one = draw.choice(entries)
    return Case(
        text=json.dumps(entries, indent=draw.choice([None, 1])),
        query=f"What is the price of {one['id']}?",
        answer=f'"price": {one["price"]}',
    )


def page(draw: random.Random) -> Case:
    """An HTML page with navigation, styles and scripts around 120 paragraphs, of which one answers."""
    links = "".join(f'<li><a class="nav" href="/{w}/{draw.randint(1, 999)}">{w.title()}</a></li>' for w in WORDS)
    script = "".join(f"window.{w}=function(e){{return e.{w}+{draw.randint(1, 99)}}};" for w in draw.sample(WORDS, 60))
    names = draw.sample([(a, b) for a in WORDS for b in WORDS if a != b], 120)
    wanted = draw.randrange(len(names))
    body = []
    for n, (a, b) in enumerate(names):
        days = draw.randint(3, 900)
        body.append(
            f'<div class="c{n}"><h2>{a.title()} {b}</h2><p>Every {a} {b} is kept for {days} days. '
            f"After that the {draw.choice(WORDS)} is closed and its {draw.choice(WORDS)} is sent away.</p></div>"
        )
        if n == wanted:
            query, answer = f"For how long is a {a} {b} kept?", f"kept for {days} days"
    head = f"<head><title>Terms</title><style>.nav{{color:red}}</style><script>{script}</script></head>"
    text = f"<!DOCTYPE html><html>{head}<body><nav><ul>{links}</ul></nav><main>{''.join(body)}</main>"
    return Case(
        text=f"{text}<footer><ul>{links}</ul></footer><script>{script}</script></body></html>",
        query=query,
        answer=answer,
    )


def pairs(data: Path) -> Iterator[Case]:
    """Key-value lookup in one JSON object per line, from a folder that has such a set."""
    passages = {p["pid"]: p["text"] for p in rows(data / "kv-retrieval.passages.jsonl.xz")}
    for q in rows(data / "kv-retrieval.queries.jsonl.xz"):
        yield Case(text=passages[q["labels"][0]["pid"]], query=q["query"], answer=q["answers"][0])


MAKERS: dict[str, tuple[str, Maker]] = {
    "modules": ("code.v1", module),
    "logs": ("log.v1", log),
    "arrays": ("json.v1", array),
    "pages": ("html.v1", page),
}


def truncated(reader: Reader, text: str, budget: int) -> str:
    spans = reader.spans([text])[0]
    return text[: int(spans[budget - 1, 1])] if 0 < budget <= len(spans) else text[: len(text) * (budget > 0)]


def best_lines(reader: Reader, text: str, budget: int, query: str) -> str:
    """The lines that BM25 ranks first, whole, in source order; a document of few lines is cut at `>` and `,` too."""
    lines = text.splitlines(keepends=True)
    if len(lines) < 20:
        lines = text.replace(">", ">\n").replace("},", "},\n").splitlines(keepends=True)
    costs = np.array(reader.count(lines))
    order = np.argsort(-bm25(query, lines), kind="stable")
    kept = order[np.cumsum(costs[order]) <= budget]
    return "".join(lines[n] for n in sorted(kept.tolist()))


def measure(
    compressor: Compressor, kinds: Sequence[str], *, cases: int, slow: int, rate: float, seed: int, data: Path | None
) -> dict[str, Any]:
    """Share of needles kept per kind and method; `slow` cases of each kind are given to `token.v1` too."""
    result: dict[str, Any] = {}
    for kind in kinds:
        recipe, draws = drawn(kind, cases, seed, data)
        result[kind] = one_kind(compressor, recipe, draws, kind, slow, rate)
    return result


def drawn(kind: str, cases: int, seed: int, data: Path | None) -> tuple[str, list[Case]]:
    if kind == "pairs":
        if data is None:
            raise SystemExit("the kind pairs needs --data")
        return "json.v1", [c for c, _ in zip(pairs(data), range(cases), strict=False)]
    recipe, maker = MAKERS[kind]
    return recipe, [maker(random.Random(f"{kind} {seed} {n}")) for n in range(cases)]


def one_kind(
    compressor: Compressor, recipe: str, draws: Sequence[Case], kind: str, slow: int, rate: float
) -> dict[str, Any]:
    kept: dict[str, list[bool]] = {}
    seconds: dict[str, list[float]] = {}
    reader = compressor.pipeline(recipe).reader
    tokens = []
    for n, case in enumerate(tqdm(draws, desc=kind)):
        total = reader.count([case.text])[0]
        tokens.append(total)
        budget = int(rate * total)
        for name in ("truncation", "BM25 lines", recipe, *["token.v1"] * (n < slow)):
            start = time.perf_counter()
            out = answered(compressor, reader, name, case, budget, rate)
            seconds.setdefault(name, []).append(time.perf_counter() - start)
            assert reader.count([out])[0] <= budget, f"{name} is over its budget"
            kept.setdefault(name, []).append(case.answer in out)
    return {
        "recipe": recipe,
        "tokens": int(np.median(tokens)),
        "ways": {
            name: {"cases": len(k), "kept": float(np.mean(k)), "seconds": float(np.median(seconds[name]))}
            for name, k in kept.items()
        },
    }


def answered(compressor: Compressor, reader: Reader, way: str, case: Case, budget: int, rate: float) -> str:
    if way == "truncation":
        return truncated(reader, case.text, budget)
    if way == "BM25 lines":
        return best_lines(reader, case.text, budget, case.query)
    request = Request(documents=[Document(text=case.text)], query=case.query, budget=Budget(kind="rate", value=rate))
    return compressor(request, recipe=way).text


def table(result: dict[str, Any]) -> str:
    """The figures as Markdown: share kept, cases, median seconds."""
    lines = ["| needles in | tokens | way | cases | kept | seconds |", "|---|---|---|---|---|---|"]
    for kind, found in result.items():
        for name, w in found["ways"].items():
            lines.append(
                f"| {kind} | {found['tokens']:,} | {name} | {w['cases']} | {w['kept']:.2f} | {w['seconds']:.2f} |"
            )
    return "\n".join(lines)
