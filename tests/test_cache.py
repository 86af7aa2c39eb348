"""The cache: what is kept, under which key, for whom, and that it changes no byte of any answer."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laconic.compressors import Budget, Compressor, Document, Keep, Request, Scores, Segment, codec
from laconic.compressors.cached import CachedScorer, body, digest, fingerprint
from laconic.compressors.flight import Flights
from laconic.compressors.score_token import quantize
from laconic.models import Cancelled, LateFacts, Model, Work, current
from laconic.service.cache import Lru, Tiers
from laconic.service.cache.breaker import FAILURES, Breaker
from laconic.service.cache.lru import size

from .test_scheduler import under, until

SECRET = b"a secret of thirty-two bytes or so"


def store(limit: int = 1 << 20, **known: Any) -> Tiers:
    return Tiers(Lru(limit), **known)


def logits(levels: Sequence[int]) -> np.ndarray:
    return codec.logit(np.array(levels, np.uint8))


# --- what is kept -----------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9)), max_size=40),
    st.integers(-2, 70_000),
    st.lists(st.integers(0, 255), min_size=41, max_size=41),
)
def test_scores_come_back_exactly(steps: list[tuple[int, int]], jump: int, levels: list[int]) -> None:
    """Any spans (far apart, or several tokens of one character) and any levels survive the bytes."""
    at, spans = max(0, jump), []
    for gap, length in steps:
        spans.append((at + gap, at + gap + length))
        at = max(0, at + gap + (length if jump >= 0 else 0))
    pieces = np.array(spans, np.int64).reshape(-1, 2)
    keep, relevance = logits(levels[: len(spans)]), float(logits(levels[-1:])[0])
    found = codec.unpack_scores(codec.pack_scores(pieces, keep, relevance))
    assert found is not None
    assert np.array_equal(found[0], pieces)
    assert np.array_equal(found[1], keep)
    assert found[2] == relevance


@given(st.integers(0, 30), st.integers(0, 5), st.integers(1, 40), st.integers(0, 2**31))
def test_codes_come_back_exactly(count: int, more: int, width: int, seed: int) -> None:
    """Text spans, and ids and codes of the whole input, survive the bytes."""
    rng = np.random.default_rng(seed)
    spans = np.sort(rng.integers(0, 5000, 2 * count)).reshape(-1, 2)
    ids = rng.integers(0, 65_536, count + more)
    codes = rng.integers(-128, 128, (count + more, width)).astype(np.int8)
    found = codec.unpack_codes(codec.pack_codes(spans, ids, codes), width)
    assert found is not None
    assert all(np.array_equal(a, b) for a, b in zip(found, (spans, ids, codes), strict=True))


@given(st.binary(max_size=200))
def test_garbage_does_not_decode_into_trouble(value: bytes) -> None:
    """Any bytes: None or arrays that belong together, never an exception."""
    found = codec.unpack_scores(value)
    assert found is None or len(found[0]) == len(found[1])
    codes = codec.unpack_codes(value, 8)
    assert codes is None or len(codes[1]) == len(codes[2])
    assert codec.unseal(b"key", value, SECRET) is None


@given(st.binary(max_size=100), st.data())
def test_a_seal_binds_value_key_and_secret(value: bytes, data: st.DataObject) -> None:
    """Opened only whole, under its key, with its secret."""
    sealed = codec.seal(b"key", value, SECRET)
    assert codec.unseal(b"key", sealed, SECRET) == value
    assert codec.unseal(b"kez", sealed, SECRET) is None
    assert codec.unseal(b"key", sealed, b"another") is None
    assert codec.unseal(b"key", sealed[:-1], SECRET) is None
    at = data.draw(st.integers(0, len(sealed) - 1))
    assert codec.unseal(b"key", sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], SECRET) is None


# --- under which key --------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=6), max_size=5), st.lists(st.binary(max_size=6), max_size=5))
def test_digests_do_not_collide_by_joining(a: list[bytes], b: list[bytes]) -> None:
    """Length prefixes: other fields are another digest, even where their bytes joined are the same."""
    assert (digest(*a) == digest(*b)) == (a == b)


def test_every_part_of_a_model_is_in_its_fingerprint(fake_model: Model) -> None:
    """Other weights, tokenizer, profile, window, numbers or algorithm: other keys, all of them."""
    card = replace(fake_model.card, sha256={"w.onnx": "a" * 64, "tokenizer.json": "b" * 64})
    base = replace(fake_model, card=card)
    others = [
        fingerprint(base, "token.2"),
        fingerprint(replace(base, profile="cpu-fp32"), "token.1"),
        *(
            fingerprint(replace(base, card=changed), "token.1")
            for changed in (
                replace(card, sha256={**card.sha256, "w.onnx": "c" * 64}),
                replace(card, sha256={**card.sha256, "tokenizer.json": "c" * 64}),
                replace(card, segment_tokens=128),
                replace(card, query_tokens=32),
                replace(card, title_tokens=1),
                replace(card, relevance_weight=0.9),
                replace(card, late=LateFacts(files={}, code=96)),
            )
        ),
    ]
    marks = {fingerprint(base, "token.1"), *others}
    assert len(marks) == 1 + len(others)
    assert fingerprint(replace(base), "token.1") in marks


def test_what_a_value_depends_on_is_in_its_key() -> None:
    """Title and text are, place and document are not."""
    s = Segment(document=0, start=5, text="a", title="b")
    assert body(s) == body(replace(s, document=3, start=9))
    assert (
        len({body(x) for x in (s, replace(s, text="c"), replace(s, title="c"), replace(s, text="b", title="a"))}) == 4
    )
    assert body(replace(s, title="x\ud800")) != body(replace(s, title="x?"))


# --- the wrapper ------------------------------------------------------------------------------------------------


class Counting:
    """A scorer that counts what it is asked, and can be held or fail."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.calls = 0
        self.open, self.began = threading.Event(), threading.Semaphore(0)
        self.open.set()
        self.error: Exception | None = None

    def __call__(self, query: str | None, segments: Sequence[Segment]) -> list[Scores]:
        self.calls += bool(segments)
        self.asked += [s.text for s in segments]
        self.began.release()
        self.open.wait(10)
        if self.error:
            raise self.error
        out = []
        for s in segments:
            spans = np.array([(i, i + 1) for i in range(len(s.text))], np.int64).reshape(-1, 2)
            keep = quantize(np.array([ord(c) % 16 - 8 + len(query or "") for c in s.text], np.float32))
            out.append(Scores(pieces=spans + s.start, keep=keep, relevance=float(len(s.text) % 8)))
        return out


