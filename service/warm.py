"""`laconic warm CORPUS`: what the model makes of a corpus, computed ahead and put into the Redis that services share.

What is there already is left alone, so a run that was cut goes on by being started again.
"""

from __future__ import annotations

import contextvars
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from laconic.client.wire import DocumentBody
from laconic.compressors import Budget, Compressor, Document, LaconicError, Request
from laconic.models import Work, current

from .cache import Remote
from .filebatch import in_order, progress, requests

FULL = 4 * 1024 * 1024  # bytes waiting to be written at which the computing waits


@dataclass
class Warmed:
    """What a run did: segments, how many of them were there already, and numbers of lines that are no document."""

    documents: int = 0
    segments: int = 0
    held: int = 0
    wrong: tuple[int, ...] = ()


def run(compressor: Compressor, remote: Remote, source: Path, *, recipe: str, key: str, workers: int) -> Warmed:
    """Score every document of a .jsonl or .parquet file, with a progress bar; raises BatchError."""
    out = Warmed()
    total = sum(1 for _ in requests(source))

    def score(item: tuple[int, str]) -> tuple[int, int]:
        return contextvars.Context().run(one, compressor, item[1], recipe, key)

    with progress() as bar:
        task = bar.add_task(source.name, total=total)
        for (number, _), scored in in_order(score, enumerate(paced(remote, requests(source)), 1), workers):
            try:
                segments, held = scored.result()
                out.documents, out.segments, out.held = out.documents + 1, out.segments + segments, out.held + held
            except (ValidationError, LaconicError):
                out.wrong += (number,)
            bar.advance(task)
    return out


def paced(remote: Remote, lines: Iterable[str]) -> Iterator[str]:
    """The lines, no faster than Redis takes what is made of them."""
    for line in lines:
        remote.settle(FULL)
        yield line


def one(compressor: Compressor, line: str, recipe: str, key: str) -> tuple[int, int]:
    """Score one document without a question; its segments, and how many the cache had."""
    current.set(Work(key=key))
    d = DocumentBody.model_validate_json(line)
    document = Document(text=d.text, title=d.title)
    return compressor.pipeline(recipe).warm(Request(documents=[document], budget=Budget(kind="rate", value=0.5)))
