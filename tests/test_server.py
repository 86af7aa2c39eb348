"""What clients do to sockets: withhold, upgrade, expect, name a host, come in thousands; over real ones."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import h11
import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from laconic.models import FakeBackend, Model, Scheduler, TextTokenizer
from laconic.models.fake_backend import FAKE_CARD
from laconic.service.parser import TURN, Parser
from laconic.service.server import Config
from laconic.service.settings import Settings

from .conftest import free_port, running, serving, wait_until
from .test_edge import With, body, post
from .wire import Wire, chunk, head

JSON = "content-type: application/json"
LINES = "content-type: application/x-ndjson"
LINE = json.dumps(body()).encode() + b"\n"
BATCH = "POST /v1/compress/batch"
SHORT: dict[str, Any] = {"head_seconds": 1.0, "stall_seconds": 1.5}  # a busy machine may take longer, never less


@pytest.fixture(scope="module")
def fake(tokenizer: TextTokenizer) -> Iterator[With]:
    lane = Scheduler(FakeBackend(), 1)
    yield With(Model(card=FAKE_CARD, tokenizer=tokenizer, backend=lane, profile="fake"))
    lane.close()


@pytest.fixture(scope="module")
def server(fake: With) -> Iterator[str]:
    with serving(Settings(), fake) as address:
        yield address


@pytest.fixture(scope="module")
def strict(fake: With) -> Iterator[str]:
    with serving(Settings(**SHORT, batch_idle_seconds=4), fake) as address:
        yield address


def test_an_upgrade_that_java_proposes_is_passed_by(server: str) -> None:
    """A POST with a body that proposes h2c, as Java's HttpClient sends, is answered in HTTP/1.1, and the next too."""
    content = json.dumps(body()).encode()
    proposed = ("connection: Upgrade, HTTP2-Settings", "http2-settings: AAEAAEAAAAIAAAAB", "upgrade: h2c")
    with Wire(server) as wire:
        for extra in (proposed, ()):
            wire.say(head("POST /v1/compress", JSON, *extra, f"content-length: {len(content)}") + content)
            assert wire.answer()[0] == 200


def test_web_sockets_are_not_spoken(server: str) -> None:
    """A handshake of web sockets is a GET like any other."""
    asked = ("connection: Upgrade", "upgrade: websocket", "sec-websocket-key: x", "sec-websocket-version: 13")
    with Wire(server, head("GET /livez", *asked)) as wire:
        assert wire.until(b"\r\n").startswith(b"HTTP/1.1 200 ")


def test_a_batch_that_expects_a_100_gets_it(server: str) -> None:
    """`Expect: 100-continue` on a batch: 100 first, then 200, then each line's answer before the next line is sent."""
    with Wire(server, head(BATCH, LINES, "expect: 100-continue", "transfer-encoding: chunked")) as wire:
        assert wire.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        for _ in range(2):
            wire.say(chunk(LINE))
            assert b'"status":200' in wire.until(b"}\n")
        wire.say(b"0\r\n\r\n")
        wire.until(b"0\r\n\r\n")


def test_a_refused_expectation_gets_no_100(server: str) -> None:
    """A body that is too large is refused at once, and never asked for."""
    with Wire(server, head("POST /v1/compress", JSON, "expect: 100-continue", f"content-length: {10**9}")) as wire:
        assert wire.until(b"\r\n").startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "target", ["http://localhost/livez", "HTTP://localhost:80/livez?x=1", "https://u@localhost/livez"]
)
def test_request_lines_may_name_a_host(server: str, target: str) -> None:
    """The absolute form of a request line, as proxies write it, means the path."""
    with Wire(server, head(f"GET {target}")) as wire:
        assert wire.until(b"\r\n").startswith(b"HTTP/1.1 200 ")


def test_a_foreign_host_in_the_line_is_foreign(server: str) -> None:
    """What the request line names counts, whatever the header says."""
    with Wire(server, head("GET http://other/version")) as wire:
        assert wire.until(b"\r\n").startswith(b"HTTP/1.1 421 ")


def test_a_named_host_stands_above_the_header() -> None:
    """The application sees the host of the request line in the place of the header's; without a path it is the root."""
    parser = Parser(1000, 10)
    parser.receive_data(b"GET http://me@other:81?q=http://x/ HTTP/1.1\r\nHost: x\r\na: b\r\n\r\n")
    found = parser.next_event()
    assert found.target == b"/?q=http://x/"
    assert list(found.headers) == [(b"host", b"other:81"), (b"a", b"b")]


@pytest.mark.parametrize("spoiled", [[f"a{n}: b" for n in range(200)], ["a: " + "b" * 40_000]])
def test_large_heads_are_refused(server: str, spoiled: list[str]) -> None:
    """Too many headers, or too many bytes of them: 431 in the shape of every error, and the connection ends."""
    with Wire(server, head("GET /livez", *spoiled)) as wire:
        said = wire.rest()
    assert said.startswith(b"HTTP/1.1 431 ")
    assert json.loads(said.partition(b"\r\n\r\n")[2])["error"]["code"] == "headers_too_large"


