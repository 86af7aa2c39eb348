"""`laconic serve` as a process: signals, its first second, certificates, Unix sockets, few file descriptors."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import resource
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from laconic.service.certificates import Certificates
from laconic.service.crowd import Crowd
from laconic.service.door import ListenError, open_doors
from laconic.service.settings import Settings

from .conftest import free_port, wait_until
from .test_edge import key_file
from .wire import Wire, head

SERVE = [sys.executable, "-m", "laconic.service", "serve", "--workers", "1"]


@contextlib.contextmanager
def process(log: Path, *flags: object, **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    """`laconic serve`, its log in a file; killed at the end if it has not ended."""
    with log.open("wb") as out:
        made = subprocess.Popen([*SERVE, *map(str, flags)], stdout=out, stderr=out, **more)
        try:
            yield made
        finally:
            made.kill()
            made.wait()


def answers(client: httpx.Client | None = None, url: str = "") -> bool:
    return (client or httpx).get(f"{url}/livez").status_code == 200


def hears(path: Path) -> bool:
    """Somebody listens on the socket (httpx leaves its own open where nobody does)."""
    with socket.socket(socket.AF_UNIX) as asking:
        return asking.connect_ex(str(path)) == 0


def take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))


def test_few_descriptors_are_enough(tmp_path: Path) -> None:
    """With 40 file descriptors and 200 connections that hold what they can, /livez is answered and the log is short."""
    port = free_port()
    address, log = f"http://127.0.0.1:{port}", tmp_path / "log"
    with process(log, "--port", port, preexec_fn=few_files):
        wait_until(lambda: answers(url=address), 60)
        wires = []
        try:
            for n in range(200):
                half = head("POST /v1/compress", "content-type: application/json", "content-length: 9") + b"{"
                with contextlib.suppress(OSError):
                    wires.append(Wire(address, (b"", half, b"GET /livez HTTP/1.1\r\n")[n % 3]))
            for _ in range(5):
                wait_until(lambda: answers(url=address), 30)
            wait_until(lambda: "closed for others" in log.read_text(), 20)  # it tells every five seconds
            assert answers(url=address)
        finally:
            for w in wires:
                w.socket.close()
    told = log.read_text()
    assert "Too many open files" not in told
    assert len(told.splitlines()) < 60


def test_hangup_reads_again_and_a_unix_socket_is_a_door(tmp_path: Path) -> None:
    """SIGHUP reads keys again and ends nothing, unless the terminal is gone; `--uds` is for owner and group."""
    at, keys = tmp_path / "s", tmp_path / "keys.toml"
    key_file(keys, "a")
    master, terminal = pty.openpty()
    with process(
        tmp_path / "log",
        "--uds",
        at,
        "--api-keys-file",
        keys,
        stdin=terminal,
        start_new_session=True,
        preexec_fn=take_terminal,
    ) as served:
        os.close(terminal)
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(at)), base_url="http://laconic") as client:
            wait_until(lambda: hears(at), 60)
            assert answers(client)
            assert stat.S_IMODE(at.stat().st_mode) == 0o660
            fresh = key_file(keys, "b")["b"]
            served.send_signal(signal.SIGHUP)
            wait_until(lambda: "read 1 API keys" in (tmp_path / "log").read_text(), 20)
            asked = client.get("/v1/models", headers={"authorization": f"Bearer {fresh}"})
            assert asked.status_code == 200
        os.close(master)  # the kernel sends SIGHUP to whose terminal it was
        assert served.wait(60) == 0
    assert not at.exists()


def test_an_early_hangup_ends_nothing(tmp_path: Path) -> None:
    """SIGHUP while the program is still being read; SIGTERM while the model loads is an orderly end."""
    port = free_port()
    with process(tmp_path / "log", "--port", port, stdin=subprocess.DEVNULL) as served:
        for _ in range(8):
            time.sleep(0.1)
            if "SIG_IGN" in ignored(served.pid):
                break
        served.send_signal(signal.SIGHUP)
        wait_until(lambda: answers(url=f"http://127.0.0.1:{port}"), 60)
        served.terminate()
        assert served.wait(60) == 0


def ignored(pid: int) -> str:
    mask = next(r for r in Path(f"/proc/{pid}/status").read_text().splitlines() if r.startswith("SigIgn"))
    return "SIG_IGN" if int(mask.split()[1], 16) >> (signal.SIGHUP - 1) & 1 else ""


def first_process() -> list[str]:
    """The command before one that makes it the first process of a namespace; skips where that is not allowed."""
    command = ["unshare", "--pid", "--fork", "--kill-child"]
    if os.getuid() != 0:
        command += ["--user", "--map-root-user"]
    done = shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True).returncode == 0
    if not done:
        pytest.skip("no namespaces of process ids here: needs util-linux and root, or user namespaces")
    return command


def test_sigterm_ends_the_first_process_in_its_first_second(tmp_path: Path) -> None:
    """As process 1, to which an unhandled SIGTERM is nothing, it ends while it is still being read."""
    command = [*first_process(), *SERVE, "--uds", str(tmp_path / "s")]
    with (tmp_path / "log").open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as outer:
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
        wait_until(lambda: children.read_text().strip() != "", 10)
        inner = int(children.read_text())
        try:
            wait_until(lambda: catches(inner), 10)
            assert not (tmp_path / "s").exists()  # long before it listens
            os.kill(inner, signal.SIGTERM)
            wait_until(lambda: outer.poll() is not None, 10)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(inner, signal.SIGKILL)
    assert (tmp_path / "log").read_text() == ""


def catches(pid: int) -> bool:
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    mask = next(r for r in rows if r.startswith("SigCgt"))
    return bool(int(mask.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def pair(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for `name` and its key."""
    if not shutil.which("openssl"):
        pytest.skip("makes certificates with openssl: apt-get install openssl")
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    files = ["-subj", f"/CN={name}", "-out", str(certificate), "-keyout", str(key)]
    subprocess.run([*make, *files], check=True, capture_output=True)
    return certificate, key


