"""The `laconic` command as a user runs it: a process of its own, exit codes, pipes, a terminal."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from laconic.service.settings import SettingsError, load

from .conftest import free_port, wait_until

COMMAND = [sys.executable, "-m", "laconic.service"]
TEXT = "It rained all day. The treaty was signed by Ada. Lunch was good."


def run(*args: str, stdin: str | bytes = "", **env: str) -> subprocess.CompletedProcess[bytes]:
    data = stdin if isinstance(stdin, bytes) else stdin.encode()
    return subprocess.run([*COMMAND, *args], input=data, capture_output=True, env={**os.environ, **env}, timeout=60)


def test_compress_file_and_pipe(tmp_path: Path) -> None:
    """A file or standard input in, kept text out, figures on standard error."""
    (tmp_path / "notes.md").write_text(TEXT)
    for done in (
        run(
            "compress",
            str(tmp_path / "notes.md"),
            "--query",
            "who signed the treaty?",
            "--tokens",
            "7",
            "--unit",
            "sentence",
        ),
        run("compress", "-", "--query", "who signed the treaty?", "--tokens", "7", "--unit", "sentence", stdin=TEXT),
    ):
        assert done.returncode == 0
        assert done.stdout.decode() == "The treaty was signed by Ada.\n"
        assert b"tokens" in done.stderr


def test_compress_tree() -> None:
    """The tree shows blocks by their marks and clauses under what they depend on."""
    text = b"# Guide\n\nThe treaty was signed by Ada, because she was there.\n\n- Lunch was good.\n"
    done = run("compress", "-", "--recipe", "edu.v1", "--rate", "0.5", "--tree", stdin=text)
    assert done.returncode == 0
    assert [line.strip("│├└─ ") for line in done.stdout.decode().splitlines()] == [
        "§",
        "# Guide",
        "¶",
        "The treaty was signed by Ada,",
        "because she was there.",
        "•",
        "- Lunch was good.",
    ]


def test_compress_tree_of_other_kinds() -> None:
    """What hangs from tags hangs from its blocks here, by its sentences; all of a coded text is kept."""
    page = "<ul>\n<li>One is here. Two is there.</li>\n<li>Three was gone.</li>\n</ul>\n"
    done = run("compress", "-", "--recipe", "html.v1", "--rate", "0.6", "--tree", stdin=page)
    assert [line.strip("├└─ ") for line in done.stdout.decode().splitlines()] == ["¶", *page.splitlines()]
    text = "The pump was opened and closed by hand. Nobody saw it.\n" * 12
    done = run("compress", "-", "--recipe", "meta.v1", "--tree", stdin=text, FORCE_COLOR="1", TERM="xterm")
    assert b"\x1b[1mThe pump" in done.stdout and b"\x1b[2m" not in done.stdout


def test_compress_json() -> None:
    """`--json` gives the REST answer."""
    done = run("compress", "-", "--rate", "0.5", "--json", stdin=TEXT)
    found = json.loads(done.stdout)
    assert found["usage"]["tokens_out"] <= 0.5 * found["usage"]["tokens_in"]


@pytest.mark.parametrize(
    ("args", "stdin", "code", "message"),
    [
        (("compress", "/nope"), "", 1, "No such file"),
        (("compress", "-"), b"\xff\xff", 1, "not UTF-8"),
        (("compress", "-", "--rate", "7"), TEXT, 2, "less than or equal to 1"),
        (("compress", "-", "--recipe", "x.v1"), TEXT, 2, "no recipe"),
        (("compress", "-", "--rate", "0.2", "--tokens", "3"), TEXT, 2, "not allowed with"),
        (("compress", "-", "--model", "nope"), TEXT, 2, "no model"),
        (("compress", "-", "--profile", "nope"), TEXT, 1, "no profile"),
        (("serve", "--port", "none"), "", 2, "port"),
        (("explode",), "", 2, "invalid choice"),
    ],
)
def test_wrong_calls_say_why(args: tuple[str, ...], stdin: str | bytes, code: int, message: str) -> None:
    """A wrong call exits with 2, a failed one with 1, and one line tells why."""
    done = run(*args, stdin=stdin)
    assert done.returncode == code
    assert message in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_models_and_doctor() -> None:
    """Both commands check the real installation and have a machine's form."""
    done = run("models", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["models"][0]["files"] == "verified"
    assert b"laconic-mini" in run("models").stdout
    checks = json.loads(run("doctor", "--json").stdout)["checks"]
    assert all(c["ok"] for c in checks)
    broken = run("doctor", "--model", "nope")
    assert broken.returncode == 1
    assert b"FAIL" in broken.stdout
    away = f"redis://:sesame@127.0.0.1:{free_port()}/0"
    redis = next(
        c for c in json.loads(run("doctor", "--json", "--redis-url", away).stdout)["optional"] if c["name"] == "redis"
    )
    assert not redis["ok"]
    assert "Error" in redis["note"]
    assert "sesame" not in redis["note"]


def test_terminal_shows_what_was_dropped(tmp_path: Path) -> None:
    """On a terminal the whole text is shown, dropped words dimmed and struck, kept ones bold."""
    (tmp_path / "n.txt").write_text(TEXT)
    leader, follower = pty.openpty()
    command = [*COMMAND, "compress", str(tmp_path / "n.txt"), "--query", "who signed?", "--rate", "0.5"]
    env = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": ""}
    with subprocess.Popen(command, stdout=follower, stderr=subprocess.DEVNULL, env=env) as process:
        os.close(follower)
        shown = b""
        while True:
            try:
                block = os.read(leader, 4096)
            except OSError:
                break
            shown += block
        assert process.wait(30) == 0
    os.close(leader)
    assert b"\x1b[2;9m" in shown
    assert b"\x1b[1" in shown
    assert b"Lunch" in shown


def test_serve_starts_answers_and_stops(tmp_path: Path) -> None:
    """The README's first command: up within seconds, answers, stops cleanly on SIGTERM."""
    port = str(free_port())
    start = time.monotonic()
    with subprocess.Popen([*COMMAND, "serve", "--port", port], cwd=tmp_path, stderr=subprocess.PIPE) as process:
        try:
            wait_until(lambda: httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200, 30)
            response = httpx.post(f"http://127.0.0.1:{port}/v1/compress", json={"text": TEXT}, timeout=30)
            assert response.status_code == 200
            assert time.monotonic() - start < 30
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(15) in (0, -signal.SIGTERM)


def test_settings_precedence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flag over variable over file over default; unknown names in the file are errors."""
    file = tmp_path / "laconic.toml"
    file.write_text("port = 1111\nmax_documents = 5\nconcurrency = 3\n")
    monkeypatch.setenv("LACONIC_CONFIG", str(file))
    monkeypatch.setenv("LACONIC_PORT", "2222")
    monkeypatch.setenv("LACONIC_CONCURRENCY", "4")
    found = load(port="3333", host=None)
    assert (found.port, found.concurrency, found.max_documents, found.host) == (3333, 4, 5, "127.0.0.1")
    file.write_text("prot = 1\n")
    with pytest.raises(SettingsError, match="prot"):
        load()
