"""The pass-through between tenants: what one caller leaves, holds or sends never reaches the next, nor the upstream."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from laconic.compressors import Compressor
from laconic.service.admission import Overloaded
from laconic.service.keys import BURST
from laconic.service.settings import Settings
from laconic.service.upstream import Room

from .conftest import serving, wait_until
from .test_edge import key_file
from .upstream import Upstream, upstream

CHAT = {"model": "stand-in", "messages": [{"role": "user", "content": "Who signed it?"}]}


@pytest.fixture(scope="module")
def model() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@contextmanager
def raw_upstream(answer: bytes | None) -> Iterator[str]:
    """A socket that reads what it is asked and answers these bytes, or nothing ever."""
    listener = socket.create_server(("127.0.0.1", 0))
    held = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                held.append(client)
                if answer is not None:
                    client.recv(65536)
                    client.sendall(answer)
                    client.close()

    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    listener.close()
    for client in held:
        client.close()


def post(url: str, key: str | None = None, body: Any = CHAT, **more: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    headers |= more.pop("headers", {})
    return httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers, **{"timeout": 30, **more})


def keys_of(folder: Path, *names: str, **extra: str) -> tuple[dict[str, str], Path]:
    path = folder / "keys.toml"
    made = key_file(path, *names, **extra)
    path.write_text(path.read_text().replace('["compress"]', '["compress", "chat"]'))
    return made, path


def test_a_cookie_of_the_upstream_is_not_the_next_callers(compressor: Compressor, model: Upstream) -> None:
    """The upstream sets a cookie with every answer; no request that follows carries one."""
    with serving(Settings(upstream_url=model.url), compressor) as url:
        for _ in range(3):
            assert post(url).status_code == 200
            assert "cookie" not in model.headers[-1]


def test_beside_the_operators_key_no_other_credential_goes_up(
    compressor: Compressor, model: Upstream, tmp_path: Path
) -> None:
    """Of a caller's headers and query go up those known to hold no key; without a key of ours all but a few do."""
    (tmp_path / "up").write_text("sk-service\n")
    theirs = {"x-api-key": "k1", "api-key": "k2", "openai-organization": "k3", "openai-project": "k4"}
    theirs |= {"x-goog-api-key": "k5", "anthropic-dangerous": "k6", "x-amz-security-token": "k7", "cookie": "k8"}
    harmless = {"openai-beta": "assistants=v2", "anthropic-version": "2023-06-01", "x-stainless-lang": "python"}
    query = "?key=k9&access_token=k10&api-version=2025-01-01"
    with serving(Settings(upstream_url=model.url, upstream_key_file=tmp_path / "up"), compressor) as url:
        asked = httpx.post(f"{url}/v1/chat/completions{query}", json=CHAT, headers={**theirs, **harmless}, timeout=30)
        assert asked.status_code == 200
        sent = model.headers[-1]
        assert sent["authorization"] == "Bearer sk-service"
        assert not set(theirs) & set(sent)
        assert harmless.items() <= sent.items()
        assert model.queries[-1] == "api-version=2025-01-01"
    account = model.url.replace("http://", "http://me:pass%20word@")
    with serving(Settings(upstream_url=account), compressor) as url:
        assert post(url, headers=theirs).status_code == 200
        sent = model.headers[-1]
        assert sent["authorization"] == "Basic bWU6cGFzcyB3b3Jk"
        assert not set(theirs) & set(sent)
    with serving(Settings(upstream_url=model.url), compressor) as url:
        assert post(url, "own", headers=theirs).status_code == 200
        sent = model.headers[-1]
        assert (sent["authorization"], sent["openai-organization"]) == ("Bearer own", "k3")
        assert post(url, headers={"authorization": "NTLM TlRM"}).status_code == 200
        assert "authorization" not in model.headers[-1]  # it would let in whoever has the connection next


