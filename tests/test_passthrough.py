"""The OpenAI-compatible pass-through, over real sockets and with the clients that people have."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from laconic.compressors import Compressor
from laconic.service.admission import Overloaded
from laconic.service.keys import new
from laconic.service.settings import Settings, load

from .conftest import free_port, serving
from .test_docs import ROOT, blocks
from .test_fronts import CALL, CHAT, FACTS
from .upstream import ERROR, Upstream, upstream

openai = pytest.importorskip("openai")
QUESTION = f'<laconic rate="0.3">{FACTS}</laconic>\n\nWho signed it?'
JSON = {"content-type": "application/json"}
MARKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]


@pytest.fixture(scope="module")
def model() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@pytest.fixture(scope="module")
def url(compressor: Compressor, model: Upstream) -> Iterator[str]:
    settings = Settings(upstream_url=model.url, upstream_min_tokens=50, max_body_bytes=100_000, max_characters=50_000)
    with serving(settings, compressor) as found:
        yield found


def post(url: str, body: Any, **headers: str) -> httpx.Response:
    return httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=30)


def compressed(messages: list[Any]) -> bool:
    """Whether MARKED arrived without its tags, shorter, its fact and its question kept."""
    system, user = messages
    text = user["content"]
    return (
        system == MARKED[0]
        and "laconic" not in text
        and "Ada Lovelace" in text
        and text.endswith("\n\nWho signed it?")
        and len(text) < 0.4 * len(FACTS)
    )


def test_openai_client(url: str, model: Upstream) -> None:
    """OpenAI's client unmodified: an answer, what was saved in its headers, everything else passed on as it was."""
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="sk-caller", organization="org-1", max_retries=0)
    asked = client.chat.completions.with_raw_response.create(
        model="stand-in", messages=MARKED, temperature=0.25, extra_body={"top_k": 3}, seed=2**60
    )
    assert asked.parse().choices[0].message.content == "Ada Lovelace signed."
    assert compressed(model.messages)
    rest = {k: v for k, v in model.body.items() if k != "messages"}
    assert rest == {"model": "stand-in", "temperature": 0.25, "top_k": 3, "seed": 2**60}
    sent = model.headers[-1]
    assert (sent["authorization"], sent["openai-organization"]) == ("Bearer sk-caller", "org-1")
    headers = asked.headers
    assert headers["x-laconic-compressed"] == "true"
    before, after = int(headers["x-laconic-tokens-before"]), int(headers["x-laconic-tokens-after"])
    assert 0 < after < 0.4 * before
    assert int(headers["x-laconic-saved"]) == before - after
    assert headers["openai-processing-ms"] == "7"
    assert headers["x-upstream-request-id"] == "theirs"
    assert headers["x-request-id"] == sent["x-request-id"]
    assert "set-cookie" not in headers


def test_streams_come_as_they_are_made(url: str, model: Upstream) -> None:
    """Chunks arrive one by one, while the upstream still works, through OpenAI's client."""
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="sk", max_retries=0)
    times, words = [], []
    for part in client.chat.completions.create(model="stand-in", messages=MARKED, stream=True):
        times.append(time.monotonic())
        words.append(part.choices[0].delta.content or "")
    assert "".join(words) == "Ada Lovelace signed."
    assert times[1] - times[0] > 0.1
    assert compressed(model.messages)
    raw = post(url, {"model": "stand-in", "messages": MARKED, "stream": True})
    assert raw.headers["content-type"].startswith("text/event-stream")
    assert raw.content.endswith(b"data: [DONE]\n\n")


