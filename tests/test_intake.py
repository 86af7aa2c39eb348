"""How bodies come in, over real sockets: hostile ones are refused at once, the clock runs from the head, one parser."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from laconic.bench import hostile
from laconic.client import Client
from laconic.compressors import TooLarge
from laconic.models import Cancelled, FakeBackend, Model, ModelInput, ModelOutput, Scheduler, TextTokenizer, Work
from laconic.models.fake_backend import FAKE_CARD
from laconic.service import bodies
from laconic.service.admission import Admission, Overloaded
from laconic.service.app import create_app
from laconic.service.batch import Lines
from laconic.service.bodies import Bounds, compress_body, has_more
from laconic.service.errors import InvalidField, NotJson
from laconic.service.fronts import any_body
from laconic.service.handle import answer_line
from laconic.service.messages import put, read
from laconic.service.settings import Settings
from laconic.service.slots import Slots

from .conftest import listening, serving, wait_until
from .test_edge import With, key_file

JSON = {"content-type": "application/json"}
LINES = {"content-type": "application/x-ndjson"}
TEXT = "It rained all day. The treaty was signed by Ada. Lunch was good."


class Held(FakeBackend):
    """A forward that waits until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.entered = threading.Event(), threading.Event()
        self.go.set()

    def forward(self, inputs: Sequence[ModelInput], alone: bool) -> list[ModelOutput]:
        self.entered.set()
        self.go.wait(30)
        return super().forward(inputs, alone)


@pytest.fixture(scope="module")
def held(tokenizer: TextTokenizer) -> Iterator[tuple[Held, With]]:
    forward = Held()
    lane = Scheduler(forward, 1)
    yield forward, With(Model(card=FAKE_CARD, tokenizer=tokenizer, backend=lane, profile="fake"))
    forward.go.set()
    lane.close()


@pytest.fixture(scope="module")
def url(held: tuple[Held, With]) -> Iterator[str]:
    with serving(Settings(max_documents=50, max_body_bytes=4_000_000), held[1]) as address:
        yield address


def post(url: str, raw: bytes, path: str = "/v1/compress", **headers: str) -> httpx.Response:
    return httpx.post(f"{url}{path}", content=raw, headers={**JSON, **headers}, timeout=60)


@contextmanager
def silence(url: str) -> Iterator[list[float]]:
    """The longest time in which /livez did not answer, as the list's only number, once the block is left."""
    worst, done = [0.0], threading.Event()

    def watch() -> None:
        with httpx.Client() as client:
            while not done.is_set():
                began = time.monotonic()
                client.get(f"{url}/livez")
                worst[0] = max(worst[0], time.monotonic() - began)
                time.sleep(0.005)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield worst
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize(
    ("raw", "status", "param"),
    [
        (b'{"documents": [' + b"1," * 1_000_000 + b"1]}", 413, None),
        (b'{"documents": [' + b"1," * 45 + b"1]}", 422, "documents.0"),
        (b'{"text": "a",' + b",".join(b'"k%d":1' % n for n in range(99_000)) + b"}", 422, "k0"),
        (b'{"text": "a",' + b",".join(b'"k%d":1' % n for n in range(200_000)) + b"}", 413, None),
        (b'{"documents": [' + b",".join([b'{"text":""}'] * 40_000) + b"]}", 413, "documents"),
        (b'{"text": "a", "keep": {"strings": [' + b"1," * 90_000 + b"1]}}", 422, "keep.strings.0"),
        (b'{"messages": [' + b"1," * 400 + b"1]}", 422, "messages.0"),
        (b'{"messages": [' + b"{}," * 45_000 + b"{}]}", 413, "messages"),
    ],
)
def test_a_body_of_wrong_items_is_one_error(url: str, raw: bytes, status: int, param: str | None) -> None:
    """However many faults a body has, it is refused for the first, at once, and /livez answers meanwhile."""
    with silence(url) as longest:
        began = time.monotonic()
        response = post(url, raw)
        took = time.monotonic() - began
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (status, param)
    assert took < 3  # 0.1 s on a quiet machine; 8 s with an error made for each
    assert longest[0] < 1.5


