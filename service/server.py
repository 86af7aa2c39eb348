"""The process around the application: signals, TLS, file descriptors."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from types import FrameType

import uvicorn

from .app import State, create_app
from .settings import Settings

KEEP_ALIVE = 620  # seconds a connection may idle: longer than balancers keep theirs, so that they close and not we


class Server(uvicorn.Server):
    """SIGTERM turns /readyz; work that still comes is done while load balancers notice. Then it ends as uvicorn does.

    What was begun is finished within the grace period. SIGINT, or a second SIGTERM, does not wait for anyone to notice.
    """

    def __init__(self, config: uvicorn.Config, state: State) -> None:
        super().__init__(config)
        self.state, self.ends = state, 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGTERM and not self.state.draining:
            self.state.draining = True
            self.ends = time.monotonic() + self.state.settings.drain_seconds
            return
        self.state.draining = True
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or bool(self.ends and time.monotonic() >= self.ends)


def run(settings: Settings) -> None:
    """Serve until a signal; raises KeysError before anything listens."""
    more_files()
    sys.setswitchinterval(0.001)  # the event loop gets its turn between threads that tokenize and assemble
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,  # ours is set up
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=settings.grace_seconds,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )
    Server(config, app.state.laconic).run()


def more_files() -> None:
    """Raise the soft limit of open files to the hard one: idle connections must not starve working ones."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on Windows; not always allowed
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
