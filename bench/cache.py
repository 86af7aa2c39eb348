"""What the cache is worth: identical bytes, time saved, segments reused after an edit, memory held."""

from __future__ import annotations

import ctypes
import gc
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from laconic.client.wire import CompressRequest
from laconic.compressors import Budget, Compressor, Document, Request, Result
from laconic.compressors.split import SentenceSplitter
from laconic.compressors.units import sentences
from laconic.models import Work
from laconic.service.cache import Lru, Remote, Tiers
from laconic.service.handle import answer

from .budgets import QUERIES
from .corpus import corpus

DOCUMENTS, TOKENS = 20, 300  # of a timed request
PER_TEXT = 20  # budgets and units tried on each request
L1 = 256 * 1024 * 1024


def cut(compressor: Compressor, rng: random.Random, texts: Sequence[str], tokens: int) -> str:
    """A random passage of so many tokens of the model."""
    text = rng.choice(texts)
    spans = compressor.model().tokenizer.encode([text])[0].spans
    start = rng.randrange(max(1, len(spans) - tokens))
    last = min(start + tokens, len(spans)) - 1
    return text[int(spans[start, 0]) : int(spans[last, 1])]


def identical(bare: Compressor, cached: Compressor, cases: int, recipe: str) -> dict[str, Any]:
    """Random documents, budgets and units, with the cache and without: how often anything at all differs."""
    rng, texts = random.Random(8), corpus(200)
    different = forwards = 0
    for _ in tqdm(range(cases // PER_TEXT), desc=f"identical, {recipe}", unit="document set"):
        passages = [cut(bare, rng, texts, rng.randint(5, 90)) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
        given = [Document(id=str(i), text=t, title=rng.choice((None, "A title"))) for i, t in enumerate(passages)]
        query = rng.choice(QUERIES)
        known = False  # a budget that keeps everything asks no model
        for _ in range(PER_TEXT):
            request = replace(varied(rng), documents=given, query=query)
            one, other = bare(request, recipe=recipe), cached(request, recipe=recipe)
            different += not equal(one, other)
            forwards += other.segments - other.cached if known else 0
            known = known or other.segments > 0
            rng.shuffle(given)
    return {"cases": cases // PER_TEXT * PER_TEXT, "different": different, "forwards_after_the_first": forwards}


def varied(rng: random.Random) -> Request:
    budgets = [
        Budget(kind="rate", value=round(rng.uniform(0.05, 0.95), 3)),
        Budget(kind="tokens", value=rng.randint(5, 90)),
    ]
    return Request(
        documents=[],
        budget=rng.choice([*budgets, Budget(kind="threshold", value=rng.random())]),
        unit=rng.choice(["token", "word", "sentence"]),
        order=rng.choice(["source", "relevance", "two_stage"]),
    )


def equal(a: Result, b: Result) -> bool:
    """Whether everything but the cache's own figures is the same."""
    for x, y in zip(a.documents, b.documents, strict=True):
        same = x.spans == y.spans and x.text == y.text and x.score == y.score
        both = x.scores is not None and y.scores is not None
        if not same or (both and x.scores.tobytes() != y.scores.tobytes()):  # type: ignore[union-attr]
            return False
    return (a.text, a.order, a.tokens_out, a.warnings) == (b.text, b.order, b.tokens_out, b.warnings)


def timed(compressor: Compressor, recipe: str, passages: Sequence[str], query: str, rate: float) -> tuple[float, int]:
    """Milliseconds from a parsed request to an answer in bytes, and segments the cache had."""
    documents = [{"id": str(i), "text": t} for i, t in enumerate(passages)]
    body = CompressRequest.model_validate(
        {"documents": documents, "query": query, "budget": {"rate": rate}, "recipe": recipe}
    )
    start = time.perf_counter()
    found = answer(compressor, body, "bench", Work())
    found.model_dump_json(exclude_none=True, by_alias=True)
    return (time.perf_counter() - start) * 1000, found.usage.cache_hits


def speed(open_with: Callable[[Tiers], Compressor], redis_url: str | None, rounds: int) -> dict[str, Any]:
    """p50 in ms of a request of DOCUMENTS x TOKENS: cold, warm in memory or in Redis only, with a new question."""
    rng, texts = random.Random(9), corpus(200)
    compressor = open_with(Tiers(Lru(L1)))
    sets = [[cut(compressor, rng, texts, TOKENS) for _ in range(DOCUMENTS)] for _ in range(rounds)]
    timed(compressor, "token.v1", sets[0][:1], "ready?", 0.5)
    timed(compressor, "late.v1", sets[0][:1], "ready?", 0.5)
    out: dict[str, Any] = {"documents": DOCUMENTS, "tokens": TOKENS, "rounds": rounds}
    question = "which exception is raised when the file cannot be opened?"
    runs: list[tuple[str, str, Callable[[int], str], float]] = [
        ("token cold", "token.v1", lambda n: question, 0.3),
        ("token warm, other rate", "token.v1", lambda n: question, 0.4),
        ("late cold", "late.v1", lambda n: question, 0.3),
        ("late warm, other rate", "late.v1", lambda n: question, 0.4),
        ("late warm, new question", "late.v1", lambda n: f"what does method number {n} return?", 0.3),
    ]
    for name, recipe, query, rate in runs:
        found = [timed(compressor, recipe, s, query(n), rate) for n, s in enumerate(tqdm(sets, desc=name))]
        out[name] = round(statistics.median(ms for ms, _ in found), 2)
    if redis_url:
        store = Tiers(Lru(0), Remote(redis_url, 600))
        remote = store.remote
        assert remote is not None
        behind = open_with(store)
        for s in sets:
            timed(behind, "token.v1", s, question, 0.3)
            while remote.waiting:
                time.sleep(0.01)
        time.sleep(0.2)
        segments = sum(len(s) for s in sets)
        found = [timed(behind, "token.v1", s, question, 0.4) for s in tqdm(sets, desc="token warm, Redis only")]
        assert sum(held for _, held in found) >= segments, "Redis did not hold what was written"
        out["token warm, Redis only"] = round(statistics.median(ms for ms, _ in found), 2)
        behind.close()
    compressor.close()
    return out


def reuse(compressor: Compressor) -> dict[str, Any]:
    """Share of segments unchanged after one sentence of a long document was dropped, added, changed or moved."""
    rng = random.Random(10)
    texts = corpus(600)
    long = [" ".join(texts[i : i + 6]) for i in range(0, len(texts) - 5, 6)]
    parts = compressor.pipeline("token.v1").parts
    splitter = parts.splitter
    assert isinstance(splitter, SentenceSplitter)
    kept = count = 0
    for text in (t for t in long if len(sentences(t)) > 1):
        known = {s.text for s in splitter([Document(text=text)], [sentences(text)])}
        changed = edited(rng, text)
        after = splitter([Document(text=changed)], [sentences(changed)])
        kept, count = kept + sum(s.text in known for s in after), count + len(after)
    return {"documents": len(long), "segments": count, "reused": round(kept / count, 4)}


def edited(rng: random.Random, text: str) -> str:
    units = sentences(text)
    n, m = sorted(rng.sample(range(len(units)), 2))
    a, b, c = int(units.starts[n]), int(units.ends[n]), int(units.ends[m])
    return rng.choice(
        [
            text[:a] + text[b:],
            text[:a] + "A sentence that was not there before. " + text[a:],
            text[:a] + text[a:b].replace("e", "ee", 1) + text[b:],
            text[:a] + text[b:c] + text[a:b] + text[c:],
        ]
    )


def held(inserts: int, limit: int) -> dict[str, Any]:
    """Resident memory of a first tier filled far beyond its bound, in a process of its own, as a share of the bound."""
    code = f"from laconic.bench.cache import fill; fill({inserts}, {limit})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    low, high = map(float, done.stdout.split())
    return {"inserts": inserts, "limit": limit, "least": round(low / limit, 3), "most": round(high / limit, 3)}


def resident() -> int:
    """Bytes of this process in memory (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def fill(inserts: int, limit: int) -> None:
    """Insert values of a segment's sizes; prints the least and most resident bytes once the bound was reached.

    What was freed before, as after compiling what is imported, is given back first: it would be filled unseen.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # glibc's
    rng, lru, base = random.Random(11), Lru(limit), resident()
    seen: list[int] = []
    full = False
    for n in range(inserts):
        key = b"laconic:v1:%024d:scores:%064x" % (n % 7, n)
        before = lru.held
        lru.put({key: rng.randbytes(rng.randint(100, 900))})
        full = full or lru.held < before
        if full and n % 1000 == 0:
            seen.append(resident() - base)
    seen = seen or [resident() - base]  # too few to reach the bound
    print(min(seen), max(seen))
