"""The clients over a real socket: answers, typed errors, retries, deadlines, batches, and a service that is killed."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from laconic.client import (
    FAIL_OPEN,
    AsyncClient,
    Client,
    CompressRequest,
    DeadlineExceeded,
    DocumentBody,
    Forbidden,
    Health,
    InvalidRequest,
    LaconicError,
    NotFound,
    Overloaded,
    ServiceFailure,
    TooLarge,
    Unauthorized,
    Unavailable,
)
from laconic.client.core import Rules
from laconic.client.errors import told
from laconic.client.pages import BYTES, ROWS, Pager
from laconic.compressors import Compressor
from laconic.service.keys import new
from laconic.service.local import LocalClient
from laconic.service.settings import Settings

from .conftest import free_port, serving
from .outage import QUICK, RULES, TEXT, Outage, assert_survived, soak

QUERY = "Who signed the treaty?"
DOCUMENTS = [
    "It rained all day. The treaty was signed by Ada Lovelace in 1932. Lunch was good.",
    {"id": "b", "text": "Paris has many bridges. They are old. Tourists like them.", "metadata": {"page": None}},
    DocumentBody(text="Nothing was signed here. The weather was fine.", title="Another"),
]
ERROR = {"error": {"type": "x", "code": "some_code", "message": "no", "param": None, "request_id": "r1"}}


class Stub:
    """A service that answers as it is told: one row per request, the last one for all that follow."""

    def __init__(self, *rows: tuple[int, dict[str, str], Any]) -> None:
        self.rows, self.asked = list(rows), list[dict[str, Any]]()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"]))
                stub.asked.append({"at": time.monotonic(), "headers": dict(self.headers), "body": raw})
                status, headers, body = stub.rows[min(len(stub.asked), len(stub.rows)) - 1]
                if callable(body):
                    body(self)
                    return
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"content-length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> Stub:
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def answer(**more: Any) -> dict[str, Any]:
    usage = {"tokens_in": 2, "tokens_out": 1, "rate": 0.5, "segments": 1, "cache_hits": 0, "compute_ms": 1.0}
    rows = [{"id": "0", "text": "a", "tokens_in": 2, "tokens_out": 1, "cached": "0/1"}]
    return {"id": "r", "recipe": "token.v1", "reader": "x", "text": "a", "documents": rows, "usage": usage,
            "model": None, "warnings": [], **more}  # fmt: skip


Asks = Callable[..., Any]


@contextmanager
def asking(kind: str, url: str, **options: Any) -> Iterator[Asks]:
    """`compress` of either client, called alike."""
    if kind == "sync":
        with Client(url, **options) as client:
            yield client.compress
        return

    loop, client = asyncio.new_event_loop(), AsyncClient(url, **options)
    try:
        loop.run_until_complete(client.health())  # opens the pool
        yield lambda *given, **more: loop.run_until_complete(client.compress(*given, **more))
    finally:
        loop.run_until_complete(client.aclose())
        loop.close()


both = pytest.mark.parametrize("kind", ["sync", "async"])


@both
def test_compress(address: str, kind: str) -> None:
    """Strings, dicts and bodies are documents alike; the answer is typed, and the service's own."""
    with asking(kind, address) as compress:
        found = compress(DOCUMENTS, QUERY, budget={"rate": 0.4}, unit="sentence", returns=["text", "spans", "scores"])
        assert compress(text=DOCUMENTS[0], budget={"tokens": 9}).usage.tokens_out <= 9
    assert "signed by Ada Lovelace" in found.text
    assert [d.id for d in found.documents] == ["0", "b", "2"]
    assert found.documents[1].metadata == {"page": None}
    assert found.documents[0].score > found.documents[1].score
    assert found.documents[0].scores
    assert found.warnings == []
    with asking(kind, address) as compress:
        bare = compress(DOCUMENTS, QUERY, recipe="lexical.v1", returns=["spans"])
    assert (bare.model, bare.text, bare.documents[0].text) == (None, None, None)
    assert bare.documents[0].spans
    body = {"query": QUERY, "documents": [{"text": DOCUMENTS[0]}], "budget": {"rate": 0.4}}
    raw = httpx.post(f"{address}/v1/compress", json=body).json()
    with asking(kind, address) as compress:
        assert compress(DOCUMENTS[:1], QUERY, budget={"rate": 0.4}).text == raw["text"]


