"""The same sentence in several documents is kept once: the best placed stands for the others.

Retrieved passages overlap (windows of one text, copies of a page), and a sentence that is said twice costs twice.
Sentences are the same if they have the same words in the same order, case, marks and articles aside.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from laconic.models import checkpoint
from laconic.models.recent import remembered

from .depend import together
from .select import Piece
from .types import Repeat, Span

LEAST = 24  # characters of its words below which a sentence may be said again and mean something else
_WORDS = re.compile(r"\w+(?:[.,'’-]\w+)*")
_ARTICLES = {"a", "an", "the"}


@remembered
def said(text: str) -> list[int]:
    """A hash of what each sentence of `together(text)` says; of a short one, together with the sentence before it."""
    units = together(text)
    out, before = [], ""
    for a, b in zip(units.starts.tolist(), units.ends.tolist(), strict=True):
        checkpoint()
        words = " ".join(w for w in _WORDS.findall(text[a:b].casefold()) if w not in _ARTICLES)
        out.append(hash(words if len(words) >= LEAST else (before, words)))
        before = words
    return out


def once(pieces: Sequence[Piece]) -> tuple[list[Piece], list[list[Repeat]]]:
    """The pieces, of each sentence that several documents have only the best one allowed; what each leaves to others.

    What must be kept stays, and what others depend on.
    """
    places: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for n, piece in enumerate(pieces):
        if len(pieces) > 1 and piece.form is None:
            for unit, hashed in enumerate(said(piece.text)):
                places[hashed].append((n, unit))
    allowed, loose = [p.allowed.copy() for p in pieces], [free(p) for p in pieces]
    repeats: list[list[Repeat]] = [[] for _ in pieces]
    for same in places.values():
        if len({n for n, _ in same}) < 2:
            continue
        best = max(same, key=lambda at: (pieces[at[0]].forced[at[1]], pieces[at[0]].score[at[1]], -at[0]))
        for n, unit in same:
            if n != best[0] and loose[n][unit]:
                allowed[n][unit] = False
                repeats[n].append(Repeat(span(pieces[n], unit), best[0], span(pieces[best[0]], best[1])))
    return [replace(p, allowed=a) for p, a in zip(pieces, allowed, strict=True)], repeats


def free(piece: Piece) -> np.ndarray:
    """Which units may be left out for a copy of them, bool [N]: nothing asks for them or depends on them."""
    out: np.ndarray = piece.allowed & ~piece.forced
    if piece.heads is not None:
        out[piece.heads[piece.heads >= 0]] = False
    return out


def span(piece: Piece, unit: int) -> Span:
    return Span(int(piece.units.starts[unit]), int(piece.units.ends[unit]))
