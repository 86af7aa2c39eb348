"""Contexts as parts that are compressed on their own or not at all, and what is kept of parts as spans of contexts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ..types import Compressed, Span
from ..units import sentences, words
from .tags import Tagged


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A run of one context, from `start` on, with its own rate, or None for the call's; `edge`: white space between."""

    context: int
    start: int
    text: str
    rate: float | None = None
    compress: bool = True
    edge: bool = False

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    def between(self, start: int, end: int) -> Part:
        """What of it stands between two offsets of the context."""
        text = self.text[start - self.start : end - self.start]
        return replace(self, start=start, text=text)


def parts_of(contexts: Sequence[Sequence[Tagged]]) -> list[Part]:
    """Every tagged run as a part."""
    out: list[Part] = []
    for n, tagged in enumerate(contexts):
        at = 0
        for text, rate, compress in tagged:
            out.append(Part(context=n, start=at, text=text, rate=rate, compress=compress))
            at += len(text)
    return out


def outer(texts: Sequence[str], first: int, last: int) -> list[tuple[int, int, int]]:
    """The first and the last sentences of all contexts together: (context, start, end)."""
    each = [(n, a, b) for n, text in enumerate(texts) for a, b in bounds(text)]
    return each[:first] + (each[-last:] if last else [])


def bounds(text: str) -> list[tuple[int, int]]:
    """Where sentences begin and end, without the white space behind them."""
    found = sentences(text)
    each = zip(found.starts.tolist(), found.ends.tolist(), strict=True)
    return [(a, a + len(text[a:b].rstrip())) for a, b in each]


def protected(parts: Iterable[Part], ranges: Sequence[tuple[int, int, int]]) -> list[Part]:
    """Parts cut so that nothing in the ranges is compressed."""
    out = []
    for part in parts:
        inside = [(max(a, part.start), min(b, part.end)) for n, a, b in ranges if n == part.context]
        inside = [(a, b) for a, b in inside if a < b]
        if not part.compress or not inside:
            out.append(part)
            continue
        for a, b in pairwise(sorted({part.start, part.end, *(at for pair in inside for at in pair)})):
            free = not any(c <= a and b <= d for c, d in inside)
            out.append(replace(part.between(a, b), compress=free))
    return out


def apart(parts: Sequence[Part]) -> list[Part]:
    """White space at the edges of parts that have neighbours as parts of its own: words do not run together."""
    out = []
    many = several(parts)
    for part in parts:
        if part.context not in many or not part.compress:
            out.append(part)
            continue
        a = part.end - len(part.text.lstrip())
        b = max(a, part.start + len(part.text.rstrip()))
        before, body, behind = part.between(part.start, a), part.between(a, b), part.between(b, part.end)
        edges = [replace(x, compress=False, edge=True) for x in (before, behind)]
        out += [x for x in (edges[0], body, edges[1]) if x.text]
    return out


def tidy(text: str, parts: Sequence[Part]) -> list[Part]:
    """What is left of one context without edges that are none any more: first, last, or behind another."""
    if "".join(p.text for p in parts) == text:
        return list(parts)
    out: list[Part] = []
    for part in parts:
        if not part.edge or (out and not out[-1].edge):
            out.append(part)
    return out[:-1] if out and out[-1].edge else out


def several(parts: Sequence[Part]) -> set[int]:
    """Contexts of more than one part."""
    return {b.context for a, b in pairwise(parts) if a.context == b.context}


def within(parts: Sequence[Part], found: Sequence[Compressed]) -> list[Part]:
    """What is kept of parts, as parts."""
    return [
        part.between(part.start + a, part.start + b)
        for part, kept in zip(parts, found, strict=True)
        for a, b in kept.spans
    ]


def spans(texts: Sequence[str], parts: Sequence[Part]) -> list[list[Span]]:
    """What is left of each context as spans, those that touch joined; none where that is only white space."""
    each: list[list[Part]] = [[] for _ in texts]
    for part in parts:
        each[part.context].append(part)
    return [joined(text, tidy(text, mine)) for text, mine in zip(texts, each, strict=True)]


def joined(text: str, parts: Sequence[Part]) -> list[Span]:
    out: list[Span] = []
    for part in parts:
        start = out.pop().start if out and out[-1].end == part.start else part.start
        out.append(Span(start, part.end))
    left = excerpt(text, out)
    meant = any(not p.compress and not p.edge for p in parts)
    return out if left.strip() or left == text or meant else []


def excerpt(text: str, kept: Sequence[Span]) -> str:
    return "".join(text[a:b] for a, b in kept)


def without_repeats(text: str, kept: list[Span], strings: Sequence[str]) -> list[Span]:
    """The spans without occurrences of a string that follow one of the same, white space between them aside."""
    left = excerpt(text, kept)
    pattern = "|".join(re.escape(s) for s in sorted(filter(None, strings), key=len, reverse=True))
    if not pattern or not left:
        return kept
    places = np.concatenate([np.arange(a, b) for a, b in kept])
    stays = np.ones(len(places), bool)
    last: re.Match[str] | None = None
    for found in re.finditer(pattern, left):
        if last is not None and last[0] == found[0] and not left[last.end() : found.start()].strip():
            stays[found.start() : found.end()] = False
        last = found
    places = places[stays]
    edges = np.flatnonzero(np.diff(places) != 1) + 1
    runs = [run.tolist() for run in np.split(places, edges) if len(run)]
    return [Span(run[0], run[-1] + 1) for run in runs]


def labelled(text: str, kept: Sequence[Span]) -> list[tuple[str, int]]:
    """Every word, and 1 for those that are kept."""
    inside = np.zeros(len(text), bool)
    for a, b in kept:
        inside[a:b] = True
    units = words(text)
    each = ((text[a:b].strip(), b) for a, b in zip(units.starts.tolist(), units.ends.tolist(), strict=True))
    found = ((word, text.rindex(word, 0, b)) for word, b in each if word)
    return [(word, int(inside[at])) for word, at in found]