def test_langchain_openai(url: str, model: Upstream) -> None:
    """ChatOpenAI unmodified, invoked and streamed; a tool's call and its result keep their ids."""
    chat_openai = pytest.importorskip("langchain_openai").ChatOpenAI
    chat = chat_openai(model="stand-in", base_url=f"{url}/v1", api_key="sk", max_retries=0)
    assert chat.invoke([("system", "Be brief."), ("human", QUESTION)]).content == "Ada Lovelace signed."
    assert compressed(model.messages)
    parts = [m.content for m in chat.stream([("system", "Be brief."), ("human", QUESTION)])]
    assert [p for p in parts if p] == ["Ada ", "Lovelace ", "signed."]
    assert compressed(model.messages)
    assert chat.invoke(CHAT).content == "Ada Lovelace signed."
    call, result = model.messages[2:4]
    assert call["tool_calls"][0]["id"] == result["tool_call_id"] == CALL["id"]
    assert call["tool_calls"][0]["function"] == CALL["function"]
    assert "Ada Lovelace" in result["content"]
    assert len(result["content"]) < 0.6 * len(FACTS)
    assert model.messages[0]["content"] == FACTS


def test_what_need_not_change_does_not(url: str, model: Upstream) -> None:
    """Without marks or long context the upstream gets the caller's very bytes, whatever they are."""
    for raw in (
        b'{ "model":"stand-in","x":1.50, "messages":[{"role":"user","content":"caf\\u00e9 \xc3\xa9?"}]}',
        b'{"model": "stand-in", "x": 1e999, "messages": [7, null]}',
    ):
        response = httpx.post(f"{url}/v1/chat/completions?api-version=2", content=raw, headers=JSON)
        assert (response.status_code, model.raw[-1], model.queries[-1]) == (200, raw, "api-version=2")
        assert response.headers["x-laconic-compressed"] == "false"
        assert response.headers["x-laconic-saved"] == "0"
    assert httpx.post(f"{url}/v1/chat/completions", content=b"[1", headers=JSON).status_code == 400
    assert model.raw[-1] == b"[1"


def test_errors_come_as_they_are(url: str, model: Upstream) -> None:
    """The upstream's status, headers and body are the caller's, and its client raises what it always does."""
    response = post(url, {"model": "error", "messages": MARKED})
    assert (response.status_code, response.json(), response.headers["retry-after"]) == (429, ERROR, "3")
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="sk", max_retries=0)
    with pytest.raises(openai.RateLimitError, match="too many requests"):
        client.chat.completions.create(model="error", messages=MARKED)


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("laconic.compressors.Compressor.pipeline", ZeroDivisionError()),
        ("laconic.service.admission.Admission.admit", Overloaded("come back later", 9.0)),
    ],
)
def test_a_broken_compressor_is_no_hindrance(
    url: str,
    model: Upstream,
    place: str,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Fail open, broken or overloaded: the upstream gets the caller's text, without tags, and the headers tell."""

    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(place, broken)
    response = post(url, {"model": "stand-in", "messages": MARKED})
    assert response.status_code == 200
    assert response.headers["x-laconic-compressed"] == "failed"
    assert "x-laconic-saved" not in response.headers
    assert model.messages == [MARKED[0], {"role": "user", "content": f"{FACTS}\n\nWho signed it?"}]
    assert "Ada" not in caplog.text


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": f"<laconic>{'a ' * 30_000}</laconic> Who?"}],  # more than max_characters
        [{"role": "user", "content": "<laconic>a\ud800b</laconic> Who?"}],  # not Unicode
    ],
)
def test_what_cannot_be_compressed_goes_on(url: str, model: Upstream, messages: list[Any]) -> None:
    """Beyond the limits of compression, or no text at all: passed on whole, tags aside."""
    raw = json.dumps({"model": "stand-in", "messages": messages})
    response = httpx.post(f"{url}/v1/chat/completions", content=raw, headers=JSON, timeout=30)
    assert (response.status_code, response.headers["x-laconic-compressed"]) == (200, "failed")
    assert model.messages[0]["content"] == messages[0]["content"].replace("<laconic>", "").replace("</laconic>", "")


