"""HTML as a tree of elements with their places in the text, as a browser builds it, or nearly.

A scanner of our own after the HTML standard (WHATWG §13.2): the standard library's parser gives no places inside tags,
and takes quadratic time on unfinished ones. Implied ends are those of p, li, dt, dd, table parts, options and headings;
formatting that is wrongly nested is closed, not cloned.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from laconic.models import checkpoint


def names(words: str) -> frozenset[str]:
    """A set of names."""
    return frozenset(words.split())


DEEPEST = 120  # elements inside one another; the tags of what lies deeper are not read
VOID = names("area base br col embed frame hr img input keygen link meta param source track wbr")
UNSEEN = names("script style template svg canvas object embed iframe audio video link meta base noframes noembed xmp")
_RAW = names("script style textarea title iframe xmp noembed noframes")
_SKIPPED = frozenset(("html", "head", "body"))
_HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
_ENDS_P = _HEADINGS | names(
    "address article aside blockquote center dd details dialog dir div dl dt fieldset figcaption figure footer form"
    " header hgroup hr li listing main menu nav ol p pre section summary table ul"
)
_CELLS = frozenset(("td", "th", "caption"))
_TABLE_PARTS = _CELLS | frozenset(("tr", "thead", "tbody", "tfoot", "colgroup"))
_BARRIERS = _CELLS | frozenset(("table", "template", "object"))
_LISTS = ("ul", "ol", "menu", "dir")
_IMPLIED: dict[
    str, tuple[tuple[str, ...], tuple[str, ...]]
] = {  # what a start tag ends, and what it does not look past
    "li": (("li",), _LISTS),
    "dt": (("dt", "dd"), ("dl",)),
    "dd": (("dt", "dd"), ("dl",)),
    "td": (("td", "th", "caption", "colgroup"), ("table", "tr")),
    "th": (("td", "th", "caption", "colgroup"), ("table", "tr")),
    "tr": (("tr", "td", "th", "caption", "colgroup"), ("table",)),
    "option": (("option",), ("select",)),
    "optgroup": (("option", "optgroup"), ("select",)),
    "rt": (("rt", "rp"), ("ruby",)),
    "rp": (("rt", "rp"), ("ruby",)),
    **dict.fromkeys(
        ("thead", "tbody", "tfoot"), (("thead", "tbody", "tfoot", "tr", "td", "th", "caption"), ("table",))
    ),
}
OPTIONAL_END = frozenset(_IMPLIED) | {"p"}
_MARKUP = re.compile(r"<(?:(/?)([a-zA-Z][^\s/>]{0,60})|!--|[!?])")
_STOP = re.compile(r">|=\s*([\"'])")
_UNFINISHED = 1000  # characters at the end of a text that can be half a tag


class Token(NamedTuple):
    """A tag or a run of text; a name in lower case and whether it opens, "" for text."""

    start: int
    end: int
    name: str = ""
    opens: bool = True


@dataclass(slots=True, kw_only=True)
class Element:
    """One element: `end` is past its closing tag, which begins at `close`; `close == end` where it has none.

    `parts` are what lies in it in order: numbers of elements, and texts as (start, end).
    """

    name: str
    start: int
    inner: int  # past its opening tag
    close: int = -1
    end: int = -1
    parent: int = 0
    parts: list[int | tuple[int, int]] = field(default_factory=list)


def tokens(text: str) -> Iterator[Token]:
    """Tags and texts in order; comments, declarations and what scripts and styles hold are none of them."""
    at = begin = 0
    endless: set[str] = set()  # titles and the like whose end is known not to come
    while found := _MARKUP.search(text, at):
        start, name = found.start(), (found[2] or "").lower()
        end = _tag_end(text, found.end()) if name else _past(text, "-->" if found[0] == "<!--" else ">", found.end())
        if end < 0:
            break
        if begin < start:
            yield Token(begin, start)
        at = begin = end
        if not name:
            continue
        yield Token(start, end, name, not found[1])
        if not found[1] and name in _RAW and text[end - 2] != "/" and name not in endless:
            read = name in ("textarea", "title")
            if (close := _raw_end(text, name, end)) < 0 and read:
                endless.add(name)
                continue
            at = begin = close if close >= 0 else len(text)
            if read and end < at:
                yield Token(end, at)
    found = _MARKUP.search(text, at)
    end = found.start() if found and len(text) - found.start() < _UNFINISHED else len(text)
    if begin < end:
        yield Token(begin, end)


def _past(text: str, mark: str, at: int) -> int:
    found = text.find(mark, at)
    return found + len(mark) if found >= 0 else -1


def _tag_end(text: str, at: int) -> int:
    """Past the `>` of the tag whose name ends at `at`, quoted values apart; -1 where it has none."""
    while found := _STOP.search(text, at):
        if not found[1]:
            return found.end()
        if (close := text.find(found[1], found.end())) < 0:
            return _past(text, ">", found.end())
        at = close + 1
    return -1


def _raw_end(text: str, name: str, at: int) -> int:
    """Where the closing tag begins of an element whose content is not markup, -1 where there is none."""
    found = re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE).search(text, at)
    return found.start() if found else -1


def parse(text: str) -> list[Element]:
    """The elements of a text in the order of their starts, after one without a name that holds them all."""
    return _Builder(text).built()


class _Builder:
    """Open elements as a stack, and where on it each name was last put."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.all = [Element(name="", start=0, inner=0)]
        self.open = [0]
        self.last: dict[str, list[int]] = {}  # depths of what is open, by name
        self.barriers = [0]
        head = text[:600]
        self.xml = head.lstrip("\ufeff \t\r\n").startswith("<?xml") or "XHTML" in head

    def built(self) -> list[Element]:
        for token in tokens(self.text):
            checkpoint()
            if not token.name:
                self.all[self.open[-1]].parts.append((token.start, token.end))
            elif token.name not in _SKIPPED:
                (self._start if token.opens else self._end)(token)
        self._pop(0, len(self.text))
        self.all[0].close = self.all[0].end = len(self.text)
        return self.all

    def _start(self, token: Token) -> None:
        name = token.name
        if name in _ENDS_P and self.last.get("p"):
            self._imply(("p",), (), token.start)
        if name in _IMPLIED:
            self._imply(*_IMPLIED[name], token.start)
        if name in _HEADINGS and self.all[self.open[-1]].name in _HEADINGS:
            self._pop(len(self.open) - 1, token.start)
        if len(self.open) >= DEEPEST and name not in VOID:
            return
        element = Element(name=name, start=token.start, inner=token.end, parent=self.open[-1])
        self.all[self.open[-1]].parts.append(len(self.all))
        self.all.append(element)
        if name in VOID or (self.xml and self.text[token.end - 2] == "/"):
            element.close = element.end = token.end
            return
        depth = len(self.open)
        self.open.append(len(self.all) - 1)
        self.last.setdefault(name, []).append(depth)
        if name in _BARRIERS:
            self.barriers.append(depth)

    def _end(self, token: Token) -> None:
        depth = self._depth(token.name)
        edge = self._depth("table") if token.name in _TABLE_PARTS or token.name == "table" else self.barriers[-1]
        if depth <= 0 or depth < edge:
            return
        self._pop(depth + 1, token.start)
        self._pop(depth, token.start, token.end)

    def _imply(self, names: Iterable[str], stops: Iterable[str], at: int) -> None:
        """End the outermost of the innermost open `names`, where none of `stops` is between."""
        edge = max([self._depth(s) for s in stops] or [self.barriers[-1]])
        if found := [d for n in names if (d := self._depth(n)) > edge]:
            self._pop(min(found), at)

    def _depth(self, name: str) -> int:
        depths = self.last.get(name)
        return depths[-1] if depths else 0

    def _pop(self, depth: int, close: int, end: int | None = None) -> None:
        """Close what is open from `depth` on; `end` where there is a closing tag."""
        for at in range(len(self.open) - 1, max(depth, 1) - 1, -1):
            element = self.all[self.open.pop()]
            element.close, element.end = close, close if end is None else end
            self.last[element.name].pop()
            if self.barriers[-1] == at:
                self.barriers.pop()
