"""HTML: blocks and sentences are units inside the tags that hold them; scripts, styles and attributes are never kept.

Pruning of a tree of blocks in two steps, words and then the encoder, as in HtmlRAG (Tan et al., WWW 2025, §3.3 and
§3.4); here by spans of the source, so that what is kept parses to the same nesting. A unit brings the headings that it
stands under, a row the header of its table.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from laconic.models import checkpoint

from ..render import Rendered
from ..types import Mark, Units
from .html_page import BLOCKS, INLINE, Page
from .html_text import OPENS, Piece, cuts, divided, line_break, plain, read, trimmed
from .html_tree import parse
from .laid import Laid, filled, made, spans_between
from .stanzas import stanzas

WHOLE, ROW, CODE = 240, 800, 1500  # characters of a block, a table's row, preformatted text that are one unit
HEADING = 120  # characters of the longest heading that is brought along
_LEVELS = {"h1": 1, "h2": 2, "h3": 3, "h4": 4, "h5": 5, "h6": 6, "dt": 7, "summary": 7, "legend": 7, "caption": 7}
_HEADER, _LEAD = 8, 9  # levels of a table's header rows, and of what stands in an item before its list
_ITEMS = frozenset(("li", "dd", "tr", "td", "th"))  # headings in them are theirs alone
_LOST = {"ul": "<li>{}</li>", "ol": "<li>{}</li>", "table": "<tr><td>{}</td></tr>"}

Heads = list[tuple[int, int]]  # levels and units of the headings that what comes next stands under


def lay(text: str, marker: str) -> Laid | None:
    """The layout of a page or a piece of one; None for a text without tags, or with nothing but tags."""
    elements = parse(text)
    if not any(e.name in BLOCKS or e.name in INLINE for e in elements):
        return None
    cut = Cut(Page(text, elements))
    return cut.laid(marker) if cut.starts and any(cut.solid) else None


class Cut:
    """A page as units: what each is written with, what it depends on, what of it is read."""

    def __init__(self, page: Page) -> None:
        self.page, self.text, self.elements = page, page.text, page.elements
        self.starts: list[int] = []
        self.heads: list[int] = []
        self.read: list[str] = []
        self.prior: list[float] = []
        self.solid: list[bool] = []  # more than a tag
        self.written: list[tuple[int, int, int]] = []  # start, end and unit of all that can be kept
        self.pairs: list[tuple[int, int, int]] = []  # an opening tag, its closing one or itself, the unit after them
        self.lists: list[tuple[int, str, np.ndarray]] = []  # closing tags of lists, their names, first units of items
        self.items: dict[int, list[int]] = {}
        self.firsts: dict[int, int] = {}  # the first part of a table, or of a part of it, in which something is seen
        self._inside(0, [(0, -1)], 0.0)

    def _unit(self, pieces: Sequence[Piece], head: int, prior: float, *, solid: bool = True) -> int:
        number = len(self.starts)
        self.starts.append(pieces[0].start)
        self.written += [(p.start, p.end, number) for p in pieces]
        self.heads.append(head)
        self.read.append(read(self.text, pieces) if solid else "")
        self.prior.append(prior)
        self.solid.append(solid)
        return number

    def _inside(self, n: int, heads: Heads, prior: float) -> None:
        """All parts of an element that are blocks, and the runs of text between them."""
        run: list[Piece] = []
        for part in self.elements[n].parts:
            if isinstance(part, tuple):
                run.append(Piece(*part))
            elif self.page.flat(part):
                run += self.page.pieces(part)
            elif self.page.size[part]:
                self._run(n, run, heads, prior)
                self._block(part, heads, prior)
                run = []
        self._run(n, run, heads, prior)

    def _run(self, n: int, run: list[Piece], heads: Heads, prior: float) -> None:
        """Text that stands in a line, or beside blocks: by its sentences, or as one where it is short."""
        pieces = trimmed(self.text, run)
        first, words = len(self.starts), plain(self.text, pieces)
        at = cuts(words) if len(words) > WHOLE else []
        for found in divided(self.text, pieces, at) if pieces else []:
            self._unit(found, heads[-1][1], prior)
        lead = self.elements[n].name == "li" and heads[-1][0] == 0 and self.page.blocks[n]
        if lead and len(self.starts) == first + 1:
            heads.append((_LEAD, first))

    def _block(self, n: int, heads: Heads, prior: float) -> None:
        """One element, under the headings that it stands under; if it is one, what comes next stands under it."""
        checkpoint()
        e, page = self.elements[n], self.page
        prior = min(prior, page.boilerplate(n))
        level = self._level(n)
        while level and level != _HEADER and heads[-1][0] >= level:
            heads.pop()
        first = len(self.starts)
        if self._whole(n):
            self._unit(page.pieces(n) + line_break(self.text, e.end), heads[-1][1], prior)
            if level and page.size[n] <= (ROW if level == _HEADER else HEADING):
                heads.append((level, first))
        else:
            inner = [(0, -1)] if page.tags[n] else list(heads)
            (self._tagged if page.tags[n] else self._fill)(n, heads[-1][1], inner, prior)
            if e.name == "thead" or self._titles(n, inner):
                heads[:] = heads + inner[1:] if page.tags[n] else inner
        if e.name in ("li", "tr") and level != _HEADER:
            self.items.setdefault(self._list(n), []).append(first)

    def _tagged(self, n: int, head: int, heads: Heads, prior: float) -> None:
        """An element's tags, each a unit, and what lies between, which stands under the first."""
        e = self.elements[n]
        opening = self._unit(self.page.tag(n, OPENS), head, 0.0, solid=False)
        heads[0] = (0, opening)
        self._fill(n, opening, heads, prior)
        closing, after = opening, len(self.starts)
        if ends := self.page.closing(n):
            closing = self.heads[opening] = self._unit(ends + line_break(self.text, e.end), head, 0.0, solid=False)
        self.pairs.append((opening, closing, after))
        if e.name in _LOST and closing > opening and n in self.items:
            self.lists.append((closing, e.name, np.array(self.items[n], np.int64)))

    def _fill(self, n: int, head: int, heads: Heads, prior: float) -> None:
        if self.elements[n].name == "pre" and not self.page.blocks[n]:
            self._preformatted(n, head, prior)
        else:
            self._inside(n, heads, prior)

    def _preformatted(self, n: int, head: int, prior: float) -> None:
        """Long code or the like by its stanzas; no line is cut."""
        e = self.elements[n]
        inner = [p for p in self.page.pieces(n) if e.inner <= p.start and p.end <= e.close]
        for found in divided(self.text, inner, stanzas(plain(self.text, inner), CODE)[1:]):
            self._unit(found, head, prior)

    def _level(self, n: int) -> int:
        """The level of a heading, 0 for what is none."""
        e = self.elements[n]
        if e.name != "tr":
            return _LEVELS.get(e.name, 0)
        above = self.elements[e.parent]
        if above.name == "thead":
            return _HEADER
        if {self.elements[p].name for p in e.parts if isinstance(p, int)} != {"th"}:
            return 0
        if e.parent not in self.firsts:
            self.firsts[e.parent] = next((p for p in above.parts if isinstance(p, int) and self.page.size[p]), -1)
        return _HEADER if n == self.firsts[e.parent] else 0

    def _titles(self, n: int, heads: Heads) -> bool:
        """Whether an element is little more than the heading it holds: what comes after it stands under that too."""
        return 0 < heads[-1][0] < _HEADER and self.page.size[n] <= 2 * HEADING and self.elements[n].name not in _ITEMS

    def _list(self, n: int) -> int:
        """The list or table that an item or row is of."""
        while n and self.elements[n].name not in _LOST:
            n = self.elements[n].parent
        return n

    def _whole(self, n: int) -> bool:
        """Whether an element is one unit, its tags included."""
        page, name = self.page, self.elements[n].name
        if not page.tags[n]:
            return False
        if name == "pre":
            return page.size[n] <= CODE and not page.blocks[n]
        if name == "tr":
            return page.size[n] <= ROW and not page.nested[n]
        few = not page.blocks[n] or (name in ("li", "dd", "dt", "td", "th", "option") and not page.nested[n])
        return few and page.size[n] <= WHOLE

    def laid(self, marker: str) -> Laid:
        """The units as the pipeline takes them."""
        starts = np.array([0, *self.starts[1:]], np.int64)
        ends = np.append(starts[1:], len(self.text))
        begin, end, unit = np.array(self.written, np.int64).T
        solid = np.array(self.solid)
        pairs = np.array(self.pairs, np.int64).reshape(-1, 3)

        def form(kept: np.ndarray) -> Rendered:
            kept = filled(kept, solid, pairs)
            marks = self._lost(kept, marker) if marker else []
            found = kept[unit]
            return Rendered(spans_between(self.text, begin[found], end[found], [m.at for m in marks]), marks)

        units = Units(starts=starts, ends=ends, heads=np.array(self.heads, np.int64))
        return made("html.v1", units, self.prior, self.read, form)

    def _lost(self, kept: np.ndarray, marker: str) -> list[Mark]:
        """At the end of each kept list and table: how many of its items or rows are not there."""
        out = []
        for closing, name, items in self.lists:
            if kept[closing] and (gone := len(items) - int(kept[items].sum())):
                out.append(Mark(self.starts[closing], _LOST[name].format(f"{marker} {gone}")))
        return sorted(out)
