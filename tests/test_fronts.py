"""The compatible fronts: what of a chat may be compressed, and the shapes that others' gateways expect."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laconic.compressors import Compressor
from laconic.models import Work
from laconic.service.fronts import compress_chat
from laconic.service.keys import new
from laconic.service.messages import put, read, texts_of, unmarked
from laconic.service.settings import Settings

from .conftest import serving
from .strategies import AWKWARD, prose

FACTS = "It rained all day. The treaty was signed by Ada Lovelace in 1932. Lunch was good, everyone agreed. " * 6
CALL = {"id": "call_1", "type": "function", "function": {"name": "search", "arguments": '{"q": "treaty"}'}}
CHAT: list[dict[str, Any]] = [
    {"role": "system", "content": FACTS},
    {"role": "user", "content": "Find the treaty."},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": FACTS},
    {"role": "assistant", "content": FACTS},
    {"role": "user", "content": "Who signed it?"},
]


@pytest.fixture(scope="module")
def url(compressor: Compressor) -> Iterator[str]:
    with serving(Settings(upstream_min_tokens=50, max_characters=100_000), compressor) as found:
        yield found


def kept(messages: list[Any]) -> list[str]:
    """The texts of what may be compressed."""
    return read(messages).texts()


def test_old_results_of_tools_are_context() -> None:
    """A tool's result is, once the model has answered since; nothing of the system, the model or the question is."""
    assert kept(CHAT) == [FACTS.strip()]
    assert kept(CHAT[:4]) == []  # the model has just asked for it
    assert kept([CHAT[3], CHAT[5]]) == [FACTS.strip()]  # a gateway holds back what must stay, the model's words too
    assert read(CHAT).query == "Who signed it?"


@pytest.mark.parametrize(
    ("text", "inner", "query"),
    [
        ("Who?", [], "Who?"),
        ("Context.\n\nWho?", [], "Who?"),
        ("Use these.\n\nOne.\n\n\nTwo.\n \nWho?\n", ["One.\n\n\nTwo."], "Who?"),
        ("Who?\n\nOne.\n\nTwo.", ["One."], "Who?"),
        ("Say so.\r\n\r\nOne.\r\n\r\nTwo.", ["One."], "Two."),
        ("", [], None),
        (" \n\n ", [], None),
    ],
)
def test_the_ends_of_a_question_stay(text: str, inner: list[str], query: str | None) -> None:
    """Of a user's message, what stands between its first and last paragraph; the query is the end that asks."""
    found = read([{"role": "user", "content": text}])
    assert (found.texts(), found.query) == (inner, query)


def test_parts_of_a_content() -> None:
    """Texts in parts are one message: the first and the last paragraph of all of them stay, images are no matter."""
    parts = [
        {"type": "text", "text": "Read this.\n\nOne."},
        {"type": "image_url", "image_url": {"url": "data:,"}},
        {"type": "text", "text": "Two."},
        {"type": "text", "text": "Who?"},
    ]
    chat = read([{"role": "user", "content": parts}])
    assert chat.texts() == ["One.", "Two."]
    (message,) = put(chat, ["1", "2"])
    assert [p.get("text") for p in message["content"]] == ["Read this.\n\n1", None, "2", "Who?"]


def test_marks_say_what() -> None:
    """Where text is marked nothing else is touched, wherever it stands; rates that make no sense are the default."""
    marked = 'See <laconic rate="0.3">one</laconic> and <laconic>two</laconic>, <laconic rate="7">three</laconic>. Who?'
    chat = read([{"role": "system", "content": marked}, *CHAT[1:]])
    assert chat.messages[0]["content"] == "See one and two, three. Who?"
    assert [(t, p.rate) for t, p in zip(chat.texts(), chat.pieces, strict=True)] == [
        ("one", 0.3),
        ("two", None),
        ("three", None),
    ]
    (asked,) = read([{"role": "user", "content": f"<laconic>{FACTS}</laconic> Who signed?"}]).pieces
    assert read([{"role": "user", "content": f"<laconic>{FACTS}</laconic> Who signed?"}]).query == "Who signed?"
    assert asked.marked


@pytest.mark.parametrize(
    "text", ["<laconic>", "</laconic>", "a <laconic rate='1'>b</laconic>", "<laconicx>b</laconic>"]
)
def test_half_marks_are_text(text: str) -> None:
    """What is no pair of marks stays."""
    assert unmarked(text) == (text, [])


