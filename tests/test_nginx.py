"""Behind a real nginx, configured as the docs show it: batches are a conversation, events come one by one."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from laconic.models import FakeBackend, Model, Scheduler, TextTokenizer
from laconic.models.fake_backend import FAKE_CARD
from laconic.service.settings import Settings

from .balancer import nginx
from .conftest import free_port, serving, wait_until
from .test_edge import With, body, post
from .upstream import upstream
from .wire import Wire, chunk, head

CONFIG = Path(__file__).parent.parent / "docs/examples/nginx.conf"
NGINX = nginx()
LINE = json.dumps(body()).encode() + b"\n"

if NGINX is None:
    if os.environ.get("LACONIC_REQUIRE_BALANCER"):
        raise RuntimeError("LACONIC_REQUIRE_BALANCER is set, and there is no nginx: see .ci/balancer")
    pytest.skip("no nginx here: apt-get install nginx-light", allow_module_level=True)


@pytest.fixture(scope="module")
def service(tokenizer: TextTokenizer) -> Iterator[str]:
    lane = Scheduler(FakeBackend(), 1)
    fake = With(Model(card=FAKE_CARD, tokenizer=tokenizer, backend=lane, profile="fake"))
    with upstream() as behind, serving(Settings(upstream_url=behind.url), fake) as address:
        yield address
    lane.close()


@pytest.fixture(scope="module")
def front(service: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """nginx's address."""
    at, port = tmp_path_factory.mktemp("nginx"), free_port()
    shown = CONFIG.read_text().replace("127.0.0.1:8000", service.removeprefix("http://"))
    shown = shown.replace("listen 8080", f"listen 127.0.0.1:{port}")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "".join(f"{kind}_temp_path {at}/{kind};" for kind in kinds)
    whose = "user root;" if os.getuid() == 0 else ""  # only its own user may write where tests do
    config = f"{whose} daemon off; pid {at}/pid; worker_processes 1; error_log {at}/log;"
    (at / "conf").write_text(f"{config} events {{}} http {{ access_log off; {folders}\n{shown}\n}}")
    with subprocess.Popen([str(NGINX), "-c", str(at / "conf"), "-e", str(at / "log")]) as process:
        address = f"http://127.0.0.1:{port}"
        try:
            wait_until(lambda: httpx.get(f"{address}/livez").status_code == 200)
            yield address
        finally:
            process.terminate()


def test_a_batch_is_a_conversation(front: str) -> None:
    """Through nginx each line's answer comes before the next line is sent, also where a 100 is expected."""
    lines = "content-type: application/x-ndjson"
    for more in ((), ("expect: 100-continue",)):
        with Wire(front, head("POST /v1/compress/batch", lines, "transfer-encoding: chunked", *more)) as wire:
            if more:
                assert b" 100 " in wire.until(b"\r\n\r\n")
            for number in range(3):
                wire.say(chunk(LINE))
                assert b'"index":%d' % number in wire.until(b"}\n")
            wire.say(b"0\r\n\r\n")
            wire.until(b"0\r\n\r\n")


def test_events_are_not_held_back(front: str) -> None:
    """Events of a chat come through nginx one by one: the first while the upstream has not said the second."""
    asked = {"model": "slow", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
    with httpx.stream("POST", f"{front}/v1/chat/completions", json=asked, timeout=20) as answer:
        assert "Ada" in next(answer.iter_lines())  # the third comes half a minute later


def test_streams_say_that_they_are(service: str) -> None:
    """`X-Accel-Buffering: no` is on batches and on events, for proxies whose configuration says nothing."""
    batch = httpx.post(
        f"{service}/v1/compress/batch", content=LINE, headers={"content-type": "application/x-ndjson"}, timeout=20
    )
    asked = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
    events = httpx.post(f"{service}/v1/chat/completions", json={**asked, "stream": True}, timeout=20)
    whole = httpx.post(f"{service}/v1/chat/completions", json=asked, timeout=20)
    said = [a.headers.get("x-accel-buffering") for a in (batch, events, whole)]
    assert said == ["no", "no", None]


def test_what_is_not_streamed_is_as_without(front: str) -> None:
    """A compression of more than a megabyte passes, and what is too large is refused by nginx as nginx does."""
    text = "The bridge was built by Ada Lovelace in the year of the flood. " * 20_000
    assert post(front, text=text, recipe="lexical.v1").status_code == 200
    assert httpx.post(f"{front}/v1/compress", content=b" " * 9_000_000, timeout=20).status_code == 413
