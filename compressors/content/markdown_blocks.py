"""Markdown as a run of blocks: headings, items, tables, fences, quotes, paragraphs (CommonMark 0.31, GFM tables)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from ..structure import HEADING, ITEM

Kind = Literal["heading", "item", "table", "fence", "lines", "definition", "paragraph"]
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})([^\n]*)")
_RULER = re.compile(r"[ \t|:-]+")  # these of lines without white space at their ends: two runs of it would be tried
_UNDERLINE = re.compile(r" {0,3}(=+|-+)")  # in every way to part them
_DEFINITION = re.compile(r" {0,3}\[[^\]\n]{1,200}\]:[ \t]*\S")
_QUOTE = re.compile(r" {0,3}>")
_BREAK = re.compile(r" {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}")
_CODE = "    "


@dataclass(slots=True, kw_only=True)
class Block:
    """One block by its lines, each (start, end) with its break; blank lines after it belong to the last."""

    kind: Kind
    lines: list[tuple[int, int]] = field(default_factory=list)
    level: int = 0  # of a heading
    indent: int = 0  # columns before it
    ended: bool = True  # whether a fence has its closing line
    apart: bool = False  # whether a blank line stands before it


def blocks(text: str) -> list[Block]:
    """The blocks of a text in order; their lines tile it, but for blank ones at its beginning."""
    return _Reader(text).read()


def columns(line: str) -> int:
    """White space before a line's text, tabs to the next multiple of four."""
    return len((line[: len(line) - len(line.lstrip())]).expandtabs(4))


class _Reader:
    def __init__(self, text: str) -> None:
        self.lines = text.splitlines(keepends=True)
        self.out: list[Block] = []
        self.place = 0
        self.fence = ""  # what closes the open one
        self.blank = True  # whether the line before was

    def read(self) -> list[Block]:
        for n, line in enumerate(self.lines):
            end = self.place + len(line)
            self._line(n, line, (self.place, end))
            self.place = end
        if self.fence:
            self.out[-1].ended = False
        return self.out

    def _begin(self, kind: Kind, line: str, place: tuple[int, int], level: int = 0) -> None:
        block = Block(kind=kind, lines=[place], level=level, indent=columns(line), apart=self.blank)
        self.out.append(block)

    def _line(self, n: int, line: str, place: tuple[int, int]) -> None:
        last = self.out[-1] if self.out else None
        if self.fence and last:
            last.lines.append(place)
            bare = line.strip()
            if bare.startswith(self.fence) and not bare.strip(self.fence[0]):
                self.fence, self.blank = "", True
            return
        if not line.strip():
            if last:
                last.lines[-1] = (last.lines[-1][0], place[1])
            self.blank = True
            return
        self._solid(n, line, place, last)
        self.blank = False

    def _solid(self, n: int, line: str, place: tuple[int, int], last: Block | None) -> None:
        after = self.lines[n + 1] if n + 1 < len(self.lines) else ""
        goes_on = last if last and not self.blank else None
        if (fence := _FENCE.match(line)) and (fence[1][0] == "~" or "`" not in fence[2]):
            self._begin("fence", line, place)
            self.fence = fence[1]
        elif n == 0 and line.strip() == "---" and any(x.strip() == "---" for x in self.lines[1:60]):
            self._begin("fence", line, place)
            self.fence = "---"
        elif goes_on and goes_on.kind == "table" and "|" in line:
            goes_on.lines.append(place)
        elif heading := HEADING.match(line):
            self._begin("heading", line, place, len(heading[1]))
        elif (
            (under := _UNDERLINE.fullmatch(line.rstrip()))
            and goes_on
            and goes_on.kind == "paragraph"
            and len(goes_on.lines) < 4
        ):
            goes_on.lines.append(place)
            goes_on.kind, goes_on.level = "heading", 1 if under[1][0] == "=" else 2
        elif _BREAK.fullmatch(line.rstrip()):
            self._begin("lines", line, place)
        elif "|" in line and "|" in after and "-" in after and _RULER.fullmatch(after.rstrip()):
            self._begin("table", line, place)
        elif ITEM.match(line) and not (columns(line) >= 4 and last and last.kind not in ("item", "paragraph")):
            self._begin("item", line, place)
        elif _DEFINITION.match(line) and not (goes_on and goes_on.kind == "paragraph"):
            self._begin("definition", line, place)
        elif goes_on and goes_on.kind in ("item", "paragraph", "lines"):
            goes_on.lines.append(place)
        elif last and last.kind == "lines" and line.startswith(_CODE):  # blank lines do not end indented code
            last.lines.append(place)
        else:
            self._begin("lines" if _QUOTE.match(line) or self._code(line, last) else "paragraph", line, place)

    def _code(self, line: str, last: Block | None) -> bool:
        return line.startswith(_CODE) and not (last and (last.kind == "item" or last.indent))
