"""Random requests over every route of the service, valid and not, for the soak."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .corpus import corpus, stretch

JSON, LINES = {"content-type": "application/json"}, {"content-type": "application/x-ndjson"}
GETS = (
    *("/", "/docs", "/openapi.json", "/livez", "/readyz", "/version", "/metrics", "/v1/models", "/v1/recipes"),
    *("/v1/cache", "/playground/app.js", "/playground/../keys.toml", "/nope", "/v1/nope", "/v2/compress", "//", "/%00"),
)
METHODS = ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "POST")
RECIPES = ("token.v1", "late.v1", "sentence.v1", "edu.v1", "lexical.v1", "auto.v1", "meta.v1", "tools.v1", "skill.v1")
JUNK: tuple[Any, ...] = (
    *(None, True, -1, 0, 1e308, 2**70, "", "x" * 5000, "\u0000", "é漢🙂", [], {}, [[]], {"a": {"b": 1}}, "NaN"),
    *([1] * 2000, [{}] * 500, {str(n): n for n in range(500)}),
)
TEXTS = [t.split() for t in corpus(60)]


@dataclass(frozen=True, kw_only=True)
class Made:
    """One request: its name in the result, and what is sent; `known` with the key, `leaves` the share sent of it."""

    name: str
    method: str = "POST"
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes = b""
    known: bool = True
    leaves: float = 0.0


def make(rng: random.Random) -> Made:
    """One request of any kind; now and then without its key, garbled, packed, or given up on the way."""
    made = rng.choices(KINDS, WEIGHTS)[0](rng)
    changed: dict[str, Any] = {}
    if rng.random() < 0.03:
        changed = {"known": False}
    elif made.content and rng.random() < 0.05:
        changed = {"content": garbled(rng, made.content)}
    elif made.content and rng.random() < 0.05:
        packed = gzip.compress(made.content, 1)
        changed = {"content": packed, "headers": {**made.headers, "content-encoding": rng.choice(("gzip", "br"))}}
    elif made.content and rng.random() < 0.03:
        changed = {"headers": {"content-type": rng.choice(("text/plain", "application/xml", ""))}}
    elif rng.random() < 0.03:
        changed = {"leaves": rng.random()}
    return Made(**{**vars(made), **changed})


def garbled(rng: random.Random, content: bytes) -> bytes:
    """Cut off, or with bytes that are others."""
    if rng.random() < 0.5:
        return content[: rng.randrange(len(content))]
    at = rng.randrange(len(content))
    return content[:at] + rng.randbytes(3) + content[at + 3 :]


def prose(rng: random.Random, most: int = 300) -> str:
    return " ".join(stretch(rng, TEXTS, rng.randint(1, most)))


def structured(rng: random.Random) -> str:
    """A text that is not prose."""
    # numbers come again, as words do outside: what remembers words is warm in minutes
    rows = [
        {"host": f"h{n}", "state": rng.choice(("up", "down")), "n": rng.randrange(1000) / 1000}
        for n in range(rng.randint(1, 60))
    ]
    shapes: tuple[Callable[[], str], ...] = (
        lambda: json.dumps(rows),
        lambda: "\n".join(
            f"2026-01-0{n % 9 + 1} 10:00:00 ERROR worker {r['host']} {r['state']}" for n, r in enumerate(rows)
        ),
        lambda: "<html><body>" + "".join(f"<p>{prose(rng, 20)}</p>" for _ in rows) + "</body></html>",
        lambda: "\n".join(f"| {r['host']} | {r['state']} |" for r in rows),
        lambda: "def f(x):\n    return x\n\n" * len(rows),
        lambda: rng.choice((" \n", "a", "}\n", "((", "漢", "🙂", "<p>", "- - ")) * rng.randint(1, 3000),
    )
    return rng.choice(shapes)()


def documents(rng: random.Random) -> list[dict[str, Any]]:
    found = []
    for n in range(rng.choice((0, 1, 2, 5, 5, 20))):
        one: dict[str, Any] = {"text": structured(rng) if rng.random() < 0.2 else prose(rng), "id": str(n)}
        if rng.random() < 0.3:
            one["title"] = prose(rng, 5)
        if rng.random() < 0.2:
            one["metadata"] = {"page": n, "of": ["a", {"b": None}]}
        found.append(one)
    return found


def budget(rng: random.Random) -> dict[str, Any]:
    return rng.choice(
        ({"rate": rng.uniform(0.02, 1)}, {"tokens": rng.randint(1, 500)}, {"threshold": rng.random()}, {"recall": 0.9})
    )


def body(rng: random.Random) -> dict[str, Any]:
    """A request of /v1/compress, most often one that can be answered."""
    made: dict[str, Any] = {"documents": documents(rng), "budget": budget(rng)}
    if rng.random() < 0.8:
        made["query"] = prose(rng, 12)
    if rng.random() < 0.4:
        made["recipe"] = rng.choice(RECIPES)
    if rng.random() < 0.2:
        made["unit"] = rng.choice(("token", "word", "phrase", "edu", "sentence"))
    if rng.random() < 0.2:
        made["keep"] = {
            "strings": [prose(rng, 2)],
            "patterns": [rng.choice((r"\d+", "a(?:.*b)?", "("))],
            "digits": True,
        }
    if rng.random() < 0.2:
        made["return"] = rng.sample(["text", "spans", "scores", "tree", "segments"], 2)
    if rng.random() < 0.2:
        made["timeout_ms"] = rng.choice((1, 50, 2000, 10**9))
    if rng.random() < 0.1:
        made |= {"order": "two_stage", "top_documents": 2, "ranker": rng.choice(("bm25", "nobody"))}
    if rng.random() < 0.15:
        made[rng.choice((*made, "colour"))] = rng.choice(JUNK)
    return made


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


def compress(rng: random.Random) -> Made:
    return Made(name="compress", path="/v1/compress", headers=JSON, content=dumped(body(rng)))


def messages(rng: random.Random) -> list[Any]:
    found: list[Any] = [{"role": "system", "content": "Be short."}]
    for n in range(rng.randint(0, 6)):
        text = f'<laconic rate="0.3">{prose(rng)}</laconic>' if rng.random() < 0.3 else prose(rng)
        found.append({"role": rng.choice(("user", "assistant", "tool")), "content": text, "tool_call_id": str(n)})
    if rng.random() < 0.2:
        found.append(rng.choice(JUNK))
    return [
        *found,
        {"role": "user", "content": [{"type": "text", "text": f"{prose(rng)}\n\n{prose(rng, 20)}\n\nWho?"}]},
    ]


def chat(rng: random.Random) -> Made:
    given = {"messages": messages(rng), "model": "m", "config": {"target_ratio": rng.uniform(0.1, 1)}}
    return Made(name="chat", path="/v1/compress", headers=JSON, content=dumped(given))


def passed(rng: random.Random) -> Made:
    given = {"messages": messages(rng), "model": "m"}
    return Made(name="pass-through", path="/v1/chat/completions", headers=JSON, content=dumped(given))


def hook(rng: random.Random) -> Made:
    return Made(
        name="hook", path="/compress", headers=JSON, content=dumped({"content": prose(rng), "target_ratio": 0.4})
    )


def batch(rng: random.Random) -> Made:
    lines = [dumped(body(rng)) if rng.random() < 0.9 else rng.randbytes(20) for _ in range(rng.randint(0, 8))]
    return Made(name="batch", path="/v1/compress/batch", headers=LINES, content=b"\n".join(lines))


def encode(rng: random.Random) -> Made:
    given = {
        "text": prose(rng, 120),
        "rate": rng.choice((4, 8, 0, "x")),
        "format": rng.choice(("json", "vllm", "safetensors")),
    }
    return Made(name="encode", path="/v1/encode", headers=JSON, content=dumped(given))


def expand(rng: random.Random) -> Made:
    ids = [rng.randbytes(16).hex() for _ in range(rng.randint(0, 5))] or rng.choice(JUNK)
    return Made(name="expand", path="/v1/expand", headers=JSON, content=dumped({"ids": ids}))


def get(rng: random.Random) -> Made:
    return Made(name="get", method="GET", path=rng.choice(GETS))


def odd(rng: random.Random) -> Made:
    """Any method on any path, with any body."""
    path = rng.choice((*GETS, "/v1/compress", "/v1/encode", "/v1/expand", "/compress", "/v1/compress/batch"))
    method = rng.choice(METHODS)
    if path == "/v1/cache" and method == "DELETE":
        path = "/v1/cache?key=nobody"
    return Made(name="odd", method=method, path=path, headers=JSON, content=dumped(rng.choice(JUNK)))


KINDS = (compress, chat, passed, hook, batch, encode, expand, get, odd)
WEIGHTS = (40, 8, 8, 5, 8, 4, 6, 12, 9)
