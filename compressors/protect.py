"""What no unit is cut in: links, tags, table rows, lines of fenced code, numbers with their units, dates, names."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from laconic.models.recent import remembered
from laconic.models.work import checkpoint

from .heads import cycles
from .types import Units

WINDOW, LONGEST = 32_768, 12_288  # characters searched at once, and beyond: no match of what follows is longer
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
# 14 October 2024, 3. Juni, 1er mai, 12 de mayo de 2020; and October 14, 2024, Chapter 12, Room 3
_MONTHS = (
    "january february march april may june july august september october november december jan feb mar apr jun jul aug "
    "sept sep oct nov dec januar februar märz april mai juni juli august september oktober november dezember janvier "
    "février mars avril juin juillet août septembre octobre novembre décembre enero febrero marzo abril mayo junio "
    "julio agosto septiembre octubre noviembre diciembre gennaio febbraio aprile maggio giugno luglio settembre "
    "ottobre dicembre janeiro fevereiro março maio junho julho setembro outubro novembro dezembro januari februari "
    "maart mei augustus mars maj augusti января февраля марта апреля мая июня июля августа сентября октября ноября "
    "декабря"
)
_DATE = re.compile(
    r"(?<![\w.,/-])\d{1,2}(?:st|nd|rd|th|er|\.|º|ª)?[ \u00a0](?:(?:of|de|d['’])[ \u00a0]?)?"
    rf"(?:{'|'.join(sorted({m for w in _MONTHS.split() for m in (w, w.capitalize())}, key=lambda m: (-len(m), m)))})\b"
    r"(?:\.?,?[ \u00a0](?:de[ \u00a0])?\d{4}(?!\w))?"
)
_NUMBERED = re.compile(
    r"(?<!\w)[A-Z][a-z]{2,14}\.?[ \u00a0]\d{1,4}(?:st|nd|rd|th)?(?:,[ \u00a0]\d{4})?(?![\w]|[.,:]\d)"
)
_JOINED = re.compile(r"[A-Za-z]{1,60}(?:[-'’./][A-Za-z]{1,60}){1,6}")  # words with hyphens are no identifiers


def unbroken(text: str, *, names: bool = False) -> np.ndarray:
    """Ranges that nothing is cut in, int64 [N, 2], ordered and disjoint; `names`: those without white space too."""
    return _named(text) if names else _marked(text)


@remembered
def _marked(text: str) -> np.ndarray:
    """Links, tags, rows, code, quantities, dates."""
    found = [
        *(spans(_LINK, text) if "](" in text else ()),
        *(spans(_TAG, text) if "<" in text else ()),
        *(spans(_ROW, text, 1) if "|" in text else ()),
        *(fenced(text) if "```" in text or "~~~" in text else ()),
        *spans(_QUANTITY, text),
        *spans(_DATE, text),
        *spans(_NUMBERED, text),
    ]
    return merged(found)


@remembered
def _named(text: str) -> np.ndarray:
    """The same and names."""
    return merged([_marked(text), *spans(_NAME, text, but=_JOINED)])


def spans(pattern: re.Pattern[str], text: str, group: int = 0, but: re.Pattern[str] | None = None) -> list[np.ndarray]:
    """Where a pattern matches, unless `but` matches all of it, by windows; int64 [N, 2] each.

    A search of a long text in one go would hold the interpreter for as long: nobody else's turn would come.
    """
    at, out = 0, []
    while at < len(text):
        checkpoint()
        stop = min(len(text), at + WINDOW + LONGEST)
        flat: list[int] = []
        for m in pattern.finditer(text, at, stop):
            if m.start() >= at + WINDOW:
                break
            # one that reaches the stop was cut there, or seemed to end
            match = pattern.match(text, m.start()) if m.end() == stop < len(text) else m
            if match and not (but and but.fullmatch(match[0])):
                flat += match.span(group)
        out.append(np.array(flat, np.int64).reshape(-1, 2))
        at = max(at + WINDOW, flat[-1] if flat else 0)
    return out


def fenced(text: str) -> list[np.ndarray]:
    """The lines of fenced code, fences included; int64 [N, 2] each."""
    flat: list[int] = []
    inside, at = False, 0
    for line in text.splitlines(keepends=True):
        fence = FENCE.match(line) is not None
        if inside or fence:
            flat += (at + len(line) - len(line.lstrip()), at + len(line))
        inside, at = inside != fence, at + len(line)
    return [np.array(flat, np.int64).reshape(-1, 2)]


def merged(found: Sequence[np.ndarray]) -> np.ndarray:
    """Ranges in order, those that overlap as one; int64 [N, 2]."""
    ranges = np.concatenate([np.zeros((0, 2), np.int64), *found])
    ranges = ranges[np.argsort(ranges[:, 0], kind="stable")]
    if not len(ranges):
        return ranges
    reach = np.maximum.accumulate(ranges[:, 1])
    first = np.flatnonzero(np.append(True, ranges[1:, 0] >= reach[:-1]))
    return np.stack([ranges[first, 0], np.maximum.reduceat(ranges[:, 1], first)], 1)


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