def shown(port: int) -> str:
    return ssl.get_server_certificate(("127.0.0.1", port))


def test_a_renewed_certificate_is_served(tmp_path: Path) -> None:
    """Files that change are served to new connections by themselves; half of a pair is not, and is logged."""
    first, second = pair(tmp_path, "first"), pair(tmp_path, "second")
    certificate, key, port = tmp_path / "tls.crt", tmp_path / "tls.key", free_port()
    shutil.copy(first[0], certificate), shutil.copy(first[1], key)
    asking = httpx.Client(verify=False, base_url=f"https://127.0.0.1:{port}")
    serving = process(tmp_path / "log", "--port", port, "--tls-cert", certificate, "--tls-key", key)
    with asking as client, serving:
        wait_until(lambda: answers(client), 60)
        assert shown(port) == first[0].read_text()
        shutil.copy(second[0], certificate)
        wait_until(lambda: "the last good TLS certificate stays" in (tmp_path / "log").read_text(), 20)
        assert shown(port) == first[0].read_text()
        shutil.copy(second[1], key)
        wait_until(lambda: shown(port) == second[0].read_text(), 20)
        assert answers(client)


def test_an_encrypted_key_does_not_ask_the_terminal(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A new key with a password leaves the old pair, and nobody waits for a password to be typed."""
    certificate, key = pair(tmp_path, "a")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    served = Certificates(context, certificate, key)
    subprocess.run(
        ["openssl", "ec", "-in", key, "-aes128", "-passout", "pass:x", "-out", key], check=True, capture_output=True
    )
    served.look()
    assert "stays" in caplog.text


def crowd() -> Crowd:
    return Crowd(10, 30)


def test_sockets_left_behind_are_replaced(tmp_path: Path) -> None:
    """A socket that nobody answers on is replaced; one that is answered, a file, and a folder that is none are not."""
    at = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(at))
    (door,) = open_doors(Settings(uds=at), crowd())
    door.listen()
    with pytest.raises(ListenError, match="somebody answers"):
        open_doors(Settings(uds=at), crowd())
    door.close()
    (tmp_path / "f").write_text("")
    with pytest.raises(ListenError, match="no socket"):
        open_doors(Settings(uds=tmp_path / "f"), crowd())
    with pytest.raises(ListenError, match="No such file"):
        open_doors(Settings(uds=tmp_path / "none" / "s"), crowd())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_small_answers_go_at_once(host: str) -> None:
    """Connections have TCP_NODELAY: an answer in two writes does not wait 40 ms for the client's acknowledgement."""
    if host == "::1" and not socket.has_ipv6:
        pytest.skip("no IPv6 on this machine")

    async def seen() -> int:
        (door, *others) = open_doors(Settings(host=host, port=0), Crowd(100, 30.0))
        found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def came(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            option = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            found.set_result(option)
            writer.close()

        for other in others:
            other.close()
        async with await asyncio.start_server(came, sock=door):
            _, writer = await asyncio.open_connection(*door.getsockname()[:2])
            writer.close()
            return await asyncio.wait_for(found, 10)

    try:
        assert asyncio.run(seen()) != 0
    except ListenError as e:
        pytest.skip(str(e))


def test_a_port_that_is_taken_is_named() -> None:
    """Who cannot listen says where, and leaves nothing open."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ListenError, match=f"127.0.0.1:{port}: Address already in use"):
            open_doors(Settings(port=port), crowd())