def test_faults_are_not_counted_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a hundred thousand wrong items, fields or texts one error is made."""
    seen = []
    monkeypatch.setattr(bodies, "invalid", lambda e: seen.append(e.error_count()) or ("", None))
    n = 100_000
    for wrong in (
        {"documents": [1] * n},
        {f"k{i}": 1 for i in range(n)},
        {"documents": [{"text": "a", **{f"k{i}": 1 for i in range(n)}}]},
        {"text": "a", "keep": {"patterns": [1] * n}},
        {"text": "a", "budget": {f"k{i}": 1 for i in range(n)}},
    ):
        with pytest.raises(InvalidField):
            compress_body(json.dumps(wrong))
    assert max(seen) <= 2


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


@pytest.mark.parametrize(
    ("depth", "status"), [(60, 200), (99, 200), (101, 422), (150, 422), (255, 422), (900, 422), (9000, 422)]
)
def test_depth_has_one_limit(url: str, depth: int, status: int) -> None:
    """Metadata a hundred deep comes back and is read by the client; deeper is a 422, alone and in a batch."""
    body = f'{{"documents": [{{"text": "{TEXT}", "metadata": {nested(depth)}}}]}}'.encode()
    alone = post(url, body)
    assert alone.status_code == status
    (row,) = post(url, body, "/v1/compress/batch", **LINES).text.splitlines()
    line = json.loads(row)
    assert line["status"] == status
    if status == 200:
        metadata = json.loads(nested(depth))
        assert alone.json()["documents"][0]["metadata"] == metadata
        with Client(url) as client:
            assert client.compress([{"text": TEXT, "metadata": metadata}]).documents[0].metadata == metadata
    else:
        assert "deep" in alone.json()["error"]["message"]
        assert line["error"]["code"] == alone.json()["error"]["code"] == "invalid_field"


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"",
        b"[1]",
        b'{"text": 1}',
        b'{"text": "a\\ud800"}',
        b'{"text": "a", "x": 1}',
        b'\xef\xbb\xbf{"text": "a", "recipe": "lexical.v1"}',
        b'{"documents": [' + b'{"text": "a"},' * 60 + b'{"text": "a"}]}',
        b'{"text": "a", "budget": {"rate": NaN}}',
        b'{"text": "a", "recipe": "' + b"x" * 300 + b'"}',
        b'{"text": "a", "reader": "' + "漢".encode() * 199 + b'"}',
        b'{"text": "a", "model": "' + "漢".encode() * 199 + b'"}',
        b'{"text": "a", "ranker": "' + "漢".encode() * 199 + b'"}',
    ],
)
def test_a_line_is_read_as_a_body_is(held: tuple[Held, With], url: str, raw: bytes) -> None:
    """The same bytes have the same status and the same fault alone and as a line of a batch."""
    alone = post(url, raw)
    if not raw:
        assert alone.status_code == 422
        return
    (row,) = post(url, raw, "/v1/compress/batch", **LINES).text.splitlines()
    line = json.loads(row)
    assert line["status"] == alone.status_code < 500
    if alone.status_code != 200:
        faults = [
            {k: e.get(k) for k in ("type", "code", "message", "param")} for e in (line["error"], alone.json()["error"])
        ]
        assert faults[0] == faults[1]
    here = answer_line(held[1], 0, raw, "x", Work())  # in process nothing bounds the number of documents
    assert here.status == alone.status_code or alone.status_code == 413


def test_names_longer_than_a_file_systems_are_unknown(tmp_path: Any) -> None:
    """A reader's name of 200 letters and 600 bytes is not there: 404, with a folder of readers too."""
    settings = Settings(readers_dir=tmp_path, models_dir=tmp_path)
    with serving(settings) as address:
        for field in ("reader", "model", "ranker"):
            response = post(address, json.dumps({"text": "a", field: "漢" * 199}).encode())
            assert (field, response.status_code) == (field, 404)


@pytest.mark.parametrize("said", [{}, {"content-type": "text/plain"}, {"content-type": "multipart/form-data"}])
@pytest.mark.parametrize("path", ["/v1/compress", "/compress", "/v1/encode", "/v1/expand", "/v1/compress/batch"])
def test_a_body_says_what_it_is(url: str, path: str, said: dict[str, str]) -> None:
    """Without the content type that a foreign page cannot send unasked, a body is refused, and told what to send."""
    response = httpx.post(f"{url}{path}", content=b'{"text": "a"}', headers=said)
    assert (response.status_code, response.json()["error"]["code"]) == (415, "unsupported_media_type")
    assert "application/" in response.json()["error"]["message"]


