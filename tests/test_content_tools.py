"""Tools stay tools: each that is kept has its whole schema, in every shape that callers send."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laconic.compressors import Budget, Compressor, Document, Request
from laconic.compressors.content.tools import lay

from .strategies import texts
from .test_content_json import check, written

SAMPLE = (Path(__file__).parent.parent / "docs" / "examples" / "content" / "tools.json").read_text()
TOOLS: list[dict[str, Any]] = json.loads(SAMPLE)["tools"]


def openai(tool: dict[str, Any]) -> dict[str, Any]:
    about = {"name": tool["name"], "description": tool["description"]}
    return {"type": "function", "function": {**about, "parameters": tool["input_schema"]}}


def mcp(tool: dict[str, Any]) -> dict[str, Any]:
    return {"name": tool["name"], "description": tool["description"], "inputSchema": tool["input_schema"]}


SHAPES: dict[str, Any] = {
    "anthropic": {"tools": TOOLS},
    "openai": [openai(t) for t in TOOLS],
    "functions": {"model": "m", "functions": [openai(t)["function"] for t in TOOLS]},
    "mcp": {"jsonrpc": "2.0", "id": 1, "result": {"tools": [mcp(t) for t in TOOLS]}},
    "one": TOOLS[0],
}


def bare(value: Any) -> Any:
    """Without descriptions."""
    if isinstance(value, dict):
        return {k: bare(v) for k, v in value.items() if not (k == "description" and isinstance(v, str))}
    return [bare(v) for v in value] if isinstance(value, list) else value


def named(value: Any) -> dict[str, Any]:
    """Tools by name, wherever they lie, as they are without descriptions."""
    if isinstance(value, list):
        return {k: v for item in value for k, v in named(item).items()}
    if not isinstance(value, dict):
        return {}
    if isinstance(value.get("name"), str):
        return {value["name"]: bare(value)}
    return {k: v for item in value.values() for k, v in named(item).items()}


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=40)
@given(seed=st.integers(0, 1 << 32), indent=st.sampled_from([None, 2]))
def test_a_tool_is_kept_with_its_schema(shape: str, seed: int, indent: int | None) -> None:
    """Any selection parses, and each tool in it has all of its schema but descriptions."""
    text = json.dumps(SHAPES[shape], indent=indent)
    laid = lay(text, "…")
    assert laid is not None
    out = check(text, laid, seed)
    whole = named(SHAPES[shape])
    assert len(whole) == (1 if shape == "one" else 3)
    for name, schema in named(json.loads(out or "{}")).items():
        assert schema == whole[name]


def test_a_parameter_may_be_called_description() -> None:
    """Only texts in a description's place can go: a parameter of that name is part of the schema."""
    schema = {"type": "object", "properties": {"description": {"type": "string"}, "title": {"type": "string"}}}
    text = json.dumps([{"name": "note", "description": "Keeps a note. It is kept for long.", "input_schema": schema}])
    laid = lay(text, "…")
    assert laid is not None
    for seed in range(50):
        for tool in json.loads(check(text, laid, seed) or "[]"):
            assert tool["input_schema"] == schema


@settings(max_examples=60)
@given(text=st.one_of(texts, written))
def test_other_texts_are_not_tools(text: str) -> None:
    """Whatever holds no tool is not laid out, and nothing raises."""
    assert lay(text, "…") is None


def test_the_tool_that_is_asked_for_stays(compressor: Compressor) -> None:
    """At a budget for one tool the one that the query needs is kept, valid, within the budget."""
    for query, name in (("Will it rain in Rome tomorrow?", "get_weather"), ("Send Ada a mail.", "send_mail")):
        request = Request(documents=[Document(text=SAMPLE)], query=query, budget=Budget(kind="rate", value=0.45))
        result = compressor(request, recipe="tools.v1")
        kept = named(json.loads(result.text))
        assert name in kept
        assert kept[name] == named(TOOLS)[name]
        assert result.documents[0].kind == "tools.v1"
        assert result.tokens_out <= 0.45 * result.tokens_in
