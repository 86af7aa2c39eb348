"""What no unit is cut in: links, tags, table rows, lines of fenced code, numbers with their units, names."""

from __future__ import annotations

import re

import numpy as np

from laconic.models.recent import remembered

from .heads import cycles
from .types import Units

FENCE = re.compile(r"[ \t]*(```|~~~)")  # at the beginning of a line
_ROW = re.compile(r"^[ \t]{0,8}(\|[^\n]{1,4000}\|)[ \t]*$", re.M)
_LINK = re.compile(
    r"!?\[[^\[\]\n]{0,200}\]\([^()\s]{1,1000}(?:\([^()\s]{0,200}\)[^()\s]{0,200})?(?: \"[^\"\n]{0,200}\")?\)"
)
_TAG = re.compile(r"<a\s[^<>]{0,1000}>[^<]{0,200}</a>|</?[a-zA-Z][\w-]{0,40}(?:\s[^<>\n]{0,1000})?/?>")
_UNITS = (
    "%|‰|°(?:[CF]\\b)?|[kcmdµμn]?m[²³23]?|ha|[kmµμ]?g|[mcdkµμ]?l|mL|L|[mµμn]?s|min|h|[kMGT]?Hz|[kMGTm]?Wh?|[kMm]?V|mAh?|[kM]?J|[kM]?cal"
    "|[hkM]?Pa|m?bar|[kKMGTP]i?B|[kKMG]?bit(?:/s)?|[kMG]bps|px|pt|dpi|fps|rpm|ft|mi|lbs?|oz|mph|km/h|m/s|dB|ppm"
    "|EUR|USD|GBP|JPY|CHF|euros?|dollars?|pounds?|cents?|percent|per cent|thousand|million|billion|trillion|mn|bn"
    "|[ap]\\.m\\.|[AP]M"
)
_NUMBER = r"\d{1,15}(?:[.,]\d{1,15}){0,5}"
_QUANTITY = re.compile(
    rf"(?<![\w.,])[-+±~]?(?:[$€£¥][ \u00a0]?{_NUMBER}"
    r"(?:[ \u00a0\u202f](?:thousand|million|billion|trillion|mn|bn|[kKMB])(?!\w))?"
    rf"|{_NUMBER}[ \u00a0\u202f](?:{_UNITS})(?!\w))"
)
_NAME = re.compile(
    r"(?<![\w.+/:@-])(?:"
    r"(?:[a-zA-Z][a-zA-Z+.-]{1,15}://|www\.)[^\s<>\"'`\]]{1,2000}"  # URLs
    r"|[A-Za-z0-9_.+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}"  # addresses of mail
    r"|(?:~|\.{1,2}|[A-Za-z]:)?(?:[/\\][A-Za-z0-9_.+@%-]{1,255}){1,40}"  # paths
    r"|[A-Za-z0-9_]{1,200}(?:[_./:\\-]{1,2}[A-Za-z0-9_]{1,200}){1,40}"  # snake_case, versions, UUIDs, a.b(), dates
    r"|[A-Za-z_]{1,60}\d\w{0,200}|\d[\w]{1,200})"  # part numbers, numbers
)
_JOINED = re.compile(r"[A-Za-z]{1,60}(?:[-'’./][A-Za-z]{1,60}){1,6}")  # words with hyphens are no identifiers


def unbroken(text: str, *, names: bool = False) -> np.ndarray:
    """Ranges that nothing is cut in, int64 [N, 2], ordered and disjoint; `names`: those without white space too."""
    return _named(text) if names else _marked(text)


@remembered
def _marked(text: str) -> np.ndarray:
    """Links, tags, rows, code, quantities."""
    found: list[tuple[int, int]] = []
    if "](" in text:
        found += [m.span() for m in _LINK.finditer(text)]
    if "<" in text:
        found += [m.span() for m in _TAG.finditer(text)]
    if "|" in text:
        found += [m.span(1) for m in _ROW.finditer(text)]
    if "```" in text or "~~~" in text:
        found += fenced(text)
    found += [m.span() for m in _QUANTITY.finditer(text)]
    return merged(found)


@remembered
def _named(text: str) -> np.ndarray:
    """The same and names."""
    found = [(a, b) for a, b in _marked(text).tolist()]
    return merged(found + [m.span() for m in _NAME.finditer(text) if not _JOINED.fullmatch(m[0])])


def fenced(text: str) -> list[tuple[int, int]]:
    """The lines of fenced code, fences included."""
    out, inside, at = [], False, 0
    for line in text.splitlines(keepends=True):
        fence = FENCE.match(line) is not None
        if inside or fence:
            out.append((at + len(line) - len(line.lstrip()), at + len(line)))
        inside, at = inside != fence, at + len(line)
    return out


def merged(found: list[tuple[int, int]]) -> np.ndarray:
    """Ranges in order, those that overlap as one; int64 [N, 2]."""
    out: list[list[int]] = []
    for start, end in sorted(found):
        if out and start < out[-1][1]:
            out[-1][1] = max(out[-1][1], end)
        else:
            out.append([start, end])
    return np.array(out, np.int64).reshape(-1, 2)


def breaking(starts: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    """Which positions lie inside a range, past its first character; bool [N]."""
    if not len(ranges):
        return np.zeros(len(starts), bool)
    at = np.searchsorted(ranges[:, 0], starts, side="left") - 1
    inside: np.ndarray = (at >= 0) & (starts < ranges[np.maximum(at, 0), 1])
    return inside


def uncut(units: Units, text: str, *, names: bool = False) -> Units:
    """The same units, those joined that stand in one unbroken range; the same object where there is none.

    A joined unit depends on what its first part did, or on nothing where that is itself or comes back to it.
    """
    inside = breaking(units.starts, unbroken(text, names=names))
    if not inside.any():
        return units
    starts = units.starts[~inside]
    ends = np.append(starts[1:], units.ends[-1])
    if units.heads is None:
        return Units(starts=starts, ends=ends)
    number = np.cumsum(~inside) - 1
    heads = units.heads[~inside]
    return Units(starts=starts, ends=ends, heads=acyclic(np.where(heads >= 0, number[heads], -1)))


def acyclic(heads: np.ndarray) -> np.ndarray:
    """The same heads, but -1 where following them comes back to a unit."""
    out: np.ndarray = heads.copy()
    for cycle in cycles(heads):
        out[cycle[-1]] = -1
    return out