def segments(*texts: str) -> list[Segment]:
    return [Segment(document=i, start=10 * i, text=t) for i, t in enumerate(texts)]


def same(a: Sequence[Scores], b: Sequence[Scores]) -> bool:
    return len(a) == len(b) and all(
        np.array_equal(x.pieces, y.pieces) and np.array_equal(x.keep, y.keep) and x.relevance == y.relevance
        for x, y in zip(a, b, strict=True)
    )


def test_hits_are_what_misses_were() -> None:
    """Second time: no call, the same scores at the new places, flagged as cached; repeats in one request are one."""
    bare, inner = Counting(), Counting()
    scorer = CachedScorer(inner, store(), b"mark")
    first = scorer("q", segments("abc", "de", "abc"))
    assert inner.asked == ["abc", "de"]
    assert same(first, bare("q", segments("abc", "de", "abc")))
    assert not any(s.cached for s in first)
    moved = [replace(s, start=s.start + 100) for s in segments("de", "abc", "new")]
    again = scorer("q", moved)
    assert inner.asked == ["abc", "de", "new"]
    assert same(again, bare("q", moved))
    assert [s.cached for s in again] == [True, True, False]
    scorer("other", segments("abc"))
    scorer(None, segments("abc"))
    scorer("  ", segments("abc"))  # blank is no query
    assert inner.asked[3:] == ["abc", "abc"]
    assert scorer("q", []) == []