def test_bodies_have_their_limit(url: str, model: Upstream) -> None:
    """A body over the limit is refused here and never sent."""
    seen = len(model.raw)
    response = post(url, {"model": "stand-in", "messages": [{"role": "user", "content": "a" * 100_000}]})
    assert (response.status_code, response.json()["error"]["code"]) == (413, "too_large")
    assert len(model.raw) == seen


def test_leaving_ends_the_upstreams_work(url: str, model: Upstream) -> None:
    """A client that closes its connection in the middle of a stream closes the upstream's too."""
    model.left.clear()
    body = {"model": "slow", "messages": MARKED}
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=30) as response:
        parts = response.iter_raw()
        assert next(parts).startswith(b"data: ")
        assert not model.left.is_set()
    assert model.left.wait(5)


def test_a_stream_that_breaks_off_is_seen_broken(url: str) -> None:
    """An upstream that dies in the middle is not ended as if it were done."""
    with pytest.raises(httpx.RemoteProtocolError):
        post(url, {"model": "cut", "messages": MARKED})


def test_an_upstream_that_is_away(compressor: Compressor) -> None:
    """502 in the service's own shape; and of one that never answers, the client's leaving ends the wait."""
    with serving(Settings(upstream_url=f"http://127.0.0.1:{free_port()}/v1"), compressor) as url:
        error = post(url, {"messages": MARKED})
        assert (error.status_code, error.json()["error"]["code"]) == (502, "upstream_unreachable")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(5)
        with serving(Settings(upstream_url=f"http://127.0.0.1:{silent.getsockname()[1]}"), compressor) as url:
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{url}/v1/chat/completions", json={"messages": []}, timeout=1)
            connection, _ = silent.accept()
            connection.settimeout(5)
            while connection.recv(65536):
                pass  # what was asked, then the end: the service has hung up
            connection.close()


def test_whose_key_is_sent(compressor: Compressor, model: Upstream, tmp_path: Path) -> None:
    """With a key of its own the service sends that; with API keys a caller's is never passed on."""
    (tmp_path / "upstream.key").write_text("sk-service\n")
    key, lines = new("team-a", ["chat"])
    (tmp_path / "keys.toml").write_text(lines)
    own: dict[str, Any] = {"upstream_url": model.url, "upstream_key_file": tmp_path / "upstream.key"}
    body = {"model": "stand-in", "messages": CHAT[:2]}
    with serving(Settings(**own), compressor) as url:
        assert post(url, body, authorization="Bearer sk-caller").status_code == 200
        assert model.headers[-1]["authorization"] == "Bearer sk-service"
    with serving(Settings(upstream_url=model.url, api_keys_file=tmp_path / "keys.toml"), compressor) as url:
        assert post(url, body, authorization="Bearer sk-caller").status_code == 401
        assert post(url, body, authorization=f"Bearer {key}", cookie="a=b").status_code == 200
        assert not {"authorization", "cookie"} & set(model.headers[-1])


GUIDE = (ROOT / "docs" / "fronts.md").read_text()


@pytest.mark.parametrize("block", blocks("python", GUIDE))
def test_python_of_the_guide_runs(
    url: str, block: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every Python block of the guide runs as it stands; here, where its packages are loaded already."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    exec(block.replace("http://127.0.0.1:8000", url), {"__name__": "__main__"})
    assert "Ada" in capfd.readouterr().out


@pytest.mark.parametrize("block", [b for b in blocks("sh", GUIDE) if b.startswith("curl")])
def test_shell_of_the_guide_runs(url: str, block: str) -> None:
    """Every question of the guide is answered."""
    script = block.replace("http://127.0.0.1:8000", url)
    done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["compression_ratio"] < 1
    assert "Ada" in done.stdout


@pytest.mark.parametrize("wrong", ["ftp://a/v1", "a/v1", "http://", "http://a/v1?x=1"])
def test_upstreams_are_urls(wrong: str) -> None:
    """A setting that is no address of a service is refused at start."""
    with pytest.raises(ValueError, match="an upstream's URL"):
        load(upstream_url=wrong)
