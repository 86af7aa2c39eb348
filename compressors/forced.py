"""What a request keeps whatever its score: strings, patterns, digits, the first sentence of each document.

RE2 takes linear time for one match, but not for all of them: each can look on to the end of the text and be short
(`a(?:.*b)?` over many `a`). So a match is looked for within a window, which is the whole text wherever that is cheap
enough for as many matches as there are; and there may be only so many. Neither depends on time: the same request is
answered alike on any machine.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import re2

from laconic.models import checkpoint
from laconic.models.words import code_points

from .types import Document, InvalidRequest, Keep, Units
from .units import owners, printable

PATTERN = 1000  # characters of one pattern: the size of its program grows with it
FOUND, MATCHED = 1_000_000, 100_000  # times that a request's strings, and its patterns, may stand in its documents
NARROW = 2048  # bytes that a match may be long at least
STEPS, ALL_STEPS = (
    20_000_000,
    1_000_000_000,
)  # bytes looked at for longer ones: of a document by a pattern, of a request
OFTEN = 1000  # matches between two looks at the clock


class Forcing:
    """One request's `keep`, compiled once; counts what it finds. Raises InvalidRequest for what RE2 does not accept."""

    def __init__(self, keep: Keep) -> None:
        self.keep = keep
        self.strings = {s: n for n, s in reversed(list(enumerate(keep.strings))) if s}
        self.patterns = {p: (n, compiled(p, n)) for n, p in reversed(list(enumerate(keep.patterns)))}
        self.found = self.matched = 0
        self.steps = ALL_STEPS

    def __call__(self, document: Document, units: Units, sentences: Units) -> np.ndarray:
        """Which units must be kept, bool [N]; all of them for a document that is not to be compressed.

        Raises InvalidRequest where something matches too often.
        """
        if not document.compress:
            return np.ones(len(units), bool)
        if not self.keep or not len(units):
            return np.zeros(len(units), bool)
        text = printable(document.text)
        ranges = [np.array(list(self._strings(text)), np.int64).reshape(-1, 2)]
        if self.patterns:
            ranges.append(self._patterns(text))
        if self.keep.first_sentence and len(sentences):
            ranges.append(np.array([[0, sentences.ends[0]]]))
        out = touched(units, np.concatenate(ranges))
        if self.keep.digits:
            points = code_points(text)
            out[owners(units, np.flatnonzero((points >= ord("0")) & (points <= ord("9"))))] = True
        return out

    def _strings(self, text: str) -> Iterator[tuple[int, int]]:
        for string, number in self.strings.items():
            checkpoint()
            at = start = stop = text.find(string)
            while at >= 0:
                self.found += 1
                if self.found > FOUND:
                    raise often(f"keep.strings.{number}", FOUND)
                if self.found % OFTEN == 0:
                    checkpoint()
                if at > stop:  # those that touch are one range
                    yield start, stop
                    start = at
                stop = at + len(string)
                at = text.find(string, stop)
            if start >= 0:
                yield start, stop

    def _patterns(self, text: str) -> np.ndarray:
        """Ranges of characters that a pattern matches, int64 [N, 2]."""
        data = text.encode()
        found = []
        for number, pattern in self.patterns.values():
            checkpoint()
            found += self._all(pattern, data, f"keep.patterns.{number}")
        ranges = np.array(found, np.int64).reshape(-1, 2)
        if len(data) == len(text):
            return ranges
        begins = (np.frombuffer(data, np.uint8) & 0xC0) != 0x80
        return np.concatenate(([0], np.cumsum(begins)))[ranges]

    def _all(self, pattern: re2._Regexp, data: bytes, param: str) -> list[tuple[int, int]]:
        """Ranges of bytes that a pattern matches, one after the other."""
        found = list(self._within(pattern, data, NARROW, param))
        if len(data) <= 2 * NARROW:
            return found
        most = len(found) + len(data) // NARROW + 1  # matches, if longer ones are looked for
        window = min(len(data), STEPS // most)
        if window <= NARROW or self.steps < most * window:
            return found
        self.steps -= most * window
        self.matched -= len(found)
        return list(self._within(pattern, data, window, param))

    def _within(self, pattern: re2._Regexp, data: bytes, window: int, param: str) -> Iterator[tuple[int, int]]:
        """Matches of at most `window` bytes or, where they begin early in it, twice as many."""
        at, end = 0, len(data)
        while at <= end:
            stop = min(end, at + 2 * window)
            match = pattern.search(data, at, stop)
            if stop < end and (match is None or match.start() > at + window):
                at = following(data, at + window) if match is None else match.start()
                checkpoint()
                continue
            if match is None:
                return
            self.matched += 1
            if self.matched > MATCHED:
                raise often(param, MATCHED)
            if self.matched % OFTEN == 0:
                checkpoint()
            start, at = match.span()
            if start < at:
                yield start, at
            else:
                at = following(data, at + 1)


def compiled(pattern: str, number: int) -> re2._Regexp:
    """An RE2 program, made anew: the library's own memo would tell who else asked for it."""
    if len(pattern) > PATTERN:
        raise InvalidRequest(f"a pattern may have {PATTERN} characters", param=f"keep.patterns.{number}")
    options = re2.Options()
    options.log_errors, options.never_capture = False, True
    try:
        return re2._Regexp(printable(pattern), options)
    except re2.error as e:
        reason = e.args[0] if e.args else "syntax"
        why = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise InvalidRequest(f"not a pattern RE2 accepts: {why}", param=f"keep.patterns.{number}") from None


def following(data: bytes, at: int) -> int:
    """Where the next character begins, from `at` on."""
    while at < len(data) and data[at] & 0xC0 == 0x80:
        at += 1
    return at


def often(param: str, most: int) -> InvalidRequest:
    return InvalidRequest(f"what must be kept is found more than {most:,} times: ask for what is rarer", param=param)


def touched(units: Units, ranges: np.ndarray) -> np.ndarray:
    """Which units have a character in one of the ranges (int64 [M, 2], none empty), bool [N]."""
    first, past = owners(units, ranges[:, 0]), np.searchsorted(units.starts, ranges[:, 1], side="left")
    edges = np.bincount(first, minlength=len(units) + 1) - np.bincount(past, minlength=len(units) + 1)
    out: np.ndarray = np.cumsum(edges)[:-1] > 0
    return out
