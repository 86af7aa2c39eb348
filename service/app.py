"""The application: settings in, ASGI app out; the model opens in the background while /livez already answers."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

import anyio
from fastapi import FastAPI

from laconic.compressors import Compressor, LaconicError
from laconic.models import ModelError

from . import errors, routes
from .limits import Limits
from .settings import Settings

log = logging.getLogger("laconic")


def package_version() -> str:
    try:
        return version("laconic")
    except PackageNotFoundError:
        return "0+source"


class State:
    """What the routes share: settings, the compressor, and whether it can be used."""

    def __init__(self, settings: Settings, compressor: Compressor | None = None) -> None:
        self.settings = settings
        self.compressor = compressor or Compressor(
            model=settings.model,
            profile=settings.profile,
            workers=settings.workers,
            models_dir=settings.models_dir,
            readers_dir=settings.readers_dir,
            tiktoken_cache=settings.tiktoken_cache,
        )
        self.ready = False
        self.failure: str | None = None
        self.slots = anyio.CapacityLimiter(settings.concurrency)

    def open(self) -> None:
        """Load and warm the default model; a failure is kept for /readyz, the process lives on."""
        try:
            model = self.compressor.warm()
            log.info("ready: %s revision %s, %s", model.card.name, model.card.revision, model.profile)
            self.ready = True
        except (LaconicError, ModelError) as e:
            self.failure = str(e)
            log.error("the model cannot be used: %s", e)


def create_app(settings: Settings, compressor: Compressor | None = None) -> FastAPI:
    """Build the application; `compressor` replaces the one made from the settings (tests do this)."""
    state = State(settings, compressor)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        threading.Thread(target=state.open, name="open-model", daemon=True).start()
        yield
        state.ready = False

    app = FastAPI(
        title="laconic",
        version=package_version(),
        summary="Prompt and context compression for RAG",
        lifespan=lifespan,
        license_info={"name": "Apache-2.0"},
    )
    app.state.laconic = state
    app.include_router(routes.router)
    errors.install(app)
    app.add_middleware(Limits, max_body_bytes=settings.max_body_bytes)
    return app