def test_hanging_chats_of_one_key_are_not_anothers(compressor: Compressor, tmp_path: Path) -> None:
    """One key hangs as many chats as it may; its next are 429 in the one shape, another key's goes up at once."""
    keys, path = keys_of(tmp_path, "a", "b")
    with raw_upstream(None) as away, ThreadPoolExecutor(12) as pool:
        settings = Settings(upstream_url=away, api_keys_file=path, upstream_chats=8)
        with serving(settings, compressor) as url:
            asked = [pool.submit(post, url, keys["a"], timeout=4) for _ in range(12)]
            wait_until(lambda: sum(f.done() for f in asked) >= 8, 10)
            refused = [f.result() for f in asked if f.done()]
            assert {r.status_code for r in refused} == {429}
            assert refused[0].json()["error"]["type"] == "overloaded"
            assert int(refused[0].headers["retry-after"]) >= 1
            with pytest.raises(httpx.ReadTimeout):  # it is passed on, and hangs: neither 429 nor 502
                post(url, keys["b"], timeout=1)
            for f in asked:
                with suppress(httpx.ReadTimeout):
                    f.result()
            wait_until(lambda: _room(url, keys["a"]), 10)  # who left holds nothing


def _room(url: str, key: str) -> bool:
    try:
        return post(url, key, timeout=1).status_code != 429
    except httpx.ReadTimeout:
        return True


def test_room_is_shared() -> None:
    """A key may hold as many as are free, alone half; without keys one caller may hold all; nobody more than all."""
    room = Room(8, shared=True)
    with ExitStack() as held:
        for name, most in (("a", 4), ("b", 2), ("c", 1), ("d", 1)):
            for _ in range(most):
                held.enter_context(room.taken(name))
            with pytest.raises(Overloaded), room.taken(name):
                pass
    alone = Room(3, shared=False)
    with alone.taken("x"), alone.taken("x"), alone.taken("x"), pytest.raises(Overloaded), alone.taken("x"):
        pass
    assert not alone.held
    assert not room.held


@pytest.mark.parametrize("compressed", [True, False])
def test_tokens_per_second_holds_for_chats(
    compressor: Compressor, model: Upstream, tmp_path: Path, compressed: bool
) -> None:
    """A chat is charged to its key, compressed or passed on as it is; what is owed is a 429 before anything goes up."""
    keys, path = keys_of(tmp_path, "a", "b", a="tokens_per_second = 5\n")
    text = "The treaty was signed by Ada Lovelace. " * 40
    marked = f"<laconic>{text}</laconic> Who?" if compressed else text
    body = {"model": "stand-in", "messages": [{"role": "user", "content": marked}]}
    assert len(text) / 4 > 2 * 5 * BURST
    settings = Settings(upstream_url=model.url, api_keys_file=path, upstream_min_tokens=100_000)
    with serving(settings, compressor) as url:
        first = post(url, keys["a"], body)
        assert (first.status_code, first.headers["x-laconic-compressed"]) == (200, "true" if compressed else "false")
        seen = len(model.raw)
        late = post(url, keys["a"], body)
        assert (late.status_code, late.json()["error"]["type"]) == (429, "overloaded")
        assert "tokens per second" in late.json()["error"]["message"]
        assert len(model.raw) == seen
        assert post(url, keys["b"], body).status_code == 200


@pytest.mark.parametrize("status", ["999 Odd", "600 Odd", "101 Switching Protocols", "99 Odd", "1000 Odd", "-1 Odd"])
def test_a_status_that_is_none_is_a_502(compressor: Compressor, status: str) -> None:
    """What no HTTP server may say is told in the one shape; the caller's connection is not dropped."""
    answer = f"HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}".encode()
    with raw_upstream(answer) as odd, serving(Settings(upstream_url=odd), compressor) as url:
        asked = post(url)
        assert asked.status_code == 502
        assert asked.json()["error"]["code"] in ("upstream_invalid", "upstream_unreachable")