def test_tables_and_health(address: str) -> None:
    """Models, recipes and health, of either client."""

    async def others() -> tuple[Any, ...]:
        async with AsyncClient(address) as client:
            return await client.models(), await client.recipes(), await client.health()

    with Client(address) as client:
        models, recipes, health = client.models(), client.recipes(), client.health()
        assert (models, recipes, health) == asyncio.run(others())
    assert "laconic-mini" in [m["name"] for m in models]
    assert "token.v1" in [r["name"] for r in recipes]
    assert health == Health(ready=True)
    away = Client(f"http://127.0.0.1:{free_port()}").health()
    assert not away.ready
    assert "reached" in away.reason


def test_latents_and_segments(compressor: Compressor) -> None:
    """`encode` gives latents as `latents` reads them, `expand` the texts of the segments they name."""
    with serving(Settings(expand_ttl_seconds=60)) as url:
        with Client(url) as client:
            found = client.encode([TEXT.format(1), TEXT.format(2)], rate=8)
            said = found.answer
            names = [i for d in said.documents for i in d.ids or []]
            texts = client.expand([*names, "0" * 64])

        async def other() -> Any:
            async with AsyncClient(url) as client:
                return (await client.encode(text=TEXT.format(1), rate=8)).answer, await client.expand(names)

        alone, again = asyncio.run(other())
    assert sorted(found.tensors) == ["0", "1"]
    assert found.tensors["0"].shape == (said.documents[0].latents, said.width)
    assert texts == {**dict(zip(names, (TEXT.format(1), TEXT.format(2)), strict=True)), "0" * 64: None}
    assert alone.documents[0].latents == said.documents[0].latents
    assert again == {n: texts[n] for n in names}


@both
@pytest.mark.parametrize(
    ("given", "kind_of_error", "status", "code", "param"),
    [
        ({"recipe": "token.v9"}, NotFound, 404, "unknown_name", "recipe"),
        ({"reader": "nobody"}, NotFound, 404, "unknown_name", "reader"),
        ({"documents": [{"text": "a", "id": "1"}, {"text": "b", "id": "1"}]}, InvalidRequest, 422, None, "documents"),
        ({"documents": ["a"] * 51}, TooLarge, 413, "too_large", "documents"),
        ({"budget": {"rate": 2}}, InvalidRequest, None, "invalid_field", "budget.rate"),
        ({"colour": "red"}, InvalidRequest, None, "invalid_field", "colour"),
        ({"documents": ["half \ud800"]}, InvalidRequest, None, "invalid_field", "documents.0.text"),
        ({"documents": "one string"}, InvalidRequest, None, "invalid_field", "documents"),
    ],
)
def test_callers_mistakes_are_typed(
    address: str, kind: str, given: dict[str, Any], kind_of_error: type, status: int, code: str, param: str
) -> None:
    """Each has its class and names its field, whoever found it; none fails open."""
    with asking(kind, address, fail_open=True) as compress, pytest.raises(LaconicError) as e:
        compress(**{"documents": ["a b c"], **given})
    assert type(e.value) is kind_of_error
    assert (e.value.status, e.value.param) == (status, param)
    assert code is None or e.value.code == code
    assert (e.value.request_id is None) == (status is None)
    assert "half" not in str(e.value)


def test_keys(compressor: Compressor, tmp_path: Path) -> None:
    """A key that is missing, unknown, or not allowed to do this is an error of its own; a good one is sent along."""
    key, lines = new("team")
    (tmp_path / "keys.toml").write_text(lines)
    with serving(Settings(api_keys_file=tmp_path / "keys.toml"), compressor) as url:
        for wrong in (None, "lac_wrong"):
            with Client(url, api_key=wrong, fail_open=True) as client, pytest.raises(Unauthorized):
                client.compress(["a"])
        with Client(url, api_key=key + "\n") as client:
            assert client.compress(["a"]).documents
            assert key not in repr(client.core)
    with Stub((403, {}, ERROR)) as stub, Client(stub.url) as client, pytest.raises(Forbidden) as e:
        client.compress(["a"])
    assert e.value.code == "some_code"
    for options in ({"url": "laconic:8000"}, {"api_key": "k\ney"}, {"timeout": 0}, {"retries": -1}):
        with pytest.raises(ValueError, match=r"begins with|no header|timeout"):
            Client(**options)


