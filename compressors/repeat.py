"""The same sentence in several documents is kept once: the best placed stands for the others.

Retrieved passages overlap (windows of one text, copies of a page), and a sentence that is said twice costs twice.
Sentences are the same if they have the same words in the same order, case, marks and articles aside.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from laconic.models import checkpoint

from .select import Piece
from .types import Repeat, Span, Units

LEAST = 24  # characters of its words below which a sentence may be said again and mean something else
_WORDS = re.compile(r"\w+(?:[.,'’-]\w+)*")
_ARTICLES = {"a", "an", "the"}


def said(text: str, units: Units) -> np.ndarray:
    """A hash of what each unit says, int64 [N]; of a short one, together with the unit before it."""
    out, before = [], ""
    for a, b in zip(units.starts.tolist(), units.ends.tolist(), strict=True):
        checkpoint()
        words = " ".join(w for w in _WORDS.findall(text[a:b].casefold()) if w not in _ARTICLES)
        out.append(hash(words if len(words) >= LEAST else (before, words)))
        before = words
    return np.array(out, np.int64)


def once(pieces: Sequence[Piece], sayings: Sequence[np.ndarray | None]) -> dict[int, list[Repeat]]:
    """Of each sentence that several pieces have, leave only the best one allowed; what each piece leaves to others.

    `sayings` is what `said` makes of each piece, None for one that has no part in it. What must be kept stays, and what
    others depend on.
    """
    own = [(n, s) for n, s in enumerate(sayings) if s is not None and len(s)]
    if len(own) < 2:
        return {}
    hashes = np.concatenate([s for _, s in own])
    ranked = np.sort(hashes)
    again = np.flatnonzero(np.isin(hashes, ranked[1:][ranked[1:] == ranked[:-1]]))
    if not len(again):
        return {}
    sizes = [len(s) for _, s in own]
    piece = np.repeat([n for n, _ in own], sizes)
    unit = np.concatenate([np.arange(size) for size in sizes])
    places: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for at in again.tolist():
        places[int(hashes[at])].append((int(piece[at]), int(unit[at])))
    repeats: defaultdict[int, list[Repeat]] = defaultdict(list)
    loose: dict[int, np.ndarray] = {}
    for found in places.values():
        if len({n for n, _ in found}) < 2:
            continue
        checkpoint()
        best = max(found, key=lambda at: (pieces[at[0]].forced[at[1]], pieces[at[0]].score[at[1]], -at[0]))
        for n, u in found:
            if n not in loose:
                loose[n] = free(pieces[n])
                pieces[n].allowed = pieces[n].allowed.copy()
            if n != best[0] and loose[n][u]:
                pieces[n].allowed[u] = False
                repeats[n].append(Repeat(span(pieces[n], u), best[0], span(pieces[best[0]], best[1])))
    return repeats


def free(piece: Piece) -> np.ndarray:
    """Which units may be left out for a copy of them, bool [N]: nothing asks for them or depends on them."""
    out: np.ndarray = piece.allowed & ~piece.forced
    if piece.heads is not None:
        out[piece.heads[piece.heads >= 0]] = False
    return out


def span(piece: Piece, unit: int) -> Span:
    return Span(int(piece.units.starts[unit]), int(piece.units.ends[unit]))
