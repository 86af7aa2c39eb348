"""Replicas as pods would be, real processes, and a real HAProxy in front of them, configured as the docs show it."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from .conftest import free_port, wait_until

CONFIG = Path(__file__).parent.parent / "docs/examples/haproxy.cfg"
CHECK = "200ms"  # between health checks: the shorter, the shorter the drain may be


def haproxy() -> str | None:
    """Where HAProxy is: Debian puts it where only root's path leads."""
    return _where("haproxy")


def nginx() -> str | None:
    """Where nginx is: on the path, where only root's leads, or beside this Python."""
    return _where("nginx")


def _where(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin:{Path(sys.executable).parent}")


class Replica:
    """`laconic serve` in a process of its own on one port of the loopback interface, as often as it is started."""

    def __init__(self, log: Path, **settings: object) -> None:
        self.port, self.log = free_port(), log
        self.url = f"http://127.0.0.1:{self.port}"
        known = {f"LACONIC_{name.upper()}": str(value) for name, value in settings.items()}
        self._env = {**os.environ, **known, "LACONIC_PORT": str(self.port)}
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as out:
            command = [sys.executable, "-m", "laconic.service", "serve"]
            self.process = subprocess.Popen(command, env=self._env, stdout=out, stderr=out)

    def wait(self) -> None:
        wait_until(lambda: httpx.get(f"{self.url}/readyz").status_code == 200, 60)

    def terminate(self) -> int:
        """SIGTERM; what it exited with."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()


class Balancer:
    """HAProxy in front of two replicas."""

    def __init__(self, log: Path, first: Replica, second: Replica) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        names = {"LISTEN": f"127.0.0.1:{self.port}", "CHECK": CHECK}
        names |= {"A": f"127.0.0.1:{first.port}", "B": f"127.0.0.1:{second.port}"}
        env = {**os.environ, **{f"LACONIC_{name}": value for name, value in names.items()}}
        command = [str(haproxy()), "-db", "-f", str(CONFIG)]
        with log.open("ab") as out:
            self.process = subprocess.Popen(command, env=env, stdout=out, stderr=out)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Load:
    """Clients that post one of the bodies after another over connections they keep, until told to stop.

    They never try again: whatever is not a 200 counts as it came.
    """

    def __init__(self, port: int, bodies: list[dict[str, Any]], clients: int, pause: float = 0.0) -> None:
        self.seen: Counter[str] = Counter()
        self.missed = 0  # segments that no cache had
        self._port, self._bodies, self._pause = port, [json.dumps(b).encode() for b in bodies], pause
        self._end, self._lock = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(clients)]
        for t in self._threads:
            t.start()

    @property
    def done(self) -> int:
        return sum(self.seen.values())

    def stop(self) -> None:
        self._end.set()
        for t in self._threads:
            t.join()

    def _run(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        while not self._end.is_set():
            number += 1
            body = self._bodies[number % len(self._bodies)]
            try:
                connection.request("POST", "/v1/compress", body, {"content-type": "application/json"})
                answer = connection.getresponse()
                content, what = answer.read(), str(answer.status)
            except (OSError, http.client.HTTPException) as e:
                content, what = b"", type(e).__name__
                connection.close()
            usage = json.loads(content)["usage"] if what == "200" else {"segments": 0, "cache_hits": 0}
            with self._lock:
                self.seen[what] += 1
                self.missed += usage["segments"] - usage["cache_hits"]
            time.sleep(self._pause)
        connection.close()
