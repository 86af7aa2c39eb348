"""The process around the application: signals, TLS, sockets."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from .app import State, create_app
from .certificates import Certificates, check
from .connection import Connection
from .crowd import Crowd, more_files
from .door import Bounds, open_doors, where
from .settings import Settings

log = logging.getLogger("laconic")
KEEP_ALIVE = 620  # seconds a connection may idle: longer than balancers keep theirs, so that they close and not we
LOOK, TELL = 20, 50  # ticks of 0.1 s between looks at certificates, and between lines about connections


class Config(uvicorn.Config):
    """How uvicorn serves us, the same in tests: h11, which answers what proposes an upgrade, and no web sockets."""

    def __init__(self, app: Any, settings: Settings, **more: Any) -> None:
        fixed: dict[str, Any] = {
            "http": Connection,
            "ws": "none",
            "loop": "asyncio",  # the door is one that asyncio knows to use
            "lifespan": "on",  # what fails there must not be taken for an application that has none
            "log_config": None,  # ours is set up
            "access_log": False,
            "server_header": False,
            "timeout_keep_alive": KEEP_ALIVE,
            "timeout_graceful_shutdown": settings.grace_seconds,
            "ssl_certfile": settings.tls_cert,
            "ssl_keyfile": settings.tls_key,
        }
        super().__init__(app, **{**fixed, **more})
        self.settings, self.bounds = settings, Bounds.of(settings)
        self.crowd = Crowd(settings.max_connections, settings.stall_seconds)


class Server(uvicorn.Server):
    """SIGTERM turns /readyz; work that still comes is done while load balancers notice. Then it ends as uvicorn does.

    What was begun is finished within the grace period. SIGINT, or a second SIGTERM, does not wait for anyone to notice.
    SIGHUP reads API keys and certificates again.
    """

    config: Config

    def __init__(self, config: Config, state: State) -> None:
        super().__init__(config)
        self.state, self.ends = state, 0.0
        self.certificates: Certificates | None = None
        self._told_to_read = self._had_terminal = False

    def run(self, sockets: None = None) -> None:  # type: ignore[override]
        """Serve until a signal; raises ListenError."""
        settings = self.config.settings
        doors = open_doors(settings, self.config.crowd)
        socket_file = Inode(settings.uds) if settings.uds else None
        if not self.config.loaded:
            self.config.load()
        if self.config.ssl is not None and settings.tls_cert and settings.tls_key:
            self.certificates = Certificates(self.config.ssl, settings.tls_cert, settings.tls_key)
        if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGHUP"):
            self._had_terminal = has_terminal()
            signal.signal(signal.SIGHUP, self.handle_hangup)
        address = where(doors, secure=self.config.ssl is not None)
        log.info("running on %s, at most %d connections", address, self.config.crowd.most)
        try:
            super().run(list(doors))
        finally:
            for door in doors:
                door.close()
            if socket_file:
                socket_file.remove()

    def handle_hangup(self, sig: int, frame: FrameType | None) -> None:
        if self._had_terminal and not has_terminal():  # it was closed: nobody is there to stop us later
            self.state.draining = self.should_exit = True
        self._told_to_read = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGTERM and not self.state.draining:
            self.state.draining = True
            self.ends = time.monotonic() + self.state.settings.drain_seconds
            return
        self.state.draining = True
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        told, self._told_to_read = self._told_to_read, False
        if told:
            self.state.keys.reload()
        if self.certificates and (told or counter % LOOK == 0):
            self.certificates.look(anyway=told)
        if counter % TELL == 0:
            self.config.crowd.report()
        return await super().on_tick(counter) or bool(self.ends and time.monotonic() >= self.ends)


def has_terminal() -> bool:
    """Standard input is a terminal, and it is still there."""
    try:
        return os.isatty(0) and os.tcgetpgrp(0) > 0
    except OSError:
        return False


class Inode:
    """The file that a door has made of a path, to be removed if it is still that one."""

    def __init__(self, path: Path) -> None:
        self.path, self._number = path, path.lstat().st_ino

    def remove(self) -> None:
        with contextlib.suppress(OSError):
            if self.path.lstat().st_ino == self._number:
                self.path.unlink()


def run(settings: Settings) -> int:
    """Serve until a signal; the exit code. Raises SettingsError, KeysError or ListenError before anything listens."""
    more_files()
    if settings.tls_cert and settings.tls_key:
        check(settings.tls_cert, settings.tls_key)
    sys.setswitchinterval(0.001)  # the event loop gets its turn between threads that tokenize and assemble
    app, code = create_app(settings), 0
    try:
        Server(Config(app, settings), app.state.laconic).run()
    except KeyboardInterrupt:  # uvicorn hands on the SIGINT that has ended it
        code = 128 + signal.SIGINT
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else 1
    if any(t.name == "open-model" for t in threading.enumerate()):
        logging.shutdown()
        os._exit(code)  # what is still being loaded, in native code, would abort without the interpreter
    return code
