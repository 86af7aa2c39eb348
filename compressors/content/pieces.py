"""Pieces of a text that belong together in groups, made into a `Laid`: what code is cut into, whatever its language.

A group is kept or dropped as one: a function's signature with its closing brace, a `try` with its first handler. Its
first piece carries what a scorer reads of all of it. Bodies hold groups, and show that some of theirs are gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from ..render import Rendered
from ..types import Mark, Units
from .laid import Laid, made, spans_between

FAR = 400  # characters of indentation, at most


@dataclass(slots=True, kw_only=True)
class Piece:
    """A range of the text; `body` is where it lies, -1 where nobody needs to know that it is gone."""

    start: int
    end: int
    group: int
    body: int = -1
    prior: float = 0.0
    block: int = -1
    counted: bool = True  # its loss is shown; comments and documentation go in silence
    real: bool = True  # does for a body that may not be empty
    leaf: bool = True


@dataclass(slots=True)
class Cut:
    """Pieces in source order while they are found; `parent` and `into` are of groups, -1 for none."""

    text: str
    comment: str = "#"
    filler: str = ""
    pieces: list[Piece] = field(default_factory=list)
    parent: list[int] = field(default_factory=list)
    into: list[int] = field(default_factory=list)  # the group that a group has become part of
    owner: list[int] = field(default_factory=lambda: [-1])  # of every body, its group; body 0 is the text
    blocks: int = 0

    def group(self, parent: int) -> int:
        self.parent.append(parent)
        self.into.append(-1)
        return len(self.parent) - 1

    def body(self, group: int) -> int:
        self.owner.append(group)
        return len(self.owner) - 1

    def add(self, piece: Piece) -> bool:
        """Take a piece, less its white space and what was taken before; False where nothing is left of it."""
        start = max(piece.start, self.pieces[-1].end if self.pieces else 0)
        inner = self.text[start : piece.end]
        stripped = inner.strip()
        if not stripped:
            return False
        piece.start = start + len(inner) - len(inner.lstrip())
        piece.end = piece.start + len(stripped)
        self.pieces.append(piece)
        return True

    def begins_line(self, at: int) -> bool:
        """Whether only white space stands before a place in its line; no more than FAR characters of it."""
        line = self.text[max(0, at - FAR) : at]
        return not line[line.rfind("\n") + 1 :].strip() and ("\n" in line or at <= FAR)

    def found(self, group: int) -> int:
        """The group that a group is part of by now."""
        while self.into[group] >= 0:
            group = self.into[group]
        return group

    def laid(self, kind: str, marker: str) -> Laid | None:
        """The pieces as the pipeline takes them; None where there are none."""
        return Joined(self, marker).laid(kind) if self.pieces else None


def tile(text: str, pieces: Sequence[Piece]) -> np.ndarray:
    """Where units start: after the line break that ends what stands before, else where its last character is."""
    starts = [0]
    for a, b in pairwise(pieces):
        gap = text[a.end : b.start]
        at = len(gap.rstrip())
        line = gap.find("\n", at)
        starts.append(a.end + (line + 1 if line >= 0 else at))
    return np.array(starts, np.int64)


class Joined:
    """A finished cut as arrays over its units."""

    def __init__(self, cut: Cut, marker: str) -> None:
        self.text, pieces = cut.text, cut.pieces
        self.starts = tile(cut.text, pieces)
        self.ends = np.append(self.starts[1:], len(cut.text))
        self.cut = cut
        word = " ".join(marker.split()).rstrip("\\")
        self.note = f"{cut.comment} {word}".strip() if word else ""
        group = [cut.found(p.group) for p in pieces]
        first: dict[int, int] = {}
        for n, g in enumerate(group):
            first.setdefault(g, n)
        self.root = np.array([first[g] for g in group], np.int64)
        self.heads = self._heads(group, first)
        self.owner = np.array([first.get(cut.found(g), -1) if g >= 0 else -1 for g in cut.owner], np.int64)
        self.bodies = np.array([p.body for p in pieces], np.int64)
        self.real = np.array([p.real for p in pieces]) & (self.bodies >= 0)
        self.counted = np.array([p.counted for p in pieces]) & (self.bodies >= 0)
        self.counted &= self.root == np.arange(len(pieces))
        content = np.array([p.start for p in pieces], np.int64)
        self.lines = np.array(
            [max(s, cut.text.rfind("\n", s, c) + 1) for s, c in zip(self.starts, content, strict=True)]
        )
        self.at_line = np.array([s == 0 or cut.text[s - 1] == "\n" for s in self.lines.tolist()])
        self.closed = np.array([cut.text[e - 1] == "\n" for e in self.ends.tolist()])

    def _heads(self, group: list[int], first: dict[int, int]) -> np.ndarray:
        """Each unit's next in its group; the last one's is the first of the group around."""
        last: dict[int, int] = {}
        heads = np.full(len(group), -1, np.int64)
        for n in range(len(group) - 1, -1, -1):
            parent = self.cut.parent[group[n]]
            heads[n] = last.get(group[n], first.get(self.cut.found(parent), -1) if parent >= 0 else -1)
            last[group[n]] = n
        return heads

    def laid(self, kind: str) -> Laid:
        pieces, members = self.cut.pieces, [[] for _ in self.root]  # type: list[Piece], list[list[str]]
        for n, r in enumerate(self.root.tolist()):
            members[r].append(self.text[pieces[n].start : pieces[n].end])
        blocks = np.array([p.block for p in pieces], np.int64)
        blocks = np.where(blocks >= 0, blocks, self.cut.blocks + self.root)
        units = Units(starts=self.starts, ends=self.ends, heads=self.heads)
        prior, read = [p.prior for p in pieces], [" ".join(m) for m in members]
        return made(kind, units, prior, read, self.form, blocks=blocks)

    def form(self, kept: np.ndarray) -> Rendered:
        """Kept units by whole lines, each body's losses on a line of their own."""
        kept = kept & kept[self.root]
        at = np.flatnonzero(kept)
        if not len(at):
            return Rendered([], [])
        marks = self.marks(kept, at) if self.note else []
        apart = np.diff(at, prepend=-1) != 1
        begin = np.where(apart, self.lines[at], self.starts[at])
        broken = np.append(True, self.closed[at[:-1]])
        noted = np.zeros(len(at), bool)
        noted[np.searchsorted(begin, [m.at for m in marks if m.at <= begin[-1]])] = True
        begin -= apart & self.at_line[at] & ~broken & ~noted & (begin > 0)
        return Rendered(spans_between(self.text, begin, self.ends[at]), marks)

    def marks(self, kept: np.ndarray, at: np.ndarray) -> list[Mark]:
        """One for every run of a body's dropped groups; an empty body that may not be gets what it must hold."""
        inside = self.owner[self.bodies]
        full = np.bincount(self.bodies[kept & self.real], minlength=len(self.owner)) > 0
        counted = self.counted | (self.real & ~full[self.bodies] & (self.root == np.arange(len(kept))))
        gone = counted & ~kept & ((inside < 0) | kept[inside])
        seen = np.flatnonzero(kept | gone)
        body = self.bodies[seen]
        begins = gone[seen] & ~np.concatenate(([False], gone[seen][:-1] & (body[1:] == body[:-1])))
        done: set[int] = set()
        out: list[Mark] = []
        last, noted = -1, False  # the kept unit before the mark before, and whether that was a note
        for n in seen[begins].tolist():
            if not self.at_line[n]:
                continue
            here = int(self.bodies[n])
            empty = bool(self.cut.filler) and here > 0 and not full[here] and here not in done
            done.add(here)
            before = int(np.searchsorted(at, n)) - 1
            if not empty and noted and before == last:
                continue  # one is enough for what ends together
            ending = before == len(at) - 1
            line = self.text[self.lines[n] : self.cut.pieces[n].start] + (self.cut.filler if empty else self.note)
            glued = before >= 0 and (ending or (before != last and not self.closed[at[before]]))
            out.append(Mark(int(self.starts[n]), "\n" * glued + line + "\n" * (not ending)))
            last, noted = before, not empty
        return out