@both
def test_comes_back_when_told(kind: str) -> None:
    """429 with `retry-after-ms`, 503 with `retry-after`: never sooner than told, with the time left in the body."""
    busy, away = (429, {"retry-after": "9", "retry-after-ms": "300"}, ERROR), (503, {"retry-after": "0.2"}, ERROR)
    with Stub(busy, away, (200, {}, answer(future="field"))) as stub, asking(kind, stub.url, timeout=5) as compress:
        assert compress(["a b"]).text == "a"
    first, second, third = (a["at"] for a in stub.asked)
    assert 0.3 <= second - first < 1
    assert 0.2 <= third - second < 1
    left = [json.loads(a["body"])["timeout_ms"] for a in stub.asked]
    assert 4500 < left[0] <= 5000
    assert left[0] - 1000 < left[1] <= left[0] - 300
    assert left[1] - 1000 < left[2] <= left[1] - 200
    assert len({a["headers"]["x-request-id"] for a in stub.asked}) == 1


def test_retry_after_forms() -> None:
    """Milliseconds win over seconds; a date counts from now; nonsense is nothing."""
    assert told({"retry-after": "9", "retry-after-ms": "250"}) == 0.25
    assert told({"retry-after": "7"}) == 7
    assert told({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    later = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 3600))
    assert (told({"retry-after": later}) or 0) > 3000
    assert [told({"retry-after": x}) for x in ("soon", "nan", "inf", "")] == [None] * 4
    assert told({}) is None
    pauses = [Rules(jitter=lambda: 0.999).pause(n, None) for n in range(9)]
    assert pauses == sorted(pauses)
    assert pauses[0] < 0.1
    assert pauses[-1] < 5
    assert Rules(jitter=lambda: 0.0).pause(3, 2.0) == 2.0


def trickle(handler: BaseHTTPRequestHandler) -> None:
    """A body that comes byte by byte and has no end."""
    handler.send_response(200)
    handler.send_header("content-length", "100000")
    handler.end_headers()
    try:
        for _ in range(100):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.05)
    except OSError:
        pass


def stall(handler: BaseHTTPRequestHandler) -> None:
    """Half a body late, then nothing."""
    handler.send_response(200)
    handler.send_header("content-length", "1000")
    handler.end_headers()
    time.sleep(0.4)
    handler.wfile.write(b"{")
    handler.wfile.flush()
    time.sleep(3)


@both
@pytest.mark.parametrize(
    ("rows", "error", "least"),
    [
        ([(200, {}, lambda _: time.sleep(3))], DeadlineExceeded, 0.5),
        ([(200, {}, trickle)], DeadlineExceeded, 0.5),
        ([(200, {}, stall)], DeadlineExceeded, 0.5),
        ([(429, {"retry-after": "60"}, ERROR)], Overloaded, 0),
        ([(503, {}, ERROR)], Unavailable, 0.05),
        ([(504, {}, {"error": {**ERROR["error"], "code": "deadline_exceeded"}})], DeadlineExceeded, 0),
        ([(502, {}, b"<html>bad gateway</html>")], Unavailable, 0.05),
        ([(500, {}, ERROR)], ServiceFailure, 0),
        ([(200, {}, b"<html>who are you?</html>")], ServiceFailure, 0),
        ([(302, {"location": "/login"}, b"")], ServiceFailure, 0),
    ],
    ids=["silent", "trickle", "stall", "told-too-late", "away", "late", "gateway", "defect", "not-ours", "redirect"],
)
def test_deadline_is_never_exceeded(kind: str, rows: Any, error: type[LaconicError], least: float) -> None:
    """Whatever the service does, there is a typed error within `timeout`; or, failing open, the input."""
    with Stub(*rows) as stub, asking(kind, stub.url, timeout=0.5, retries=2) as compress:
        began = time.monotonic()
        with pytest.raises(error) as e:
            compress(DOCUMENTS, QUERY)
        took = time.monotonic() - began
        assert type(e.value) is error
        most = 0.85 if rows[0][2] is stall else 2.5  # which would take 0.9, had every byte the whole time again
        assert least <= took < most
        found = compress(DOCUMENTS, QUERY, fail_open=True, timeout=0.2, returns=["text", "spans"])
    assert found.text == "\n\n".join(d if isinstance(d, str) else dict(d)["text"] for d in DOCUMENTS)
    assert [d.id for d in found.documents] == ["0", "b", "2"]
    assert found.documents[0].spans == [(0, len(DOCUMENTS[0]))]
    assert found.documents[1].metadata == {"page": None}
    assert found.warnings[0].startswith(f"{FAIL_OPEN}: ")
    assert e.value.message in found.warnings[0]