def test_prefixes_that_a_provider_caches_stay() -> None:
    """Nothing before the last `cache_control`, nor of the frozen messages, whose marks stay too."""
    breakpoint_ = {"type": "text", "text": "hello", "cache_control": {"type": "ephemeral"}}
    assert kept([*CHAT[:4], {"role": "user", "content": [breakpoint_]}, *CHAT[4:]]) == []
    assert read(CHAT, frozen=4).pieces == []
    frozen = [{"role": "user", "content": "<laconic>x</laconic>"}]
    assert read(frozen, frozen=1).messages == frozen


texts = st.one_of(
    prose,
    st.sampled_from(AWKWARD),
    st.lists(prose, min_size=3, max_size=5).map("\n\n".join),
    prose.map(lambda t: f'before <laconic rate="0.2">{t}</laconic> after?'),
    prose.map(lambda t: f"<laconic>{t}"),
)
contents = st.one_of(
    texts,
    st.none(),
    st.integers(),
    st.lists(
        st.one_of(texts.map(lambda t: {"type": "text", "text": t}), st.just({"type": "image_url"}), st.just("x")),
        max_size=3,
    ),
)
roles = st.sampled_from(["system", "developer", "user", "assistant", "tool", "function", None])
messages = st.builds(
    lambda role, content, ident: {
        "role": role,
        "content": content,
        "tool_call_id": ident,
        "tool_calls": [{"id": ident}],
    },
    roles,
    contents,
    st.text(max_size=3),
)
chats = st.lists(st.one_of(messages, st.none(), st.just("text"), st.just({})), max_size=7)


@settings(max_examples=60)
@given(chats, st.integers(0, 3))
def test_nothing_else_changes(given_chat: list[Any], frozen: int) -> None:
    """Whatever the pieces become: roles, order, ids, other parts, and what is protected are what they were."""
    before = copy.deepcopy(given_chat)
    chat = read(given_chat, frozen)
    out = put(chat, ["*"] * len(chat.pieces))
    assert given_chat == before
    assert len(out) == len(before)
    assert out[:frozen] == before[:frozen]
    assert put(chat, chat.texts()) == chat.messages
    marks = chat.messages != before
    for old, new_ in zip(chat.messages, out, strict=True):
        if not isinstance(old, dict):
            assert new_ == old
            continue
        assert {k: v for k, v in new_.items() if k != "content"} == {k: v for k, v in old.items() if k != "content"}
        if not marks and old.get("role") not in ("user", "tool", "function"):
            assert new_ == old
        for (part, text), (same, now) in zip(texts_of(old), texts_of(new_), strict=True):
            assert part == same
            assert len(now) <= len(text)
    if not marks and (last := [m for m in chat.messages if isinstance(m, dict) and m.get("role") == "user"]):
        kept_ends = [t.strip() for t in (ends(last[-1])) if t.strip()]
        after = " ".join(t for _, t in texts_of(out[chat.messages.index(last[-1])]))
        assert all(end in after for end in kept_ends)


def ends(message: Any) -> list[str]:
    """The first line of the first text and the last line of the last."""
    found = [t for _, t in texts_of(message) if t.strip()]
    return [found[0].strip().split("\n")[0], found[-1].strip().split("\n")[-1]] if found else []


@settings(max_examples=30)
@given(st.lists(st.builds(dict, role=roles, content=texts), max_size=5), st.floats(0.05, 1), st.integers(0, 30))
def test_it_never_grows(compressor: Compressor, chat: list[Any], rate: float, least: int) -> None:
    """Tokens and characters never become more, no text becomes blank, and what is counted is what is sent."""
    read_chat = read([m for m in chat if "\ud800" not in m["content"] and "\udfff" not in m["content"]])
    found = compress_chat(compressor, read_chat, rate, least, "test", Work())
    assert found.after <= found.before
    for old, now in zip(read_chat.messages, found.messages, strict=True):
        assert len(now["content"]) <= len(old["content"])
        assert bool(now["content"].strip()) == bool(old["content"].strip())
        assert now["role"] == old["role"]


def ask(url: str, body: Any) -> httpx.Response:
    return httpx.post(f"{url}/v1/compress", json=body, timeout=30)


def test_a_gateway_is_answered(url: str) -> None:
    """LiteLLM's body: the same messages, the tool's old result shorter with its fact kept, numbers that add up."""
    response = ask(url, {"messages": CHAT, "model": "gpt-4o", "config": {"mode": "ccr", "target_ratio": 0.4}})
    assert response.status_code == 200
    found = response.json()
    assert set(found) == {
        *("messages", "tokens_before", "tokens_after", "tokens_saved"),
        *("compression_ratio", "transforms_applied", "ccr_hashes"),
    }
    assert found["messages"][:3] == CHAT[:3]
    assert found["messages"][4:] == CHAT[4:]
    result = found["messages"][3]
    assert {k: v for k, v in result.items() if k != "content"} == {"role": "tool", "tool_call_id": "call_1"}
    assert "Ada Lovelace" in result["content"]
    assert len(result["content"]) < 0.5 * len(FACTS)
    assert found["tokens_saved"] == found["tokens_before"] - found["tokens_after"] > 50
    assert found["compression_ratio"] == round(found["tokens_after"] / found["tokens_before"], 4)
    assert found["transforms_applied"] == ["laconic:token.v1"]
    assert found["ccr_hashes"] == []
    assert "infer" in response.headers["server-timing"]


