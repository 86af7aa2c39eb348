"""Content by its structure: one file per kind, each a `Layout`; THE table says which recipe lays out what."""

from __future__ import annotations

from . import code, html, json, log, markdown, skill, tools
from .detect import detect
from .laid import Laid, Layout

LAYOUTS: dict[str, Layout] = {
    "code.v1": code.lay,
    "html.v1": html.lay,
    "json.v1": json.lay,
    "log.v1": log.lay,
    "markdown.v1": markdown.lay,
    "skill.v1": skill.lay,
    "tools.v1": tools.lay,
}


def auto(text: str, marker: str) -> Laid | None:
    """The layout of what the text is; None for prose, and for what is not of its kind after all."""
    found = detect(text)
    return LAYOUTS[found](text, marker) if found else None
