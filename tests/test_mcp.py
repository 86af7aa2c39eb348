"""`laconic mcp` as an agent sees it: a process of its own, the official SDK's client, standard input and output."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import anyio
import pytest

from laconic.compressors.texts import Texts
from laconic.models import Model, Scheduler, TextTokenizer
from laconic.models.fake_backend import FAKE_CARD
from laconic.service.cache.lru import Lru

pytest.importorskip("mcp", reason="needs mcp: make dev brings it")

import mcp
from mcp.client.stdio import stdio_client

from .test_edge import LONG, Slow, With
from .test_fronts import FACTS

OTHER = "Paris has many bridges. They are old. Tourists like them very much in summer."


def test_an_agent_skims_and_opens(tmp_path: Path) -> None:
    """Two tools; what was kept of each text, the fact in it, and every piece and document to be opened by its id."""
    server = mcp.StdioServerParameters(command=sys.executable, args=["-m", "laconic.service", "mcp"], cwd=tmp_path)

    async def session() -> None:
        async with mcp.Client(stdio_client(server), read_timeout_seconds=60) as client:
            tools = {t.name: t for t in (await client.list_tools()).tools}
            assert set(tools) == {"compress", "expand"}
            assert set(tools["compress"].input_schema["properties"]) == {"texts", "query", "rate"}
            assert "texts" in tools["compress"].input_schema["required"]

            asked = {"texts": [FACTS, OTHER], "query": "Who signed the treaty?", "rate": 0.3}
            found = (await client.call_tool("compress", asked)).structured_content
            first, second = found["documents"]
            assert "Ada Lovelace" in " ".join(p["text"] for p in first["pieces"])
            assert 0 < found["tokens_out"] <= 0.3 * found["tokens_in"]

            ids = [second["id"], first["pieces"][0]["id"], "0" * 12]
            opened = (await client.call_tool("expand", {"ids": ids})).structured_content["texts"]
            assert [t["id"] for t in opened] == ids
            assert opened[0]["text"] == OTHER
            assert opened[1]["text"] in FACTS
            assert opened[2].get("text") is None

            for wrong in ({"texts": []}, {"texts": ["a"], "rate": 2}, {"texts": "a", "colour": "red", "query": 7}):
                assert (await client.call_tool("compress", wrong)).is_error

    anyio.run(session)


def test_texts_must_be_kept(tmp_path: Path) -> None:
    """Without memory for texts there is nothing to expand: a wrong call, said before anything is served."""
    from laconic.compressors import Compressor, InvalidRequest
    from laconic.service.mcp_server import make

    with pytest.raises(InvalidRequest, match="cache_bytes"):
        make(Compressor(), "0")


def test_what_goes_wrong_is_told_as_the_service_does(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong call in words that help; a defect once in the log, and none of its words to the agent."""
    from mcp.server.mcpserver.exceptions import ToolError

    from laconic.service import mcp_server
    from laconic.service.opening import make_compressor
    from laconic.service.settings import Settings

    tools = mcp_server.Tools(make_compressor(Settings(expand_ttl_seconds=60)))
    with pytest.raises(ToolError, match="less than or equal to 1"):
        anyio.run(partial(tools.compress, ["a"], rate=2))
    assert caplog.records == []

    def broken(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(mcp_server, "answer", broken)
    with pytest.raises(ToolError, match="a defect") as e:
        anyio.run(tools.compress, ["a"])
    assert "secret" not in str(e.value)
    assert [r.message for r in caplog.records] == ["defect"]


def test_names_are_forgotten_in_turn() -> None:
    """The oldest of too many names goes; names are found however an agent writes them."""
    from laconic.service.mcp_server import Names

    names, idents = Names(most=2), [c * 64 for c in "abc"]
    shorts = [names.short(i) for i in idents]
    assert [names.full(s) for s in shorts] == [None, idents[1], idents[2]]
    assert names.full(f" {shorts[1].upper()}") == idents[1]


def test_a_message_that_cannot_be_read_is_answered(tmp_path: Path) -> None:
    """Half a surrogate pair, or none of JSON at all: an error under the request's id, and the session goes on."""
    half = {"name": "compress", "arguments": {"texts": ["half \ud800 pair"]}}
    deep = '{"jsonrpc": "2.0", "id": 8, "method": "ping", "params": {"a": ' + "[" * 300 + "]" * 300 + "}}"
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "0"}}
    sent = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": half},
        deep,
        "no JSON",
        {"jsonrpc": "2.0", "method": "notifications/\ud800"},
        {"jsonrpc": "2.0", "id": 9, "method": "ping"},
    ]
    lines = "".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in sent)
    command = [sys.executable, "-m", "laconic.service", "mcp"]
    rows: dict[int | None, dict[str, object]] = {}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path) as process:
        patience = threading.Timer(60, process.kill)
        patience.start()
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(lines.encode())
        process.stdin.flush()
        while len(rows) < 5 and (line := process.stdout.readline()):  # who closes its end waits for nothing any more
            row = json.loads(line)
            rows[row["id"]] = row
        process.stdin.close()
        assert process.wait(60) == 0
        patience.cancel()
    assert set(rows) == {1, 7, 8, None, 9}
    assert [("error" in rows[n]) for n in (1, 7, 8, None, 9)] == [False, True, True, True, False]


def test_a_call_that_is_called_off_stops_computing(tokenizer: TextTokenizer) -> None:
    """The lane does no more than the forward it is in, and the session answers the next call at once."""
    from laconic.service.mcp_server import make

    forward = Slow(0.05)
    lane = Scheduler(forward, 1)
    compressor = With(Model(card=FAKE_CARD, tokenizer=tokenizer, backend=lane, profile="fake"))
    compressor.texts = Texts(Lru(1_000_000), 60)

    async def session() -> tuple[int, int]:
        async with mcp.Client(make(compressor, "0")) as client, anyio.create_task_group() as group:
            group.start_soon(client.call_tool, "compress", {"texts": [LONG], "query": "who built the bridge?"})
            while not forward.count:
                await anyio.sleep(0.01)
            group.cancel_scope.cancel()
        while lane.tokens_waiting:
            await anyio.sleep(0.01)
        before = forward.count
        await anyio.sleep(0.3)
        return before, forward.count

    with anyio.from_thread.start_blocking_portal() as portal:
        before, after = portal.call(session)
    lane.close()
    assert after - before <= 1
    assert before < 20  # of some hundred
