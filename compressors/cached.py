"""Scores and codes of a segment computed once and kept: wrappers with the shape of the stage they wrap.

What is kept does not depend on budget, rate, unit or forced strings, so all of these are answered from one entry. A
key is a digest over length-prefixed fields of everything the value does depend on; nothing is ever invalidated.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from laconic.models import Model

from . import codec
from .flight import Flights
from .stages import Scorer
from .types import Scores, Segment

T = TypeVar("T")


class Store(Protocol):
    """Where values are kept. It knows whose request this is, so that tenants share nothing they should not."""

    flights: Flights[Any]
    emptied: int  # how often all that it held was forgotten

    def key(self, kind: str, digest: bytes) -> bytes: ...

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]: ...

    def put(self, values: Mapping[bytes, bytes]) -> None: ...

    def drop(self, key: bytes) -> None:
        """Forget a value that does not decode."""
        ...

    def close(self) -> None: ...


def digest(*fields: bytes) -> bytes:
    """blake2b-256 over length-prefixed fields: no two lists of fields are the same bytes."""
    joined = b"".join([part for field in fields for part in (len(field).to_bytes(8, "little"), field)])
    return hashlib.blake2b(joined, digest_size=32).digest()


def fingerprint(model: Model, version: str) -> bytes:
    """Digest of weights, tokenizer, card, numeric profile and the version of the algorithm around them."""
    card = model.card
    facts = {
        "version": version,
        "profile": model.profile,
        "weights": {name: card.sha256[name] for name in sorted(card.sha256)},
        "numbers": [card.segment_tokens, card.query_tokens, card.title_tokens, card.relevance_weight],
        "late": [card.late.code, card.late.relevance_weight] if card.late else None,
        "edu": [list(card.edu.distance), list(card.edu.keep)] if card.edu else None,
        "evaluators": [list(head) for head in card.evaluators],
    }
    return digest(json.dumps(facts, sort_keys=True).encode())


def body(s: Segment) -> tuple[bytes, bytes]:
    """What of a segment its value depends on: title and text, not where it stands."""
    return (s.title or "").encode("utf-8", "surrogatepass"), s.text.encode("utf-8", "surrogatepass")


def through(
    store: Store,
    keys: Sequence[bytes],
    load: Callable[[bytes], T | None],
    dump: Callable[[T], bytes],
    compute: Callable[[list[bytes]], list[T]],
) -> tuple[dict[bytes, T], set[bytes]]:
    """Values by key, from the store or computed and put there, and which of them came from the store."""
    distinct = list(dict.fromkeys(keys))
    out: dict[bytes, T] = {}
    for key, value in zip(distinct, store.get(distinct), strict=True):
        if value is not None:
            if (loaded := load(value)) is not None:
                out[key] = loaded
            else:
                store.drop(key)
    held = set(out)

    def fresh(missing: list[bytes]) -> list[T]:
        made = compute(missing)
        store.put({key: dump(value) for key, value in zip(missing, made, strict=True)})
        return made

    return out | store.flights.run([k for k in distinct if k not in held], fresh), held


class CachedScorer:
    """A scorer whose segments are looked up first; equal segments of one request are scored once."""

    def __init__(self, inner: Scorer, store: Store, mark: bytes) -> None:
        self.inner, self.store, self.mark = inner, store, mark

    def __call__(self, query: str | None, segments: Sequence[Segment]) -> list[Scores]:
        asked = bool(query and query.strip())
        question = (query or "").encode("utf-8", "surrogatepass") if asked else b""
        keys = [self.store.key("scores", digest(self.mark, question, *body(s))) for s in segments]
        wanted = dict(zip(keys, segments, strict=True))

        def compute(missing: list[bytes]) -> list[Scores]:
            found = self.inner(query, [replace(wanted[k], start=0) for k in missing])
            return [replace(s, cached=False) for s in found]

        values, held = through(self.store, keys, load_scores, dump_scores, compute)
        out = []
        for key, s in zip(keys, segments, strict=True):
            found = values[key]
            pieces = found.pieces + s.start if s.start else found.pieces
            out.append(Scores(pieces=pieces, keep=found.keep, relevance=found.relevance, cached=key in held))
        return out


def load_scores(value: bytes) -> Scores | None:
    if (found := codec.unpack_scores(value)) is None:
        return None
    return Scores(pieces=found[0], keep=found[1], relevance=found[2])


def dump_scores(s: Scores) -> bytes:
    return codec.pack_scores(s.pieces, s.keep, s.relevance)
