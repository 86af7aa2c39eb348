"""Settings to a compressor: shared by the service and the shell."""

from __future__ import annotations

from laconic.compressors import Compressor

from .cache import open_store
from .settings import Settings


def make_compressor(settings: Settings) -> Compressor:
    return Compressor(
        model=settings.model,
        profile=settings.profile,
        workers=settings.workers,
        models_dir=settings.models_dir,
        readers_dir=settings.readers_dir,
        tiktoken_cache=settings.tiktoken_cache,
        store=open_store(settings),
        latents=settings.latents,
        most_numbers=settings.max_numbers,
        expand_seconds=settings.expand_ttl_seconds,
    )