def test_one_flight_for_many_requests() -> None:
    """What is being computed is waited for, not computed again."""
    inner = Counting()
    scorer = CachedScorer(inner, kept := store(), b"mark")
    inner.open.clear()
    with ThreadPoolExecutor(8) as pool:
        runs = [pool.submit(scorer, "q", segments("abc", "de")) for _ in range(8)]
        assert inner.began.acquire(timeout=5)
        until(lambda: kept.flights.joined == 14)
        inner.open.set()
        found = [r.result(5) for r in runs]
    assert inner.asked == ["abc", "de"]
    assert all(same(f, found[0]) for f in found)


def test_who_waits_does_not_depend_on_who_left() -> None:
    """The first caller leaves: the second computes; an error is everybody's, and is not kept."""
    inner = Counting()
    scorer = CachedScorer(inner, kept := store(), b"mark")
    inner.open.clear()
    inner.error = Cancelled()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(scorer, "q", segments("abc"))
        assert inner.began.acquire(timeout=5)
        second = pool.submit(scorer, "q", segments("abc"))
        until(lambda: kept.flights.joined == 1)
        inner.open.set()
        with pytest.raises(Cancelled):
            first.result(5)
        assert inner.began.acquire(timeout=5)  # the second has taken over, and leaves too
        with pytest.raises(Cancelled):
            second.result(5)
    inner.error = ValueError("no")
    with pytest.raises(ValueError, match="no"):
        scorer("q", segments("abc"))
    inner.error = None
    assert not scorer("q", segments("abc"))[0].cached


def test_a_waiter_keeps_its_own_deadline() -> None:
    """Waiting for somebody else's computation ends when one's own work does."""
    flights: Flights[int] = Flights()
    hold, work = threading.Event(), Work()
    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(flights.run, [b"k"], lambda keys: [1] if hold.wait(10) else [2])
        until(lambda: bool(flights._open))
        waiter = pool.submit(under, work, lambda: flights.run([b"k"], lambda keys: [3]))
        until(lambda: flights.joined == 1)
        work.cancel()
        with pytest.raises(Cancelled):
            waiter.result(5)
        hold.set()
        assert leader.result(5) == {b"k": 1}


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_budget_from_one_entry_is_byte_for_byte(data: st.DataObject) -> None:
    """Rates, units, forced strings and orders after the first request: no forward, the answer of an uncached run."""
    bare, kept, warm = PLAIN, KEPT, data.draw(st.sampled_from(["Who built it?", None]))
    texts = data.draw(st.lists(st.sampled_from(TEXTS), min_size=1, max_size=4))
    documents = [Document(id=str(i), text=t) for i, t in enumerate(texts)]

    def request() -> Request:
        return Request(
            documents=documents,
            query=warm,
            budget=Budget(kind="rate", value=data.draw(st.floats(0.05, 0.95))),
            unit=data.draw(st.sampled_from(["token", "word", "sentence"])),
            order=data.draw(st.sampled_from(["source", "relevance"])) if warm else "source",
            keep=Keep(digits=data.draw(st.booleans())),
            on_over_budget="warn",
        )

    first = request()
    kept(first)
    backend = kept.model().backend
    before = backend.forwards
    asked = request()
    found, expected = kept(asked), bare(asked)
    if not any(
        "no whole sentence" in w or "nothing" in w for w in found.warnings
    ):  # whose clauses are found the first time they count
        assert backend.forwards == before
    assert found.cached == found.segments == expected.segments
    assert (found.text, found.tokens_out, found.warnings) == (expected.text, expected.tokens_out, expected.warnings)
    assert [d.spans for d in found.documents] == [d.spans for d in expected.documents]
    assert [d.score for d in found.documents] == [d.score for d in expected.documents]


