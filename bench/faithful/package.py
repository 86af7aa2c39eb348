"""The `llmlingua` package over our own small language model, as a method to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from laconic.compressors import Request

from ..peers import counted
from ..peers_causal import folder_of
from .checks import aligned
from .measure import Run


def package(work: Path) -> Run:
    """LLMLingua (Jiang et al., EMNLP 2023) as the package does it, each document on its own."""
    made = counted(folder := folder_of(work))(str(folder), device_map="cpu")

    def run(request: Request) -> list[str]:
        return [answer(made, d.text, request.budget.value) for d in request.documents]

    return run


def answer(made: Any, text: str, rate: float) -> str:
    """The package's answer in the source's own letters (its tokenizer gives lower case back); "" where it fails."""
    try:
        found = made.compress_prompt([text], rate=rate, use_sentence_level_filter=False)["compressed_prompt"]
    except (IndexError, RuntimeError, ValueError):
        return ""
    return " ".join(text[a:b] for a, b in aligned(text, found))
