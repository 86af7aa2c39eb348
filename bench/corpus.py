"""Real English text that every machine with Python has: for timings and budgets, where no labels are needed."""

from __future__ import annotations

import inspect
import random
import sys
import warnings
from collections.abc import Sequence

WORDS = 350  # of each document: about 512 tokens


def corpus(count: int, length: int = WORDS) -> list[str]:
    """`count` documents of `length` words, cut from the documentation strings of the standard library, always alike."""
    text: list[str] = []
    for name in sorted(sys.stdlib_module_names - {"antigravity", "this", "idlelib", "turtledemo"}):
        if len(text) >= count * length or name.startswith("_"):
            continue
        try:
            module = __import__(name)
        except Exception:  # optional modules of this build
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old names say so when they are looked at
            members = [
                module,
                *(m for _, m in inspect.getmembers(module) if inspect.isclass(m) or inspect.isroutine(m)),
            ]
            text += " ".join(inspect.getdoc(m) or "" for m in members).split()
    return [" ".join(text[i * length : (i + 1) * length]) for i in range(min(count, len(text) // length))]


def stretch(rng: random.Random, texts: Sequence[list[str]], words: int) -> list[str]:
    """Some words in a row of one of the texts, which are lists of words, at random."""
    source = rng.choice(texts)
    start = rng.randrange(max(1, len(source) - words))
    return source[start : start + words]