def test_in_process(compressor: Compressor, address: str) -> None:
    """Without a service: the same answers, the same errors, the same deadlines."""
    with LocalClient(compressor) as local, Client(address) as client:
        for options in ({"budget": {"rate": 0.4}}, {"unit": "sentence", "returns": ["text", "scores", "tree"]}):
            ours, theirs = local.compress(DOCUMENTS, QUERY, **options), client.compress(DOCUMENTS, QUERY, **options)
            assert (ours.text, ours.documents) == (theirs.text, theirs.documents)
        assert asyncio.run(local.acompress(DOCUMENTS, QUERY)).text == client.compress(DOCUMENTS, QUERY).text
        assert (local.models(), local.recipes()) == (client.models(), client.recipes())
        assert local.health() == Health(ready=True)
        with pytest.raises(NotFound) as e:
            local.compress(["a"], recipe="token.v9")
        assert e.value.param == "recipe"
        with pytest.raises(DeadlineExceeded):
            local.compress([TEXT * 200], QUERY, timeout=0.0001)
        with pytest.raises(NotFound):
            local.expand(["0" * 64])
        rows = list(local.compress_batch([{"documents": [TEXT]}, {"text": "a", "recipe": "token.v9"}]))
        assert [r.status for r in rows] == [200, 404]
        assert rows[0].answer and rows[0].answer.id.endswith("-0")
        assert rows[1].error and rows[1].error.request_id.endswith("-1")
        assert local.encode([TEXT], rate=8).answer.documents[0].latents > 0


def lines(count: int) -> Iterator[dict[str, Any]]:
    for i in range(count):
        yield {"query": QUERY, "documents": [{"text": TEXT.format(i)}], "budget": {"rate": 0.5}}


@both
def test_batch(address: str, kind: str) -> None:
    """Answers come in order while requests are still being made; a line's error stays its own."""
    taken = 0

    def requests() -> Iterator[Any]:
        nonlocal taken
        for n, body in enumerate(lines(60)):
            taken += 1
            wrong = {5: {"recipe": "token.v9"}, 7: {"colour": "red"}, 9: {"text": "x" * 1_100_000, "documents": None}}
            yield {**body, **wrong.get(n, {})}
        yield CompressRequest(text="a b c")

    async def many() -> list[Any]:
        async with AsyncClient(address) as client:
            return [(taken, row) async for row in client.compress_batch(requests())]

    if kind == "sync":
        with Client(address) as client:
            found = [(taken, row) for row in client.compress_batch(requests())]
    else:
        found = asyncio.run(many())
    rows = [row for _, row in found]
    assert found[0][0] < 60
    assert [r.index for r in rows] == list(range(61))
    assert {r.index: r.status for r in rows if r.status != 200} == {5: 404, 7: 422, 9: 413}
    assert rows[7].error.param == "colour"
    assert all(r.answer for r in rows if r.status == 200)
    with Client(address) as client:
        assert rows[8].answer.text == client.compress([TEXT.format(8)], QUERY, budget={"rate": 0.5}).text
        assert list(client.compress_batch([])) == []


