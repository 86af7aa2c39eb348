"""Settings to a compressor: shared by the service and the shell."""

from __future__ import annotations

from laconic.compressors import Compressor

from .cache import open_store
from .settings import Settings


def make_compressor(settings: Settings, *, patient: bool = False) -> Compressor:
    """What the settings ask for; `patient` where no caller waits for a single answer, as in a batch of files."""
    return Compressor(
        model=settings.model,
        profile=settings.profile,
        workers=settings.workers,
        models_dir=settings.models_dir,
        readers_dir=settings.readers_dir,
        tiktoken_cache=settings.tiktoken_cache,
        store=open_store(settings, patient=patient),
        latents=settings.latents,
        most_numbers=settings.max_numbers,
        expand_seconds=settings.expand_ttl_seconds,
    )
