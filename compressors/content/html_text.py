"""Runs of text and tags as pieces of the source: trimmed, cut into sentences, and as a scorer reads them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import unescape
from typing import NamedTuple

from ..units import sentences

TEXT, OPENS, CLOSES = range(3)  # a tag that opens goes with what comes after, every other with what was before
_APART = re.compile(r"<(?:/?(?:a|br|li|p|div|dd|dt|option|button|label|img)|(/?t[dh]))(?=[\s/>])", re.IGNORECASE)
_BREAK = re.compile(r"\s*?\n")


class Piece(NamedTuple):
    """A range of the source that is written, and what it is."""

    start: int
    end: int
    kind: int = TEXT


def seen(text: str) -> str:
    """Text of a page as a person sees it."""
    return unescape(text) if "&" in text else text


def read(text: str, pieces: Sequence[Piece]) -> str:
    """What pieces say, set apart where tags between them do so."""
    out: list[str] = []
    last = pieces[0].start if pieces else 0
    for start, end, kind in pieces:
        if kind != TEXT:
            if text[start] != "<" and (alt := text[start:end].lstrip())[:3].lower() == "alt":
                out.append(f" {seen(alt.partition('=')[2].strip())[1:-1]} ")
            continue
        if last < start and (found := _APART.search(text, last, start)):
            out.append(" | " if found[1] else " ")
        out.append(seen(text[start:end]))
        last = end
    return "".join(out)


def line_break(text: str, at: int) -> list[Piece]:
    """The first line break in the white space at `at`, where there is one."""
    found = _BREAK.match(text, at)
    return [Piece(found.end() - 1, found.end(), CLOSES)] if found else []


def stripped(text: str, pieces: Sequence[Piece]) -> list[Piece]:
    """The same without white space at either end."""
    solid = [n for n, p in enumerate(pieces) if p.kind != TEXT or text[p.start : p.end].strip()]
    if not solid:
        return []
    rest = list(pieces[solid[0] : solid[-1] + 1])
    start, end, kind = rest[0]
    if kind == TEXT:
        rest[0] = Piece(end - len(text[start:end].lstrip()), end)
    start, end, kind = rest[-1]
    if kind == TEXT:
        rest[-1] = Piece(start, start + len(text[start:end].rstrip()))
    return rest


def trimmed(text: str, pieces: Sequence[Piece]) -> list[Piece]:
    """Stripped, but for one character of white space at the end where the source has one."""
    if not (rest := stripped(text, pieces)):
        return []
    end = rest[-1].end
    blank = [Piece(end, end + 1, CLOSES)] if text[end : end + 1].isspace() else []
    return rest + (line_break(text, end) or blank)


def plain(text: str, pieces: Iterable[Piece]) -> str:
    """The text of pieces, without tags."""
    return "".join(text[a:b] for a, b, kind in pieces if kind == TEXT)


def cuts(words: str) -> list[int]:
    """Where sentences begin after white space, or in scripts that write none."""
    return [s for s in sentences(words).starts.tolist() if s and (words[s - 1].isspace() or words[s - 1] > "\u2e7f")]


def divided(text: str, pieces: Sequence[Piece], at: Iterable[int]) -> list[list[Piece]]:
    """Pieces in groups, cut where their text is; nothing is cut between a tag that opens and its closing one."""
    groups: list[list[Piece]] = [[]]
    wanted = iter(sorted(at))
    cut = next(wanted, -1)
    begin = depth = 0  # characters of text before; tags that are open
    waiting: list[Piece] = []
    for start, end, kind in pieces:
        if kind == OPENS:
            waiting.append(Piece(start, end, kind))
            continue
        if kind == CLOSES:
            groups[-1] += [*waiting, Piece(start, end, kind)]
            depth = max(0, depth + _opened(text, waiting) - (text[start : start + 2] == "</"))
            waiting = []
            continue
        stop = begin + end - start
        while begin <= cut < stop or 0 <= cut < begin:
            place = start + cut - begin
            if begin <= cut and not depth and (place == start or not waiting):
                if place > start:
                    groups[-1].append(Piece(start, place))
                if groups[-1]:
                    groups.append([])
                start, begin = place, cut
            cut = next(wanted, -1)
        groups[-1] += [*waiting, Piece(start, end)]
        depth += _opened(text, waiting)
        begin, waiting = stop, []
    groups[-1] += waiting
    return groups


def _opened(text: str, pieces: Sequence[Piece]) -> int:
    return sum(text[p.start] == "<" for p in pieces)