def test_pages_are_small() -> None:
    """A page lies in the buffers on the way: a few rows, or bytes; a request larger than that travels alone."""
    pager, pages = Pager(), list[Any]()
    for size in [10] * (ROWS + 1) + [BYTES // 2] * 3 + [2 * BYTES, 10]:
        pages.append(pager.add({"text": "x" * size}))
    pages = [p for p in [*pages, pager.rest()] if p]
    assert [r.index for p in pages for r in p] == list(range(ROWS + 6))
    assert max(map(len, pages)) <= ROWS
    assert all(len(p) == 1 or sum(len(r.line) for r in p) <= BYTES for p in pages)


def test_batch_while_the_service_is_killed(compressor: Compressor) -> None:
    """Failing open, what was not answered is answered with its input; else a typed error ends the batch."""
    outage = Outage(compressor)

    def requests(kill: int) -> Iterator[Any]:
        for n, body in enumerate(lines(80)):
            if n == kill:
                outage.kill()
            yield body

    with Client(outage.url, **RULES, fail_open=True) as client:
        rows = list(client.compress_batch(requests(40)))
        assert [r.index for r in rows] == list(range(80))
        whole = [r for r in rows if r.answer.warnings]
        assert [r.index for r in whole] == list(range(80 - len(whole), 80))
        assert all(r.answer.text == TEXT.format(r.index) and r.status == 503 for r in whole)
        assert 32 <= len(whole) < 80
        with pytest.raises(Unavailable):
            list(client.compress_batch(lines(3), fail_open=False))

    async def closed() -> None:
        async def slowly() -> AsyncIterator[Any]:
            for body in lines(3):
                yield body

        async with AsyncClient(outage.url, **RULES) as client:
            with pytest.raises(Unavailable):
                _ = [row async for row in client.compress_batch(slowly())]

    asyncio.run(closed())


@both
def test_soak_through_an_outage(compressor: Compressor, kind: str) -> None:
    """200 requests with the service killed and started again: originals or typed errors, and nothing hangs."""
    outage = Outage(compressor)
    client, aclient = Client(outage.url, **RULES), AsyncClient(outage.url, **RULES)

    async def ask(i: int, opens: bool) -> bool:
        given = {"documents": [TEXT.format(i)], "query": QUERY, "fail_open": opens, **QUICK}
        if kind == "sync":
            found = await asyncio.to_thread(client.compress, **given)
        else:
            found = await aclient.compress(**given)
        if found.warnings:
            assert found.text == TEXT.format(i)
        return not found.warnings

    assert_survived(*soak(outage, ask, aclient))
    client.close()
    outage.kill()


def test_one_client_under_several_loops(address: str) -> None:
    """An AsyncClient that is used by one `asyncio.run` after another has a pool for each."""
    client = AsyncClient(address)

    async def once() -> str | None:
        found = await client.compress(["a b c"])
        await client.aclose()
        return found.text

    assert asyncio.run(once()) == asyncio.run(once())


def test_your_own_transport() -> None:
    """A client of httpx's that you bring is used, and left open."""
    seen: list[httpx.Request] = []

    def reply(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=answer())

    http = httpx.Client(transport=httpx.MockTransport(reply), headers={"x-team": "a"})
    with Client("https://laconic.example/base/", http=http, api_key="k") as client:
        assert client.compress(["a"]).text == "a"
    assert str(seen[0].url) == "https://laconic.example/base/v1/compress"
    assert seen[0].headers["authorization"] == "Bearer k"
    assert seen[0].headers["x-team"] == "a"
    assert not http.is_closed
    http.close()


def test_the_guide_runs(address: str) -> None:
    """Every Python block of docs/client.md runs on its own and prints something, where what it imports is there."""
    guide = (Path(__file__).parent.parent / "docs" / "client.md").read_text().replace("http://127.0.0.1:8000", address)
    blocks = re.findall(r"^```python\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    frameworks = ("haystack", "langchain_classic", "langchain", "llama_index")
    missing = [f for f in frameworks if find_spec(f) is None]
    run = [b for b in blocks if not any(re.search(rf"^(from|import) {f}\b", b, re.MULTILINE) for f in missing)]
    script = "import json, sys\nfor block in json.load(sys.stdin):\n    exec(block, {})\n    print('----')"
    done = subprocess.run([sys.executable, "-c", script], input=json.dumps(run), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = done.stdout.split("----\n")[:-1]
    assert len(said) == len(run) >= 4
    assert all(s.strip() for s in said)