@pytest.mark.parametrize("broken", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"])
def test_what_is_not_http_is_a_400(server: str, broken: bytes) -> None:
    """Garbage, a TLS greeting, a missing host: 400 in the shape of every error."""
    with Wire(server, broken + b"\r\n\r\n") as wire:
        said = wire.rest()
    assert said.startswith(b"HTTP/1.1 400 ")
    assert json.loads(said.partition(b"\r\n\r\n")[2])["error"]["code"] == "invalid_http"


def test_a_body_that_breaks_is_a_400(server: str, caplog: pytest.LogCaptureFixture) -> None:
    """A chunk that is none ends the request without a traceback in the log."""
    with Wire(server, head("POST /v1/compress", JSON, "transfer-encoding: chunked") + b"zz\r\n") as wire:
        assert wire.rest().startswith(b"HTTP/1.1 400 ")
    assert not [r for r in caplog.records if r.exc_info]


def test_one_read_is_handled_in_turns() -> None:
    """Of the forty thousand chunks of one byte that a single read may hold, one turn handles TURN events."""
    parser = Parser(1000, 10)
    parser.receive_data(head("POST /", "transfer-encoding: chunked") + chunk(b"x") * 1000)
    counts = []
    while not counts or counts[-1]:
        parser.turn()
        counts.append(sum(1 for _ in iter(parser.next_event, h11.NEED_DATA)))
        if not parser.more:
            break
    assert max(counts) == TURN
    assert sum(counts) == 1001


def test_tiny_chunks_arrive_whole(server: str) -> None:
    """A body in chunks of one byte, and a second request behind it in the same write, are both answered."""
    content = json.dumps(body()).encode() + b" " * 20_000
    tiny = b"".join(chunk(content[n : n + 1]) for n in range(len(content))) + b"0\r\n\r\n"
    with Wire(
        server, head("POST /v1/compress", JSON, "transfer-encoding: chunked") + tiny + head("GET /livez")
    ) as wire:
        assert wire.answer()[0] == 200
        assert wire.answer() == (200, b'{"status":"ok"}')


def test_half_sent_requests_are_closed(strict: str, caplog: pytest.LogCaptureFixture) -> None:
    """Heads and bodies that stop are ended with a 408, silent connections without a word; others go on meanwhile."""
    halves = [b"GET /livez HTTP/1.1\r\nho", head("POST /v1/compress", JSON, "content-length: 1000") + b"{", b""]
    wires = [Wire(strict, half) for half in halves * 40]
    try:
        assert post(strict).status_code == 200
        assert all(w.is_open() for w in wires[:3])
        said = [w.rest() for w in wires]
    finally:
        for w in wires:
            w.socket.close()
    assert all(s.startswith(b"HTTP/1.1 408 ") for n, s in enumerate(said) if n % 3 < 2)
    assert all(s == b"" for s in said[2::3])
    assert not [r for r in caplog.records if r.exc_info]


def test_a_head_that_drips_is_closed(strict: str) -> None:
    """A byte now and then does not prolong a head; a request after an answer has its own time."""
    with Wire(strict, head("GET /livez")) as wire:
        wire.until(b"}")
        time.sleep(2)  # idle between requests is no fault
        assert wire.is_open()
        wire.say(b"GET /livez HTTP/1.1\r\n")
        end = time.monotonic() + 20
        while wire.is_open() and time.monotonic() < end:
            time.sleep(0.1)
            try:
                wire.say(b"a")
            except OSError:
                break
        assert time.monotonic() < end


def test_a_body_that_drips_is_closed(strict: str) -> None:
    """A body of a few bytes a second is ended although it never pauses."""
    with Wire(strict, head("POST /v1/compress", JSON, "content-length: 100000")) as wire:
        end = time.monotonic() + 20
        while wire.is_open() and time.monotonic() < end:
            time.sleep(0.1)
            try:
                wire.say(b"a")
            except OSError:
                break
        assert time.monotonic() < end


def test_a_batch_may_pause_and_is_not_for_ever(strict: str) -> None:
    """A batch's client may think longer than others may, between lines; when nothing comes any more it is ended."""
    with Wire(strict, head(BATCH, LINES, "transfer-encoding: chunked") + chunk(LINE)) as wire:
        wire.until(b"}\n")
        time.sleep(2.5)  # more than others have
        wire.say(chunk(LINE))
        assert b'"index":1' in wire.until(b"}\n")
        assert wire.seconds_open() < 30


@pytest.mark.parametrize("more", [True, False])
def test_an_answer_that_nobody_takes_is_dropped(more: bool) -> None:
    """A client that asks and does not read is disconnected, whether its answer is complete or still being sent."""
    ended = threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": bytes(16_000_000), "more_body": more})
            await send({"type": "http.response.body", "body": b"", "more_body": False}) if more else None
        finally:
            ended.set()

    port = free_port()
    server = uvicorn.Server(Config(app, Settings(**SHORT), lifespan="off", host="127.0.0.1", port=port))
    with running(server), Wire(f"http://127.0.0.1:{port}", head("GET /"), buffer=4096):
        wait_until(lambda: ended.is_set() and not server.server_state.connections, 30)


def test_newcomers_are_let_in_where_others_wait(fake: With) -> None:
    """At the most connections there may be, the one that has waited longest goes; requests in work stay."""
    with serving(Settings(max_connections=10, head_seconds=60, stall_seconds=60), fake) as address:
        batch = Wire(address, head(BATCH, LINES, "transfer-encoding: chunked") + chunk(LINE))
        batch.until(b"}\n")
        idle = [Wire(address) for _ in range(30)]
        halves = [Wire(address, head("POST /v1/compress", JSON, "content-length: 9") + b"{") for _ in range(30)]
        try:
            wait_until(lambda: httpx.get(f"{address}/livez").status_code == 200, 30)
            assert post(address).status_code == 200
            batch.say(chunk(LINE))
            assert b'"index":1' in batch.until(b"}\n")
            open_ones = sum(w.is_open() for w in [*idle, *halves])
            assert open_ones < 10
        finally:
            for w in [batch, *idle, *halves]:
                w.socket.close()
