"""Markdown: sentences, items, rows and stanzas of code are units under their headings, parents, headers and fences.

What is kept keeps its lines: a row, a link, a line of code is never cut, and what a blank line kept apart stays apart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from laconic.models import checkpoint

from ..render import Rendered
from ..types import Mark, Units
from ..units import sentences
from .laid import Laid, filled, made, spans_between
from .markdown_blocks import Block, blocks
from .stanzas import stanzas

WHOLE, CODE = 240, 1500  # characters of an item, and of code, that are one unit
LEAD = 160  # characters of a sentence that introduces the list or table after it
BADGES = -2.0  # logits for images and links to parts of the same page that stand alone
DEFINITIONS = -1.0
_STRUCTURE = frozenset(("heading", "item", "table", "fence"))
_LINK = re.compile(r"!?\[[^\[\]\n]{0,200}\](?:\([^()\s]{0,500}(?:[ \t]\"[^\"\n]{0,100}\")?\)|\[[^\[\]\n]{0,100}\])")
_HARD = re.compile(r"(?<!  )(?<!\\)\n")
_MARKER = re.compile(r"[\s>*+-]*")


def lay(text: str, marker: str) -> Laid | None:
    """The layout of a text by its Markdown; None for one that has neither headings, lists, tables nor fences."""
    found = blocks(text)
    if not any(b.kind in _STRUCTURE for b in found):
        return None
    return Cut(text, found).laid(marker)


class Cut:
    """A text as units, each with its block and what it stands under."""

    def __init__(self, text: str, found: Sequence[Block]) -> None:
        self.text = text
        self.starts: list[int] = []
        self.heads: list[int] = []
        self.block: list[int] = []
        self.prior: list[float] = []
        self.read: list[str] = []
        self.solid: list[bool] = []  # more than a fence
        self.ends: list[int] = []  # of blocks, white space included
        self.pairs: list[tuple[int, int, int]] = []  # an opening fence, its closing one or itself, the unit after them
        self.groups: list[tuple[int, list[int], str]] = []  # first unit, members of which some may go, how that is said
        self.sections: list[tuple[int, int]] = []  # level and unit of the headings that what comes stands under
        self.items: list[tuple[int, int, int]] = []  # indentation, unit and group of open list items
        self.lead = -1  # the sentence before that introduces what comes
        for b in found:
            checkpoint()
            self._block(b)

    def _unit(self, start: int, end: int, head: int, prior: float = 0.0, *, solid: bool = True) -> int:
        self.starts.append(start)
        self.heads.append(head)
        self.block.append(len(self.ends))
        self.prior.append(prior)
        self.read.append(self.text[start:end] if solid else "")
        self.solid.append(solid)
        return len(self.starts) - 1

    def _above(self) -> int:
        """What a block stands under: what introduces it, its item, its heading."""
        if self.lead >= 0:
            return self.lead
        return self.items[-1][1] if self.items else self.sections[-1][1] if self.sections else -1

    def _block(self, b: Block) -> None:
        start, end = b.lines[0][0], b.lines[-1][1]
        if b.kind != "item" and (b.apart or b.kind in ("heading", "table")):
            while self.items and self.items[-1][0] >= b.indent:
                self.items.pop()
        lead, first = -1, len(self.starts)
        if b.kind == "heading":
            self._heading(b, start, end)
        elif b.kind == "item":
            self._item(b, start, end)
        elif b.kind == "table":
            self._table(b)
        elif b.kind == "fence":
            self._fence(b, start, end)
        elif b.kind == "lines":
            for a, z in self._cut(start, end, stanzas(self.text[start:end], WHOLE)):
                self._unit(a, z, self._above())
        else:
            self._prose(start, end, self._above(), self._worth(b, start, end))
        if b.kind == "paragraph" and self.read[-1].rstrip().endswith(":") and len(self.read[-1]) <= LEAD:
            lead = len(self.starts) - 1
        self.lead = lead
        if first < len(self.starts) and self.block[-1] == len(self.ends):
            self.ends.append(end)

    @staticmethod
    def _cut(start: int, end: int, at: Sequence[int]) -> list[tuple[int, int]]:
        return list(pairwise([*(start + a for a in at), end]))

    def _worth(self, b: Block, start: int, end: int) -> float:
        if b.kind == "definition":
            return DEFINITIONS
        text = self.text[start:end]
        if "](" not in text or not ("![" in text or "](#" in text):
            return 0.0
        rest = _LINK.sub("", _LINK.sub("x", text)) if "![" in text else _LINK.sub("", text)
        return 0.0 if len(_MARKER.sub("", rest)) > 2 else BADGES

    def _heading(self, b: Block, start: int, end: int) -> None:
        while self.sections and self.sections[-1][0] >= b.level:
            self.sections.pop()
        self.items, self.lead = [], -1
        self.sections.append((b.level, self._unit(start, end, self._above())))

    def _item(self, b: Block, start: int, end: int) -> None:
        group = -1
        while self.items and self.items[-1][0] >= b.indent:
            group = self.items.pop()[2]
        if self.items:
            self.lead = -1
        if group < 0 or self.lead >= 0:
            group = len(self.groups)
            bullet = self.text[start:end].lstrip()[0]
            self.groups.append((len(self.starts), [], f"\n{' ' * b.indent}{bullet if bullet in '-*+' else '-'} {{}}"))
            head = self._above()
        else:
            head = self.heads[self.groups[group][1][0]]
        unit = len(self.starts)
        worth = self._worth(b, start, end)
        if end - start <= WHOLE:
            self._unit(start, end, head, worth)
        else:
            self._prose(start, end, head, worth, chained=True)
        self.groups[group][1].append(unit)
        self.items.append((b.indent, unit, group))

    def _prose(self, start: int, end: int, head: int, prior: float, *, chained: bool = False) -> None:
        """Sentences over line breaks that do not count; `chained`: the first holds the others."""
        first = len(self.starts)
        joined = _HARD.sub(" ", self.text[start:end].rstrip())
        for a, z in self._cut(start, end, sentences(joined).starts.tolist() or [0]):
            self._unit(a, z, first if chained and len(self.starts) > first else head, prior)

    def _table(self, b: Block) -> None:
        """Its header and ruler are one unit, each row another; each is a block, for it has a line of its own."""
        header = self._unit(b.lines[0][0], b.lines[0][1], self._above())
        ruler = b.lines[min(1, len(b.lines) - 1)]
        self.ends.append(ruler[1])
        rows = []
        for a, z in b.lines[2:]:
            rows.append(self._unit(a, z, header))
            self.ends.append(z)
        self.groups.append((header, rows, "\n| {} |"))

    def _fence(self, b: Block, start: int, end: int) -> None:
        """Fenced code whole where it is short, else its stanzas between the fences."""
        above = self._above()
        if end - start <= CODE or len(b.lines) < 4:
            self._unit(start, end, above)
            return
        opening = closing = self._unit(*b.lines[0], above, solid=False)
        self.ends.append(b.lines[0][1])
        inner, after = b.lines[1][0], b.lines[-1][0] if b.ended else end
        members = []
        for a, z in self._cut(inner, after, stanzas(self.text[inner:after], CODE)):
            members.append(self._unit(a, z, opening))
            self.ends.append(z)
        until = len(self.starts)
        if b.ended:
            closing = self.heads[opening] = self._unit(after, end, above, solid=False)
            self.ends.append(end)
        self.pairs.append((opening, closing, until))
        self.groups.append((opening, members, "\n{}"))

    def laid(self, marker: str) -> Laid:
        """The units as the pipeline takes them."""
        starts = np.array([0, *self.starts[1:]], np.int64)
        ends = np.append(starts[1:], len(self.text))
        stops = np.array([a + len(self.text[a:b].rstrip()) for a, b in zip(starts, ends, strict=True)], np.int64)
        written = Written(self, starts, ends, stops, marker)
        units = Units(starts=starts, ends=ends, heads=np.array(self.heads, np.int64))
        return made("markdown.v1", units, self.prior, self.read, written)


class Written:
    """Kept units as text: each followed by the white space that stood after it, or after what is gone."""

    def __init__(self, cut: Cut, starts: np.ndarray, ends: np.ndarray, stops: np.ndarray, marker: str) -> None:
        self.text, self.marker = cut.text, marker
        self.starts, self.stops = starts, stops
        self.gaps = np.stack([stops, ends], 1)
        self.pairs = np.array(cut.pairs, np.int64).reshape(-1, 3)
        # lists inside lists come first where both end
        self.groups = [(first, np.array(m, np.int64), text) for first, m, text in reversed(cut.groups) if m]
        self.block, self.solid = np.array(cut.block), np.array(cut.solid)
        last = np.append(np.flatnonzero(np.diff(self.block)), len(starts) - 1)  # the last unit of each block
        self.tails = self.gaps[last]
        blank = np.array([cut.text.count("\n", a, b) > 1 for a, b in self.tails.tolist()])
        after = np.where(blank, np.arange(len(blank)), len(blank))
        self.parted = np.minimum.accumulate(after[::-1])[::-1]  # the next block from each on with a blank line after it

    def __call__(self, kept: np.ndarray) -> Rendered:
        kept = filled(kept, self.solid, self.pairs)
        found = np.flatnonzero(kept)
        here, there = self.block[found[:-1]], self.block[found[1:]]
        tail = np.where((self.parted[here] < there) & self.solid[found[:-1]], self.parted[here], here)
        space = np.where((here == there)[:, None], self.gaps[found[:-1]], self.tails[tail])
        marks = self._lost(kept, found) if self.marker else []
        begin = np.empty(2 * len(found), np.int64)
        end = np.empty(2 * len(found), np.int64)
        begin[::2], end[::2] = self.starts[found], self.stops[found]
        begin[1:-1:2], end[1:-1:2] = space.T
        if len(found):
            begin[-1] = end[-1] = end[-2]
        return Rendered(spans_between(self.text, begin, end, [m.at for m in marks]), marks)

    def _lost(self, kept: np.ndarray, found: np.ndarray) -> list[Mark]:
        """After what is kept of each list, table and fence: how many of its items, rows, stanzas are not there."""
        marks = []
        for first, members, text in self.groups:
            if gone := len(members) - int(kept[members].sum()):
                last = int(np.searchsorted(found, members[-1], side="right")) - 1
                if last >= 0 and found[last] >= first:
                    marks.append(Mark(int(self.stops[found[last]]), text.format(f"{self.marker} {gone}")))
        return sorted(marks, key=lambda m: m.at)