def test_other_words_for_json_are_taken(url: str) -> None:
    """A charset, capitals and a +json type are JSON too; of a batch, what people call lines of JSON."""
    raw = json.dumps({"text": TEXT}).encode()
    for kind in ("application/json; charset=utf-8", "Application/JSON", "application/vnd.x+json"):
        assert post(url, raw, **{"content-type": kind}).status_code == 200
    for kind in ("application/jsonl", "application/json", "application/x-ndjson"):
        assert post(url, raw, "/v1/compress/batch", **{"content-type": kind}).status_code == 200


def test_gzip_is_taken_within_the_limits(url: str) -> None:
    """Bodies and batches may be gzip's; what inflates beyond the limit, is cut off or not gzip is refused."""
    raw, zipped = json.dumps({"text": TEXT}).encode(), {"content-encoding": "gzip"}
    packed = gzip.compress(raw)
    assert post(url, packed, **zipped).json()["text"] == post(url, raw).json()["text"]
    bomb = gzip.compress(b'{"text": "' + b" " * 50_000_000 + b'"}')
    assert len(bomb) < 60_000
    assert post(url, bomb, **zipped).status_code == 413
    for wrong in (packed[:-9], b"not gzip", packed + packed):
        assert post(url, wrong, **zipped).status_code == 400
    other = post(url, raw, **{"content-encoding": "br"})
    assert (other.status_code, other.json()["error"]["code"]) == (415, "unsupported_media_type")
    found = post(url, gzip.compress(raw + b"\n" + raw), "/v1/compress/batch", **LINES, **zipped)
    assert [json.loads(x)["status"] for x in found.text.splitlines()] == [200, 200]
    rows = post(url, gzip.compress(raw + b"\n" + raw)[:-9], "/v1/compress/batch", **LINES, **zipped).text.splitlines()
    assert json.loads(rows[-1])["status"] == 400


def chat_of(parts: int) -> list[dict[str, Any]]:
    text = {"type": "text", "text": "<laconic>one two</laconic> three"}
    return [{"role": "user", "content": [dict(text) for _ in range(parts)]}]


def test_a_chat_costs_by_its_parts() -> None:
    """Reading and writing back a chat copies each message once, whatever parts and pieces it has."""

    class Counted(list):  # type: ignore[type-arg]
        copies = 0

        def __iter__(self) -> Iterator[Any]:
            Counted.copies += 1
            return super().__iter__()

    seen = []
    for parts in (10, 200):
        messages = chat_of(parts)
        messages[0]["content"] = Counted(messages[0]["content"])
        Counted.copies = 0
        chat = read(messages)
        out = put(chat, ["x"] * len(chat.pieces))
        seen.append(Counted.copies)
        assert [p["text"] for p in out[0]["content"]] == ["x three"] * parts
    assert seen[0] == seen[1]
    many = read([{"role": "user", "content": "<laconic>a</laconic>b" * 50}])
    assert put(many, [str(n) for n in range(50)])[0]["content"] == "".join(f"{n}b" for n in range(50))