def test_short_chats_come_back(url: str) -> None:
    """Nothing to compress: the messages as they came, and numbers that say so; also of no messages at all."""
    for messages_ in (CHAT[:2], []):
        found = ask(url, {"messages": messages_}).json()
        assert found["messages"] == messages_
        assert (found["tokens_saved"], found["compression_ratio"]) == (0, 1.0)
        assert found["transforms_applied"] == []


def test_the_hook_is_answered(url: str) -> None:
    """Headroom's hook: at most the share asked for, its placeholders kept; no ratio is the service's own."""
    body = {"content": f"{FACTS}{{{{HEADROOM_TAG_3}}}} {FACTS}", "target_ratio": 0.3}
    found = httpx.post(f"{url}/compress", json=body, timeout=30).json()
    assert set(found) == {"compressed", "original_tokens", "compressed_tokens", "compression_ratio", "model_used"}
    assert "{{HEADROOM_TAG_3}}" in found["compressed"]
    assert found["compressed_tokens"] <= 0.3 * found["original_tokens"]
    assert found["compression_ratio"] == round(found["compressed_tokens"] / found["original_tokens"], 4)
    assert found["model_used"] == "laconic-mini"
    found = httpx.post(f"{url}/compress", json={"content": FACTS, "target_ratio": None}, timeout=30).json()
    assert 0.4 < found["compression_ratio"] <= 0.5
    assert httpx.post(f"{url}/compress", json={"content": ""}, timeout=30).json()["compressed"] == ""


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("/v1/compress", {"messages": "hello"}, 422, "messages"),
        ("/v1/compress", {"messages": ["hello"]}, 422, "messages.0"),
        ("/v1/compress", {"messages": [], "config": {"target_ratio": 0}}, 422, "config.target_ratio"),
        ("/v1/compress", {"messages": [], "config": {"frozen_message_count": -1}}, 422, "config.frozen_message_count"),
        ("/v1/compress", {"messages": [{"role": "user", "content": "a\ud800"}]}, 422, "messages"),
        ("/v1/compress", {"messages": [{"role": "user", "content": "a " * 60_000}]}, 413, "messages"),
        ("/v1/compress", {"text": "a", "query": 7}, 422, "query"),
        ("/compress", {"content": 7}, 422, "content"),
        ("/compress", {"content": "a", "target_ratio": 2}, 422, "target_ratio"),
        ("/compress", {"content": "a " * 60_000}, 413, "documents"),
        ("/v1/chat/completions", {"messages": []}, 404, "upstream_url"),
    ],
)
def test_errors_have_the_one_shape(url: str, path: str, body: Any, status: int, param: str) -> None:
    """Every bad body gets its status and the field that is wrong, as of any other route."""
    response = httpx.post(f"{url}{path}", content=json.dumps(body), headers={"content-type": "application/json"})
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (status, param)
    assert set(error) == {"type", "code", "message", "param", "request_id"}


def test_keys_are_asked_for(compressor: Compressor, tmp_path: Any) -> None:
    """The hook needs a key like everything else, although it is not under /v1/."""
    key, lines = new("gateway")
    (tmp_path / "keys.toml").write_text(lines)
    with serving(Settings(api_keys_file=tmp_path / "keys.toml"), compressor) as url:
        assert httpx.post(f"{url}/compress", json={"content": "a"}).status_code == 401
        known = {"authorization": f"Bearer {key}"}
        assert httpx.post(f"{url}/compress", json={"content": "a"}, headers=known).status_code == 200


def test_documented(url: str) -> None:
    """Both bodies of /v1/compress, the hook and the pass-through are in the OpenAPI document."""
    paths = httpx.get(f"{url}/openapi.json").json()["paths"]
    (body,) = paths["/v1/compress"]["post"]["requestBody"]["content"].values()
    names = [ref["$ref"].rpartition("/")[2] for ref in body["schema"]["oneOf"]]
    assert names == ["CompressRequest", "ChatRequest"]
    assert {"/compress", "/v1/chat/completions"} <= set(paths)
