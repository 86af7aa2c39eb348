"""LLMLingua's methods and interface, for those who come from the package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .front import PromptCompressor

__all__ = ["PromptCompressor"]


def __getattr__(name: str) -> Any:
    """The front at first use: it stands above the recipes, some of which import their parts from here."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .front import PromptCompressor

    return PromptCompressor
