"""What a request keeps whatever its score: strings, patterns, digits, the first sentence of each document."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import re2

from .types import Document, InvalidRequest, Keep, Units
from .units import containing, printable

_DIGITS = re2.compile(r"\d+")
_LIMIT = 1000  # characters of one pattern; RE2 runs in linear time, its program size grows with the pattern


def compile_patterns(patterns: tuple[str, ...]) -> list[re2._Regexp]:
    """RE2 programs: linear time on any input, so a pattern cannot stall the service."""
    out = []
    options = re2.Options()
    options.log_errors = False
    for i, pattern in enumerate(patterns):
        if len(pattern) > _LIMIT:
            raise InvalidRequest(f"a pattern may have {_LIMIT} characters", param=f"keep.patterns.{i}")
        try:
            out.append(re2.compile(printable(pattern), options))
        except re2.error as e:
            reason = str(e.args[0] if e.args else "syntax")
            raise InvalidRequest(f"not a pattern RE2 accepts: {reason}", param=f"keep.patterns.{i}") from None
    return out


def forced(document: Document, units: Units, sentences: Units, keep: Keep) -> np.ndarray:
    """Which units must be kept, bool [N]; all of them for a document that is not to be compressed."""
    out = np.zeros(len(units), bool)
    if not document.compress:
        out[:] = True
        return out
    for start, end in _ranges(printable(document.text), sentences, keep):
        out[list(containing(units, start, end))] = True
    return out


def _ranges(text: str, sentences: Units, keep: Keep) -> Iterator[tuple[int, int]]:
    for string in keep.strings:
        at = text.find(string) if string else -1
        while at >= 0:
            yield at, at + len(string)
            at = text.find(string, at + len(string))
    patterns = compile_patterns(tuple(keep.patterns))
    if keep.digits:
        patterns.append(_DIGITS)
    for pattern in patterns:
        for match in pattern.finditer(text):
            yield match.span()
    if keep.first_sentence and len(sentences):
        yield 0, int(sentences.ends[0])
