"""From kept units to text: spans are merged, trimmed at the end, and sliced out of the source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from .types import Mark, Span, Units


class Rendered(NamedTuple):
    """Kept text as spans of the source, and marks between them; both in source order."""

    spans: list[Span]
    marks: list[Mark]


Form = Callable[[np.ndarray], Rendered]
"""Kept units (bool [N], closed under heads) as text."""


def spans_of(text: str, units: Units, kept: np.ndarray) -> list[Span]:
    """Kept units as maximal spans, and between two of them one white space of the source where something was dropped.

    They are separated as the source separates them: by a line break, with what indents the next line, if there is one
    between what is kept of either, else by a blank. White space after the last kept unit is dropped: it is no text
    worth a token.
    """
    if kept.all():
        return [Span(0, len(text))] if text else []
    before = np.concatenate(([False], kept))
    edges = np.flatnonzero(before[1:] != before[:-1]).tolist() + [len(kept)] * bool(len(kept) and kept[-1])
    starts, ends = units.starts[edges[::2]].tolist(), units.ends[np.array(edges[1::2], np.int64) - 1].tolist()
    spans: list[Span] = []
    for start, end in zip(starts, ends, strict=True):
        if spans:
            last, start = separated(text, spans.pop(), start)
            spans += last
        spans.append(Span(start, end))
    return trimmed(text, spans)


def separated(text: str, last: Span, start: int) -> tuple[list[Span], int]:
    """The span before a gap and what stands for the gap, and where the span after it begins (at `start` or before)."""
    solid = last.start + len(text[last.start : last.end].rstrip())
    if "\n" in text[solid : last.end]:  # what is kept has its own
        return [last], start
    line = text.rfind("\n", solid, start)
    if line < 0:
        if text[last.end - 1].isspace() or text[start].isspace():
            return [last], start
        blank = _last_space(text, last.end, start)
        if blank == start - 1:
            return [last], blank
        return [last, Span(blank, blank + 1)] if blank >= 0 else [last], start
    rest = [Span(last.start, min(last.end, solid))] if solid > last.start else []
    if text[line:start].isspace():
        return rest, line
    return [*rest, Span(line, line + 1)], start


def trimmed(text: str, spans: list[Span]) -> list[Span]:
    """The same spans without the white space that they end in."""
    while spans:
        start, end = spans.pop()
        if rest := text[start:end].rstrip():
            return [*spans, Span(start, start + len(rest))]
    return spans


def _last_space(text: str, start: int, end: int) -> int:
    return next((i for i in range(end - 1, start - 1, -1) if text[i].isspace()), -1)


def render(text: str, spans: Sequence[Span], marks: Sequence[Mark] = ()) -> str:
    """The kept text of one document: its spans in source order, and the marks where they stand between them."""
    if not marks:
        return "".join(text[a:b] for a, b in spans)
    parts = [(a, 1, text[a:b]) for a, b in spans] + [(m.at, 0, m.text) for m in marks]
    return "".join(t for _, _, t in sorted(parts, key=lambda p: p[:2]))


def join(separator: str, texts: Iterable[str]) -> str:
    """Documents as one text; empty ones leave no separator behind."""
    return separator.join(t for t in texts if t)