def test_host_work_has_a_deadline(held: tuple[Held, With], url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What computes without looking up is a 504 at its deadline all the same, and others are served meanwhile."""
    release = threading.Event()

    def stuck(*_: object, **__: object) -> None:
        release.wait(30)
        raise ZeroDivisionError

    with monkeypatch.context() as m:
        m.setattr(held[1], "pipeline", stuck)
        began = time.monotonic()
        late = post(url, json.dumps({"text": TEXT, "timeout_ms": 300}).encode())
        took = time.monotonic() - began
    assert (late.status_code, late.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert took < 10  # and not 30
    assert post(url, json.dumps({"text": TEXT}).encode()).status_code == 200
    release.set()


def test_the_clock_runs_from_the_head(url: str) -> None:
    """A body that comes later than its `timeout_ms` allows is late; one that never comes is a 408."""
    host, port = url.removeprefix("http://").split(":")
    raw = json.dumps({"text": TEXT, "timeout_ms": 200}).encode()
    with socket.create_connection((host, int(port)), timeout=20) as s:
        s.sendall(b"POST /v1/compress HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n")
        s.sendall(b"content-length: %d\r\n\r\n" % len(raw))
        time.sleep(0.4)
        s.sendall(raw)
        assert b" 504 " in s.recv(4096)


def test_a_body_that_never_comes_is_given_up(held: tuple[Held, With]) -> None:
    """After the longest time a request may take, its sender is told so."""
    with serving(Settings(timeout_ms=300), held[1]) as address:
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as s:
            s.sendall(b"POST /v1/compress HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n")
            s.sendall(b'content-length: 100\r\n\r\n{"text"')
            assert b" 408 " in s.recv(4096)


def test_more_time_than_there_is_is_said(held: tuple[Held, With]) -> None:
    """A `timeout_ms` above the service's own is no error, but the answer's warnings and the 504 name the most."""
    forward, compressor = held
    with serving(Settings(timeout_ms=1500), compressor) as address:
        found = post(address, json.dumps({"text": TEXT, "timeout_ms": 60_000}).encode())
        assert found.json()["warnings"] == ["timeout_ms: 1500 is the most a request may have here"]
        assert post(address, json.dumps({"text": TEXT, "timeout_ms": 1500}).encode()).json()["warnings"] == []
        forward.go.clear()
        late = post(address, json.dumps({"text": TEXT + " More.", "timeout_ms": 60_000}).encode())
        forward.go.set()
        assert (late.status_code, "1500" in late.json()["error"]["message"]) == (504, True)


def test_lines_in_pieces_of_a_byte_are_looked_at_once() -> None:
    """A line costs by its length, not by the pieces it comes in; too long ones are named and skipped."""
    lines = Lines(20)
    raw = b"one\n\n  \nt" + b"o" * 50 + b"\nthree"
    found = [x for n in range(len(raw)) for x in lines.feed(raw[n : n + 1])] + list(lines.rest())
    assert [x if isinstance(x, bytes) else type(x) for x in found] == [b"one", TooLarge, b"three"]
    big, held = Lines(10**9), []
    for _ in range(2000):
        assert list(big.feed(b"x")) == []
        held.append(id(big.held))
    assert len(set(held)) == 1  # grown in place
    assert list(big.feed(b"\n")) == [b"x" * 2000]


def test_a_batch_notices_who_left_while_it_waits(held: tuple[Held, With], url: str) -> None:
    """Its window full and nothing answered, a client that closes its connection is noticed, and its work dropped."""
    forward, _ = held
    host, port = url.removeprefix("http://").split(":")
    gone = 'laconic_cancelled_total{stage="client"}'

    def cancelled() -> float:
        rows = httpx.get(f"{url}/metrics").text.splitlines()
        return next((float(r.split()[-1]) for r in rows if r.startswith(gone)), 0.0)

    before = cancelled()
    forward.entered.clear()
    forward.go.clear()
    try:
        rows = b"".join(json.dumps({"text": f"{TEXT} {n}"}).encode() + b"\n" for n in range(40))
        with socket.create_connection((host, int(port)), timeout=20) as s:
            s.sendall(b"POST /v1/compress/batch HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/x-ndjson\r\n")
            s.sendall(b"content-length: %d\r\n\r\n" % (len(rows) + 10) + rows)
            assert forward.entered.wait(10)
        wait_until(lambda: cancelled() >= before + 4, 10)  # while the forward is still held
    finally:
        forward.go.set()


def test_values_are_counted_outside_of_strings() -> None:
    """Commas and brackets of texts are no values; whatever is escaped, a string ends where JSON says."""
    for value in ("," * 500, '"' * 300, "\\" * 301, '\\",[{' * 200, '[{"a": ","}]'):
        raw = json.dumps({"text": value, "documents": []}).encode()
        assert not has_more(raw, 10)
        with pytest.raises(TooLarge):
            compress_body(raw, Bounds(values=3))
    assert has_more(b'["",' + b'"",' * 50 + b"1]", 50)
    assert has_more(b"[" * 11, 10)
    with pytest.raises(NotJson):
        compress_body(b'{"text": "' + b'\\"' * 1000, Bounds(values=10))


def test_one_slow_request_does_not_slow_the_others() -> None:
    """Minutes over one text are not the service's rate: while it runs and after it, another key is let in."""
    now = [0.0]
    a = Admission(rate=20_000.0, clock=lambda: now[0])
    for given_up in (True, False):
        with pytest.raises(Cancelled) if given_up else a.admit(0, 1), a.admit(80_000, 600, key="a"):
            for _ in range(10):
                now[0] += 32
                with a.admit(2000, 2, key="b"):
                    now[0] += 0.1
            if given_up:
                raise Cancelled
        with a.admit(5000, 600, key="c"), a.admit(2000, 2, key="b"):
            now[0] += 0.1


def test_a_keys_queue_is_its_own() -> None:
    """Who has much waiting is told to come back; who has nothing waiting is let in beside it."""
    a = Admission(rate=1000.0, clock=lambda: 0.0)
    with a.admit(60_000, 600, key="a"):
        with pytest.raises(Overloaded), a.admit(1000, 10, key="a"):
            pass
        with a.admit(1000, 10, key="b"), pytest.raises(Overloaded), a.admit(9000, 10, key="b"):
            pass
    assert a.requests == a.outstanding == 0


def test_no_key_holds_all_slots() -> None:
    """Of four slots and more, the last is another key's: it does not wait for those that are held to their end."""

    async def story() -> list[bool]:
        slots, gone = Slots(4), asyncio.get_running_loop().create_future()
        greedy = [Work(key="a") for _ in range(6)]
        waiting = [asyncio.ensure_future(slots.acquire(w, gone)) for w in greedy]
        await asyncio.sleep(0)
        await asyncio.wait_for(slots.acquire(other := Work(key="b"), gone), 5)
        slots.release(other)
        await asyncio.sleep(0)
        first = [t.done() for t in waiting]
        slots.release(greedy[0])
        await asyncio.sleep(0.01)
        out = [*first, *[t.done() for t in waiting]]
        for w in greedy[1:]:
            slots.release(w)
            await asyncio.sleep(0)
        assert slots.free == 4
        return out

    assert asyncio.run(story()) == [True] * 3 + [False] * 3 + [True] * 4 + [False] * 2


def test_everything_that_comes_is_counted(held: tuple[Held, With], tmp_path: Any) -> None:
    """Titles, the query, what is to be kept and metadata are work too: admission knows of them."""
    app = create_app(Settings(), held[1])
    counted: list[float] = []
    state, admit = app.state.laconic, app.state.laconic.admission.admit
    state.admission.admit = lambda characters, *more: counted.append(characters) or admit(characters, *more)
    with listening(app) as address:
        wait_until(lambda: httpx.get(f"{address}/readyz").status_code == 200)
        given: dict[str, Any] = {"documents": [{"text": TEXT}]}
        document = given["documents"][0]
        for body in (
            given,
            {**given, "query": "q" * 3000},
            {"documents": [{**document, "title": "t" * 2000}]},
            {**given, "keep": {"strings": ["k" * 1000] * 3}},
            {"documents": [{**document, "metadata": {"m": "m" * 20_000}}]},
        ):
            assert post(address, json.dumps(body).encode()).status_code == 200
    least = [0, 3000, 2000, 3000, 4000]
    assert all(c >= counted[0] + more for c, more in zip(counted, least, strict=True))


def test_hostile_bodies_do_not_delay_another_tenant(held: tuple[Held, With], tmp_path: Any) -> None:
    """Six chats of many marks of one key are read one after another; another key's small request goes past them."""
    keys = key_file(tmp_path / "keys.toml", "a", "b")
    chat = {"messages": [{"role": "user", "content": "<laconic>a</laconic>" * 15_000}]}
    raw = json.dumps(chat).encode()
    with serving(Settings(api_keys_file=tmp_path / "keys.toml"), held[1]) as url, ThreadPoolExecutor(6) as pool:
        hostile = [pool.submit(post, url, raw, authorization=f"Bearer {keys['a']}") for _ in range(6)]
        small = json.dumps({"text": TEXT}).encode()
        answered_before = []
        for _ in range(3):
            assert post(url, small, authorization=f"Bearer {keys['b']}").status_code == 200
            answered_before.append(sum(not h.done() for h in hostile))
        assert answered_before[0] > 0  # it did not wait until they were all through
        assert {h.result().status_code for h in hostile} == {413}


def test_hostile_bodies_of_the_bench_are_read_or_refused() -> None:
    """Each of them is a body that is taken or one of the errors of a body; with a small size, as with a large one."""
    seen: Counter[str] = Counter()
    for name, raw in hostile.bodies(4000, 2000, texts=True):
        try:
            any_body(raw, Bounds(documents=1000, values=100_000))
            seen["read"] += 1
        except (InvalidField, NotJson, TooLarge):
            seen["refused"] += name not in hostile.BODIES
    assert seen["read"] > 100
    assert seen["refused"] < 10
    assert "| x | 1 | 200 | 0.10 | 5 | 6 | no |" in hostile.table(
        {"shapes": {"x": {"bytes": 1, "status": 200, "seconds": 0.1, "livez": 0.005, "small": 0.006, "passed": False}}}
    )