TEXTS = [
    "The bridge was built in 1931 by Ada. It rained all day. Nobody came to see it, and the mayor slept.",
    "Prices rose by 4 %. The committee met on 3 May. Bread was dear.",
    "Ünïcode — naïve café. 日本語の文章。 Ends here.",
    "One. Two. Three. Four. Five. Six.",
]
PLAIN, KEPT = Compressor(workers=1), Compressor(workers=1, store=store())


# --- for whom ---------------------------------------------------------------------------------------------------


def as_tenant(name: str, scorer: CachedScorer) -> bool:
    found = under(Work(key=name), lambda: scorer("q", segments("abc")))
    return bool(found[0].cached)  # type: ignore[index]


def test_tenants_share_nothing_unless_told() -> None:
    """A key's entries are not another's; with sharing on, they are."""
    scorer = CachedScorer(Counting(), store(), b"mark")
    assert [as_tenant(n, scorer) for n in ("a", "b", "a", "b", "")] == [False, False, True, True, False]
    scorer = CachedScorer(Counting(), store(shared=True), b"mark")
    assert [as_tenant(n, scorer) for n in ("a", "b", "")] == [False, True, True]


def test_namespaces_tell_no_names() -> None:
    """What stands in a key is an HMAC of the tenant's name under the secret."""
    one, other = store(secret=b"one"), store(secret=b"other")
    assert one.namespace("team-a") != other.namespace("team-a")
    assert one.namespace("team-a") == store(secret=b"one").namespace("team-a")
    current.set(Work(key="team-a"))
    key = one.key("scores", b"\x01" * 32)
    current.set(None)
    assert b"team-a" not in key
    assert key.startswith(b"laconic:v1:")
    assert key.endswith(b":scores:" + b"01" * 32)


# --- memory -----------------------------------------------------------------------------------------------------


def test_lru_forgets_the_least_used_within_its_bytes() -> None:
    """Never above the limit; what is asked for stays; too large a value is not kept; clear goes by prefix."""
    each = size(b"k0", b"x" * 100)
    lru = Lru(10 * each)
    for i in range(10):
        lru.put({b"k%d" % i: b"x" * 100})
    assert len(lru) == 10
    assert lru.get([b"k0"]) == [b"x" * 100]
    lru.put({b"new": b"x" * 100})
    assert lru.get([b"k0", b"k1", b"k2"])[1] is None
    assert lru.held <= lru.limit
    lru.put({b"big": b"x" * 2000})
    assert lru.get([b"big"]) == [None]
    assert lru.clear(b"k") == len([k for k in range(10) if k not in (1, 2)])
    lru.drop(b"new")
    lru.drop(b"never there")
    assert (len(lru), lru.held) == (0, 0)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 300)), max_size=200))
def test_lru_accounts_for_every_byte(steps: list[tuple[int, int]]) -> None:
    """What it says it holds is the sum over what is there, whatever was put over what."""
    lru = Lru(8 * 1000)
    seen: dict[bytes, bytes] = {}
    for k, n in steps:
        lru.put({b"%d" % k: b"v" * n})
        seen[b"%d" % k] = b"v" * n
    values: Mapping[bytes, bytes] = {k: v for k in seen if (v := lru.get([k])[0]) is not None}
    assert lru.held == sum(size(k, v) for k, v in values.items()) <= lru.limit
    assert all(seen[k] == v for k, v in values.items())


def test_a_breaker_opens_and_closes() -> None:
    """A few failures in a row open it; one success between them does not let it; a success closes it."""
    b = Breaker()
    for _ in range(FAILURES - 1):
        b.failure()
    b.success()
    for _ in range(FAILURES - 1):
        b.failure()
    assert (b.open, b.state) == (False, 0)
    b.failure()
    assert (b.open, b.state, b.opened) == (True, 2, 1)
    first = b.wait()
    b.probing = True
    assert b.state == 1
    b.failure()
    assert b.wait() > first
    b.success()
    assert (b.state, b.wait() >= 0) == (0, True)
