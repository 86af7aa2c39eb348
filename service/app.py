"""The application: settings in, ASGI app out; the model opens in the background while /livez already answers."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import anyio
from fastapi import Depends, FastAPI
from fastapi.security import HTTPBearer
from prometheus_client import start_http_server
from starlette.middleware.cors import CORSMiddleware

from laconic.compressors import Compressor, LaconicError
from laconic.models import ModelError

from . import errors, routes
from .access import Table, may, told
from .admission import Admission
from .documented import complete
from .edge import Edge
from .intake import Intake
from .keys import Keys
from .limits import Limits
from .names import Names
from .opening import make_compressor
from .plain import names_only
from .settings import Settings, split
from .slots import Slots
from .target import Target
from .telemetry import Metrics

if TYPE_CHECKING:
    from .upstream import Upstream

log = logging.getLogger("laconic")
CORS: dict[str, Any] = {  # for --cors-origins: no cookies, which nothing here uses
    "allow_methods": ["GET", "POST", "DELETE"],
    "allow_headers": ["authorization", "content-type", "x-request-id"],
    "expose_headers": [
        *("retry-after", "retry-after-ms", "server-timing", "x-request-id", "x-laconic-compressed"),
        *("x-laconic-saved", "x-laconic-tokens-after", "x-laconic-tokens-before"),
    ],
    "max_age": 600,
}


def package_version() -> str:
    try:
        return version("laconic")
    except PackageNotFoundError:
        return "0+source"


class State:
    """What the routes share: settings, the compressor, who may ask, what is accepted, and whether it can be used."""

    def __init__(self, settings: Settings, compressor: Compressor | None = None) -> None:
        self.settings = settings
        self.compressor = compressor or make_compressor(settings)
        self.ready = self.draining = False
        self.failure: str | None = None
        self.broken = False  # by what no setting mends: a new process may fare better
        self.keys = Keys(settings.api_keys_file, opens_admin=settings.opens_admin)
        self.names = Names(settings.names)
        self.admission = Admission()
        self.intake = Intake(settings)
        self.slots = Slots(settings.concurrency)
        self.threads = anyio.CapacityLimiter(settings.concurrency)
        self.metrics = Metrics(self.admission, self.compressor)
        self.upstream: Upstream | None = None
        if settings.upstream_url:
            from .upstream import Upstream  # with httpx, which nobody else here needs

            self.upstream = Upstream(settings)

    def open(self) -> None:
        """Load and warm the default model; a failure is kept for /readyz, one that was not foreseen for /livez too."""
        try:
            model = self.compressor.warm()
            gc.collect()
            gc.freeze()  # what stays for good is not walked again: collections held the event loop for 30 ms
            log.info("ready: %s revision %s, %s", model.card.name, model.card.revision, model.profile)
            self.ready = True
        except (LaconicError, ModelError) as e:
            self.failure = names_only(str(e))
            log.error("the model cannot be used: %s", e)
        except Exception as e:  # too little memory, no more threads: whatever it is, nobody else would tell of it
            self.fail(e)

    def fail(self, error: Exception) -> None:
        """Keep what ended the start; its text is for the log, callers learn its kind."""
        self.failure, self.broken = f"the start failed ({type(error).__name__}); the service's log says why", True
        log.error("the start failed: %s: %s", type(error).__name__, error, exc_info=error)

    def refusal(self) -> str | None:
        """Why work that needs the model is not taken, or None."""
        return None if self.ready else self.failure or "the model is still loading"

    def unready(self) -> str | None:
        """Why no new work should be sent here, or None; what is sent while draining is done (docs/adr/0018)."""
        return "the service is shutting down" if self.draining else self.refusal()

    def trouble(self) -> str | None:
        """What is wrong with the start or a lane, or None."""
        if self.broken:
            return self.failure
        return next((t for m in self.compressor.opened().values() if (t := m.backend.trouble())), None)


def create_app(settings: Settings, compressor: Compressor | None = None) -> FastAPI:
    """Build the application; `compressor` replaces the one made from the settings (tests do this).

    Raises KeysError for a key file that cannot be used.
    """
    state = State(settings, compressor)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        state.metrics.loop = asyncio.get_running_loop()
        if about := told(settings):
            log.log(*about)
        try:
            threading.Thread(target=state.open, name="open-model", daemon=True).start()
        except RuntimeError as e:  # no more threads
            state.fail(e)
        apart = None
        if settings.metrics_port is not None:
            apart, _thread = start_http_server(settings.metrics_port, settings.host, state.metrics.registry)
        yield
        state.ready = False
        if state.upstream is not None:
            await state.upstream.client.aclose()
        if apart:
            apart.shutdown()
            apart.server_close()
        if compressor is None:
            state.compressor.close()
        if settings.traces:
            await anyio.to_thread.run_sync(app.state.spans.shutdown)  # sends what is left

    app = FastAPI(
        title="laconic",
        version=package_version(),
        summary="Prompt and context compression for RAG",
        lifespan=lifespan,
        license_info={"name": "Apache-2.0"},
        openapi_url=None,  # pages.py has these
        redirect_slashes=False,
    )
    app.state.laconic = state
    declared = may.all() if settings.metrics_port is not None else [*may.all(), ("admin", routes.metrics)]
    # the key itself is checked before the body is read (edge.py); this tells /docs that there is one
    documented = [Depends(HTTPBearer(auto_error=False))] if settings.api_keys_file else []
    for access, router in declared:
        app.include_router(router, dependencies=documented if access != "public" else [])
    complete(app)
    errors.install(app)
    app.add_middleware(Edge, state=state, table=Table(declared))
    if settings.traces:
        from .tracing import Tracing, provider  # an extra of its own

        spans = provider(package_version())
        app.state.spans = spans
        app.add_middleware(Tracing, provider=spans)
    app.add_middleware(Limits, max_body_bytes=settings.max_body_bytes, streamed=("/v1/compress/batch",))
    if settings.cors_origins:
        app.add_middleware(CORSMiddleware, allow_origins=split(settings.cors_origins), **CORS)
    app.add_middleware(Target, root=settings.root_path)
    return app
