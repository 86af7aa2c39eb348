"""Content by its structure: one file per kind, each a `Layout`; THE table says which recipe lays out what."""

from __future__ import annotations

from . import code, json, log
from .laid import Laid, Layout

LAYOUTS: dict[str, Layout] = {
    "code.v1": code.lay,
    "json.v1": json.lay,
    "log.v1": log.lay,
}


def detect(text: str) -> str | None:
    return "json.v1"


def auto(text: str, marker: str) -> Laid | None:
    """The layout of what the text is; None for prose."""
    found = detect(text)
    return LAYOUTS[found](text, marker) if found else None
