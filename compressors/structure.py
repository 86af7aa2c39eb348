"""The structure of a document as a tree: sections under headings, nested list items, paragraphs, and their units.

Leaves are discourse units where the document was cut into them, else sentences. A discourse unit hangs from the unit
it depends on (dependency form of rhetorical structure: Li et al. 2014; Yang & Li 2018, SciDTB) where that lies in the
same block, else from the block.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from . import units as cutting
from .types import Compressed, Span, Units

Kind = Literal["section", "item", "paragraph", "edu", "sentence"]

HEADING = re.compile(r" {0,3}(#{1,6})\s+\S")
ITEM = re.compile(r"(\s*)(?:[-*+\u2022]|\d{1,3}[.)])\s+\S")
_FENCE = re.compile(r" {0,3}(```|~~~)")
_TITLE = 80  # characters of a line that can be a heading by its looks
_PLAIN = 7  # level of such a heading: below all marked ones


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """One node: its kind, its characters, the number of its parent (None: the document), whether any of it is kept."""

    kind: Kind
    start: int
    end: int
    parent: int | None
    kept: bool


@dataclass(kw_only=True, slots=True)
class _Block:
    kind: Kind
    start: int
    end: int
    parent: int | None
    depth: int  # level of a heading, indentation of an item


def tree(text: str, units: Units | None, spans: Sequence[Span]) -> list[Node]:
    """Nodes in the order of their starts, parents before what lies in them; `spans` are the kept characters.

    A discourse unit may stand before the one it depends on, so its parent's number can be higher than its own.
    """
    clean = cutting.printable(text)
    discourse = units is not None and units.heads is not None
    leaves = units if units is not None and discourse else cutting.sentences(clean)
    blocks = _blocks(clean)
    kept = covered(leaves, spans, len(text))
    owner = _owner(blocks, leaves)
    return _merged(blocks, leaves, owner, kept, "edu" if discourse else "sentence")


def tree_of(text: str, d: Compressed) -> list[Node]:
    """The tree of a document's text, and what of it a result keeps: all of what was coded, which has no spans.

    What its structure cut hangs from tags and brackets; its leaves are sentences.
    """
    coded = d.kind and d.text and not d.spans
    return tree(text, None if d.kind else d.units, [Span(0, len(text))] if coded else d.spans)


def covered(units: Units, spans: Sequence[Span], length: int) -> np.ndarray:
    """Which units have a character inside a span, bool [N]."""
    edge = np.zeros(length + 1, np.int64)
    for start, end in spans:
        edge[start] += 1
        edge[end] -= 1
    upto = np.concatenate(([0], np.cumsum(np.cumsum(edge[:-1]) > 0)))
    inside: np.ndarray = upto[units.ends] > upto[units.starts]
    return inside


def _lines(text: str) -> Iterator[tuple[int, int, bool]]:
    """Start and end of every line with its break, and whether it is code between fences."""
    at, fenced = 0, False
    for line in text.splitlines(keepends=True):
        fence = _FENCE.match(line) is not None
        fenced = fenced != fence
        yield at, at + len(line), fenced or fence
        at += len(line)


def _level(line: str, before: str, after: str) -> int:
    """The level of the heading that a line is, 0 for none."""
    if marked := HEADING.match(line):
        return len(marked[1])
    bare = line.strip()
    if not bare or len(bare) > _TITLE or before.strip() or not after or after.strip():
        return 0
    return _PLAIN if bare[-1].isalnum() and bare[0].isalnum() and not ITEM.match(line) else 0


def _blocks(text: str) -> list[_Block]:
    """Sections, items and paragraphs in the order of their starts, each with its parent among them."""
    out: list[_Block] = []
    open_: list[int] = []  # sections, then items, that what comes next may lie in
    lines = list(_lines(text))
    paragraph = False

    def begin(kind: Kind, start: int, end: int, depth: int) -> int:
        out.append(_Block(kind=kind, start=start, end=end, parent=open_[-1] if open_ else None, depth=depth))
        return len(out) - 1

    for i, (start, end, code) in enumerate(lines):
        line = text[start:end]
        before, after = (text[slice(*lines[j][:2])] if 0 <= j < len(lines) else "" for j in (i - 1, i + 1))
        level = 0 if code else _level(line, before, after)
        item = None if code or level else ITEM.match(line)
        if level:
            while open_ and (out[open_[-1]].kind == "item" or out[open_[-1]].depth >= level):
                open_.pop()
            open_.append(begin("section", start, end, level))
            paragraph = False
        elif item:
            depth = len(item[1].expandtabs(4))
            while open_ and out[open_[-1]].kind == "item" and out[open_[-1]].depth >= depth:
                open_.pop()
            open_.append(begin("item", start, end, depth))
            paragraph = False
        elif line.strip():
            if not line[0].isspace() and not before.strip() and not code:  # a list ends where text is not indented
                while open_ and out[open_[-1]].kind == "item":
                    open_.pop()
            if not paragraph and not (open_ and out[open_[-1]].kind == "item"):
                begin("paragraph", start, end, 0)
                paragraph = True
        else:
            paragraph = paragraph and code
        if out and line.strip():  # white space at the end belongs to no block
            out[-1].end = max(out[-1].end, end)
    for block in reversed(out):  # what a block lies in reaches as far as it does
        if block.parent is not None:
            out[block.parent].end = max(out[block.parent].end, block.end)
    return out


def _owner(blocks: Sequence[_Block], leaves: Units) -> list[int | None]:
    """The innermost block that holds each leaf's first character."""
    out: list[int | None] = []
    at = -1
    for start in leaves.starts.tolist():
        while at + 1 < len(blocks) and blocks[at + 1].start <= start:
            at += 1
        here: int | None = at if at >= 0 else None
        while here is not None and blocks[here].end <= start:
            here = blocks[here].parent
        out.append(here)
    return out


def _merged(
    blocks: Sequence[_Block], leaves: Units, owner: Sequence[int | None], kept: np.ndarray, kind: Kind
) -> list[Node]:
    """Blocks and leaves in one list, numbered through; a block is kept where one of its leaves is."""
    alive = [False] * len(blocks)
    for unit, block in enumerate(owner):
        while block is not None and kept[unit] and not alive[block]:
            alive[block] = True
            block = blocks[block].parent
    starts = [*(b.start for b in blocks), *leaves.starts.tolist()]
    order = sorted(range(len(starts)), key=lambda n: (starts[n], n))  # a block before its first leaf
    number = {n: i for i, n in enumerate(order)}
    out = []
    for n in order:
        if n < len(blocks):
            b = blocks[n]
            parent = number[b.parent] if b.parent is not None else None
            out.append(Node(kind=b.kind, start=b.start, end=b.end, parent=parent, kept=alive[n]))
            continue
        unit = n - len(blocks)
        above: int | None = owner[unit]
        if leaves.heads is not None and (head := int(leaves.heads[unit])) >= 0 and owner[head] == owner[unit]:
            above = len(blocks) + head
        start, end = int(leaves.starts[unit]), int(leaves.ends[unit])
        parent = number[above] if above is not None else None
        out.append(Node(kind=kind, start=start, end=end, parent=parent, kept=bool(kept[unit])))
    return out
