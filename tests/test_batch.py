"""Batches: over HTTP in both directions at once, and file to file with a kill in the middle."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pyarrow
import pyarrow.parquet
import pytest

from laconic.compressors import Compressor
from laconic.service.filebatch import BatchError, done, reads, requests, run

from .conftest import wait_until
from .test_cli import run as command

LINES = {"content-type": "application/x-ndjson"}
HEAD = b"POST /v1/compress/batch HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/x-ndjson\r\n"
TEXT = "It rained all day. The treaty number {} was signed by Ada Lovelace. Lunch was good. Nobody complained."


def line(i: int, **more: object) -> bytes:
    body = {"query": "who signed?", "text": TEXT.format(i), "budget": {"rate": 0.5}, **more}
    return json.dumps(body).encode() + b"\n"


def test_answers_come_in_order_and_errors_stay_theirs(address: str) -> None:
    """Every line is answered in order; a broken one with its own status and the one error shape."""
    content = line(0) + b"not json\n\n" + line(2, reader="nobody") + line(3, colour="red") + line(4).rstrip()
    found = httpx.post(f"{address}/v1/compress/batch", headers=LINES, content=content, timeout=60)
    rows = [json.loads(x) for x in found.text.splitlines()]
    assert found.headers["content-type"] == "application/x-ndjson"
    assert [r["index"] for r in rows] == [0, 1, 2, 3, 4]
    assert [r["status"] for r in rows] == [200, 400, 404, 422, 200]
    alone = httpx.post(f"{address}/v1/compress", content=line(4), headers={"content-type": "application/json"}).json()
    assert rows[4]["answer"]["text"] == alone["text"]
    assert rows[3]["error"]["param"] == "colour"
    assert httpx.post(f"{address}/v1/compress/batch", headers=LINES, content=b"").text == ""


def test_streams_both_ways(address: str) -> None:
    """The first answer arrives before the second request is sent; a line may be sent in pieces."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as s:
        s.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        read = s.makefile("rb")
        for i in range(3):
            for part in (line(i)[:20], line(i)[20:]):
                s.sendall(b"%x\r\n%s\r\n" % (len(part), part))
            while not (got := read.readline()).startswith(b'{"index"'):
                assert got
            assert json.loads(got)["index"] == i
        s.sendall(b"0\r\n\r\n")
        assert b"0\r\n" in read.readline() + read.readline()


def test_a_line_longer_than_a_body_is_its_own_413(address: str) -> None:
    """The batch goes on after it; the whole batch may be longer than one body."""
    content = line(0) + line(1, separator="x")[:-2] + b" " * 1_100_000 + b"}\n" + line(2)
    rows = [
        json.loads(x)
        for x in httpx.post(f"{address}/v1/compress/batch", headers=LINES, content=content).text.splitlines()
    ]
    assert [r["status"] for r in rows] == [200, 413, 200]


def test_a_client_that_leaves_ends_its_batch(address: str) -> None:
    """Closing the socket in the middle leaves nothing behind in the queue."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as s:
        s.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        for i in range(20):
            part = line(i, text=TEXT * 40)
            s.sendall(b"%x\r\n%s\r\n" % (len(part), part))
    # what had been read before it left is answered first: on a busy machine that takes a while
    wait_until(lambda: "laconic_queue_requests 0.0" in httpx.get(f"{address}/metrics").text, 60)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"".join(line(i) for i in range(300)) + line(300, budget={"rate": 7}) + b"\n")
    return path


def test_a_killed_run_goes_on(source: Path, tmp_path: Path, compressor: Compressor) -> None:
    """SIGKILL in the middle, a torn last line, a second run: every line once, in order, as an undisturbed run gives."""
    target = tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "laconic.service", "batch", str(source), str(target)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: target.exists() and target.stat().st_size > 2000, 30)
        process.send_signal(signal.SIGKILL)
    begun = target.read_bytes()
    assert 0 < begun.count(b"\n") < 301
    target.write_bytes(begun + b'{"request": "to')
    finished = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert finished.returncode == 1  # one line is an error, and says so
    assert "301 answers" in finished.stdout
    rows = [json.loads(x) for x in target.read_text().splitlines()]
    assert [r["index"] for r in rows] == list(range(301))
    assert rows[300]["error"]["param"] == "budget.rate"
    whole = tmp_path / "again.jsonl"
    assert run(compressor, source, whole, 2) == (301, 1)
    texts = [[json.loads(x).get("answer", {}).get("text") for x in p.read_text().splitlines()] for p in (target, whole)]
    assert texts[0] == texts[1]


def test_another_input_is_refused(source: Path, tmp_path: Path, compressor: Compressor) -> None:
    """Answers to one file are never mixed with answers to another."""
    few = tmp_path / "few.jsonl"
    few.write_bytes(line(0) + line(1))
    target = tmp_path / "out.jsonl"
    run(compressor, few, target, 2)
    few.write_bytes(line(0) + line(7))
    with pytest.raises(BatchError, match="line 2"):
        done(target, requests(few))
    with pytest.raises(BatchError, match="No such file"):
        list(requests(tmp_path / "none.jsonl"))


def test_a_byte_order_mark_is_no_part_of_the_first_request(tmp_path: Path, compressor: Compressor) -> None:
    """As Windows' editors write it: the first line is answered, and known again when the work goes on."""
    marked, plain, target = tmp_path / "marked.jsonl", tmp_path / "plain.jsonl", tmp_path / "out.jsonl"
    plain.write_bytes(line(0, recipe="lexical.v1") + line(1, recipe="lexical.v1"))
    marked.write_bytes(b"\xef\xbb\xbf" + plain.read_bytes())
    assert run(compressor, marked, target, 2) == (2, 0)
    assert done(target, requests(marked)) == done(target, requests(plain)) == 2


def test_answers_are_not_read_as_requests(tmp_path: Path) -> None:
    """Beside the requests of a folder they would be, and never end; beside one file, or deeper, they are not."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(line(0, recipe="lexical.v1"))
    for place in (folder, folder / "z.jsonl", folder / "." / "z.parquet"):
        assert reads(folder, place)
    done = command("batch", str(folder), str(folder / "z.jsonl"))
    assert done.returncode == 1
    assert b"a place of their own" in done.stderr
    assert not (folder / "z.jsonl").exists()
    for place in (tmp_path / "z.jsonl", folder / "deeper" / "z.jsonl", folder / "parts"):
        assert not reads(folder, place)
    assert not reads(folder / "a.jsonl", folder / "z.jsonl")


def test_parquet_both_ways(tmp_path: Path, compressor: Compressor) -> None:
    """Columns are the request's fields; the answers' table has text, counts and the whole answer."""
    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    rows = [
        {"query": "who signed?", "documents": [{"id": "a", "text": TEXT.format(1)}], "text": None},
        {"query": None, "documents": None, "text": TEXT.format(2)},
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), source)
    assert run(compressor, source, target, 2) == (2, 0)
    found = pyarrow.parquet.read_table(target).to_pylist()
    assert [r["status"] for r in found] == [200, 200]
    assert "Ada Lovelace" in found[0]["text"]
    assert json.loads(found[0]["answer"])["documents"][0]["id"] == "a"
    with pytest.raises(BatchError):
        list(requests(tmp_path / "out.jsonl.parquet"))
