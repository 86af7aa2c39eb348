"""`laconic mcp` as an agent sees it: a process of its own, the official SDK's client, standard input and output."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import pytest

pytest.importorskip("mcp", reason="needs mcp: make dev brings it")

import mcp
from mcp.client.stdio import stdio_client

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
        tools.compress(["a"], rate=2)
    assert caplog.records == []

    def broken(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(mcp_server, "answer", broken)
    with pytest.raises(ToolError, match="a defect") as e:
        tools.compress(["a"])
    assert "secret" not in str(e.value)
    assert [r.message for r in caplog.records] == ["defect"]


def test_names_are_forgotten_in_turn() -> None:
    """The oldest of too many names goes; names are found however an agent writes them."""
    from laconic.service.mcp_server import Names

    names, idents = Names(most=2), [c * 64 for c in "abc"]
    shorts = [names.short(i) for i in idents]
    assert [names.full(s) for s in shorts] == [None, idents[1], idents[2]]
    assert names.full(f" {shorts[1].upper()}") == idents[1]
