"""The `llmlingua` package over our own small language model, as a method to look at."""

from __future__ import annotations

from pathlib import Path

from laconic.compressors import Request

from ..peers import counted
from ..peers_causal import folder_of
from .checks import aligned
from .measure import Run


def package(work: Path) -> Run:
    """LLMLingua (Jiang et al., EMNLP 2023) as the package does it, each document on its own."""
    made = counted(folder := folder_of(work))(str(folder), device_map="cpu")

    def run(request: Request) -> list[str]:
        out = []
        for d in request.documents:
            found = made.compress_prompt([d.text], rate=request.budget.value, use_sentence_level_filter=False)
            # its tokenizer gives lower case back: read with the source's own letters
            out.append(" ".join(d.text[a:b] for a, b in aligned(d.text, found["compressed_prompt"])))
        return out

    return run
