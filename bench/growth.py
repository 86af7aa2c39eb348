"""How the work of a request grows with its size: every recipe over hostile shapes, the model stubbed.

Processor seconds of one thread at sizes that double, and the exponent that fits them: 1 is in proportion. Beside it
the longest time for which another thread did not run: what a service's event loop would have waited.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from laconic.compressors import RECIPES, Budget, Document, Keep, Parts, Request, parts
from laconic.compressors.stages import Reader
from laconic.models import Catalogue, FakeBackend, HfReader, Model, load_tokenizer
from laconic.models.fake_backend import FAKE_CARD, FAKE_LM

from .shapes import SHAPES, Asked, Shape

SLOW = 4.0  # seconds of one request after which no larger one is tried
STEADY = 0.05  # seconds below which a time says nothing about growth


@dataclass(frozen=True, kw_only=True)
class Row:
    """One shape by one recipe: characters and seconds of each size, the exponent, the longest silence in seconds."""

    recipe: str
    shape: str
    sizes: list[int]
    seconds: list[float]
    silence: float
    error: str = ""

    @property
    def exponent(self) -> float:
        """Of the seconds in the characters, by least squares in logarithms; 0 where all took no time to speak of."""
        taken = [(n, s) for n, s in zip(self.sizes, self.seconds, strict=True) if s >= STEADY]
        if len(taken) < 2:
            return 0.0
        size, seconds = np.log(np.array(taken, np.float64)).T
        return float(np.polyfit(size, seconds, 1)[0])


def bound(recipe: str) -> tuple[Parts, Reader]:
    """A recipe over a model that costs little, and the embedded model's reader."""
    tokenizer = load_tokenizer(Catalogue().folder("laconic-mini"))
    kind = RECIPES[recipe].kind
    card = {None: FAKE_CARD, "causal": FAKE_LM}.get(kind, replace(FAKE_CARD, kind=cast(Any, kind)))
    model = Model(card=card, tokenizer=tokenizer, backend=cast(Any, FakeBackend(card)), profile="fake")
    return parts(recipe, model if kind else None), HfReader("laconic-mini", tokenizer)


def request(asked: Asked, budget: Budget, unit: str | None = None) -> Request:
    """The request of a shape; what must be kept may exceed the budget."""
    titles: Sequence[str | None] = asked.titles or [None] * len(asked.texts)
    documents = [Document(id=str(i), text=t, title=n) for i, (t, n) in enumerate(zip(asked.texts, titles, strict=True))]
    return Request(
        documents=documents,
        budget=budget,
        query=asked.query,
        keep=Keep(strings=asked.strings, patterns=asked.patterns),
        separator=asked.separator,
        unit=unit,  # type: ignore[arg-type]
        on_over_budget="warn",
    )


def made(recipe: str) -> Callable[[Request], Any]:
    """A fresh pipeline of a recipe: nothing is remembered from others."""
    return RECIPES[recipe].pipeline(*bound(recipe))


@contextmanager
def ticking(step: float = 0.002) -> Iterator[list[float]]:
    """Meanwhile another thread ticks; the list's one number is the most processor time this one took between two ticks.

    A busy machine lets the other thread wait too, but then this one takes no processor time.
    """
    clock = time.pthread_getcpuclockid(threading.get_ident())
    longest, over = [0.0], threading.Event()

    def tick() -> None:
        last = time.clock_gettime(clock)
        while not over.wait(step):
            now = time.clock_gettime(clock)
            longest[0] = max(longest[0], now - last - step)
            last = now

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield longest
    finally:
        over.set()
        thread.join()


def measured(
    recipe: str, name: str, shape: Shape, sizes: Sequence[int], budget: Budget, unit: str | None = None
) -> Row:
    """One row; each size by a pipeline of its own."""
    done: list[int] = []
    seconds: list[float] = []
    silence, error = 0.0, ""
    for size in sizes:
        asked = request(shape(size), budget, unit)
        run = made(recipe)
        with ticking() as longest:
            begun = time.thread_time()
            try:
                run(asked)
            except Exception as e:
                error = f"{type(e).__name__}: {e}"[:60]
            taken = time.thread_time() - begun
        done.append(size)
        seconds.append(taken)
        silence = max(silence, longest[0])
        if taken > SLOW:
            break
    return Row(recipe=recipe, shape=name, sizes=done, seconds=seconds, silence=silence, error=error)


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown, steepest first."""
    out = ["| recipe | shape | characters | seconds | exponent | silence, ms | |", "|---|---|---:|---|---:|---:|---|"]
    for r in sorted(rows, key=lambda r: -r.exponent):
        seconds = " / ".join(f"{s:.2f}" for s in r.seconds)
        shape = r.shape.replace("|", "\\|")
        figures = f"{r.sizes[-1]:,} | {seconds} | {r.exponent:.2f} | {1000 * r.silence:.0f}"
        out.append(f"| {r.recipe} | {shape} | {figures} | {r.error} |")
    return "\n".join(out)


def run(
    recipes: Sequence[str], sizes: Sequence[int], budget: Budget, unit: str | None = None, only: str = ""
) -> list[Row]:
    """Every shape whose name has `only` in it, by every recipe."""
    return [
        measured(recipe, name, shape, sizes, budget, unit)
        for recipe in recipes
        for name, shape in SHAPES.items()
        if only in name
    ]
