"""Logs by their templates: one line stands for all that say the same, with how many they are.

Templates in two steps, in the spirit of Drain (He et al., ICWS 2017): what varies by its form is masked, then lines of
one length and level that agree in most words are one template. Lines without a time belong to the record above them.
"""

from __future__ import annotations

import re

import numpy as np

from laconic.models import checkpoint

from ..render import Rendered
from ..types import Mark, Units
from .laid import Laid, made, spans_between

LINE = 1_000  # characters of a line that its template is made of
ALIKE = 0.7  # share of words in which two lines of one template agree
COMPARED = 30  # templates that a new one is compared with, the last ones of its length and level
ERROR, WARNING, RARE = 2.0, 1.0, 1.0  # logits
FEW = 2  # lines of a rare template, at most
LIKELY, SAME = 0.3, 0.5  # share of lines with a time or a level, or templates per line, in a log
_TIME = re.compile(
    r"\d{4}[-/.]\d\d[-/.]\d\d|\b\d{1,2}:\d\d:\d\d\b|^[A-Z][a-z]{2} [ \d]\d |^\[ *\d+\.\d+\]|^\d{10,13}\b"
    r"|\d\d/[A-Z][a-z]{2}/\d{4}"
)
_LEVEL = re.compile(r"\b(?:TRACE|DEBUG|INFO|NOTICE|WARN(?:ING)?|ERROR|SEVERE|FATAL|CRITICAL|PANIC)\b", re.I)
_ERROR = re.compile(r"\b(?:ERROR|SEVERE|FATAL|CRITICAL|PANIC|EMERG|ALERT)\b|(?i:exception\b|traceback|panic:|segfault)")
_WARNING = re.compile(r"\bWARN(?:ING)?\b", re.I)
_VARIES = re.compile(
    r"\"[^\"]*\"|'[^']*'"  # quoted
    r"|(?<==)[^\s,;\"']+"  # key=value
    r"|(?<![\w/.+~-])/?(?:[\w.+~-]+/)+[\w.+~-]*"  # paths
    r"|(?<![\w.:-])[\w.:-]*\d[\w.:-]*"  # numbers, times, addresses, identifiers
)


def lay(text: str, marker: str) -> Laid | None:
    """The layout of a log; None where its lines bear neither times nor levels and seldom say the same."""
    starts = np.array([m.start() for m in re.finditer(r"^.*\S", text, re.M)], np.int64)
    if len(starts) < 4:
        return None
    starts[0] = 0
    ends = np.append(starts[1:], len(text))
    lines = [text[a:b].rstrip() for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
    timed = np.array([_TIME.search(line[:60]) is not None for line in lines])
    template = templates(lines)
    kinds = int(template.max()) + 1
    level = np.mean([_LEVEL.search(line[:120]) is not None for line in lines])
    if max(timed.mean(), level) < LIKELY and kinds > SAME * len(lines):
        return None
    return Folded(text, lines, starts, ends, timed, template).laid(" ".join(marker.split()))


def templates(lines: list[str]) -> np.ndarray:
    """The number of each line's template, by first appearance; int64 [N]."""
    known: dict[str, int] = {}
    near: dict[tuple[int, str], list[tuple[int, list[str]]]] = {}
    count = 0
    out = np.zeros(len(lines), np.int64)
    for n, line in enumerate(lines):
        checkpoint()
        masked = _VARIES.sub("*", line[:LINE])
        if masked not in known:
            words = masked.split()
            level = _LEVEL.search(masked)
            others = near.setdefault((len(words), level[0] if level else ""), [])
            found = next((t for t, o in reversed(others[-COMPARED:]) if alike(words, o)), -1)
            if found < 0:
                found, count = count, count + 1
                others.append((found, words))
            known[masked] = found
        out[n] = known[masked]
    return out


def alike(a: list[str], b: list[str]) -> bool:
    same = sum(x == y for x, y in zip(a, b, strict=True))
    return same >= ALIKE * len(a) and sum(x == y != "*" for x, y in zip(a, b, strict=True)) >= len(a) / 3


class Folded:
    """A log as units, a line each."""

    def __init__(
        self, text: str, lines: list[str], starts: np.ndarray, ends: np.ndarray, timed: np.ndarray, template: np.ndarray
    ) -> None:
        self.text, self.lines, self.starts, self.ends, self.template = text, lines, starts, ends, template
        if timed.mean() >= LIKELY:
            self.record = timed.copy()
        else:
            self.record = np.array([not text[a].isspace() for a in starts.tolist()])
        self.record[0] = True
        self.owner = np.maximum.accumulate(np.where(self.record, np.arange(len(starts)), 0))
        self.written = starts + np.array([len(line) for line in lines], np.int64)  # ends without line breaks

    def laid(self, marker: str) -> Laid:
        first = np.zeros(len(self.lines), bool)
        first[np.unique(self.template, return_index=True)[1]] = True
        units = Units(starts=self.starts, ends=self.ends, heads=np.where(self.record, -1, self.owner))
        return made("log.v1", units, self._worth(), self.lines, lambda kept: self.form(kept, marker), echoes=~first)

    def _worth(self) -> np.ndarray:
        """Logits: what went wrong, and what was seldom said."""
        wrong = np.array([_ERROR.search(line[:LINE]) is not None for line in self.lines])
        warned = np.array([_WARNING.search(line[:120]) is not None for line in self.lines])
        counts = np.bincount(self.template)[self.template]
        rare = (counts <= FEW) & (len(self.lines) > 10 * FEW)
        worth: np.ndarray = np.maximum(ERROR * wrong, WARNING * warned) + RARE * rare
        return worth

    def form(self, kept: np.ndarray, marker: str) -> Rendered:
        """Kept lines; the first of each template says how many it stands for."""
        at = np.flatnonzero(kept)
        marks = self._counts(kept, marker) if marker else []
        cuts = [m.at for m in marks]
        inside = self.written[at][np.isin(self.written[at], cuts)]
        begins = np.sort(np.concatenate((self.starts[at], inside)))
        stops = np.sort(np.concatenate((self.ends[at], inside)))
        return Rendered(spans_between(self.text, begins, stops, cuts), marks)

    def _counts(self, kept: np.ndarray, marker: str) -> list[Mark]:
        gone = np.bincount(self.template[~kept & self.record], minlength=int(self.template.max()) + 1)
        some = np.flatnonzero(kept & self.record)
        _, index = np.unique(self.template[some], return_index=True)
        first = np.sort(some[index])
        lost = gone[self.template[first]]
        return [
            Mark(int(self.written[n]), f" {marker} ×{k + 1}")
            for n, k in zip(first.tolist(), lost.tolist(), strict=True)
            if k
        ]
