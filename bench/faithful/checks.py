"""Faults that can be seen from a source and what was kept of it: things cut in two, words of denial gone, lines fused.

Nothing here comes from the rooms that select: sentences are what ends in a full stop, whatever they take for one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from laconic.compressors import Span

KINDS = ("sentence", "number", "date", "name", "quotation", "bracket", "negation", "join")
_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?"
    r"|Nov(?:ember)?|Dec(?:ember)?)"
)
WHOLE = {
    "number": re.compile(
        r"(?<![\w.])[$€£]?\d+(?:[.,:/-]\d+)*(?:\s?(?:%|‰|°C|mg|kg|km|ml|million|billion|percent))?(?!\w)"
    ),
    "date": re.compile(
        rf"\b(?:\d{{1,2}}(?:st|nd|rd|th)? {_MONTH}(?: \d{{4}})?|{_MONTH} \d{{1,2}}(?:, \d{{4}})?|\d{{4}}-\d\d-\d\d)\b"
    ),
    "name": re.compile(r"(?<=[a-z,] )[A-Z][a-z]+(?: [A-Z][a-z]+){1,3}\b"),
    "quotation": re.compile(r"“[^“”\n]{2,200}”|(?<!\w)\"[^\"\n]{2,200}\"(?!\w)"),
    "bracket": re.compile(r"\([^()\n]{2,200}\)"),
}
_STOP = re.compile(r"[.!?…。！？؟।](?:\s?['\"’”»)\]]+|\[[^\[\]\n]{1,40}\])*\s*$")
_LABEL = re.compile(r".{1,60}:\W*")  # who speaks
_CUE = re.compile(
    r"\b(?:not|never|no|none|nobody|nothing|neither|nor|without|cannot|unless|except|hardly|\w+n['’]t)\b", re.IGNORECASE
)
_SENTENCE = re.compile(r"[^.!?\n]+(?:[.!?](?=\w)[^.!?\n]*)*[.!?]*(?:['\"’”»)]|\[[^\[\]\n]*\])*")


def faults(text: str, spans: Sequence[Span]) -> dict[str, int]:
    """How often each kind of fault stands in what is kept of one text."""
    out = dict.fromkeys(KINDS, 0)
    if not spans:
        return out
    kept = np.zeros(len(text) + 1, np.int64)
    for a, b in spans:
        kept[a:b] = 1
    upto = np.concatenate(([0], np.cumsum(kept)))
    for kind, pattern in WHOLE.items():
        for m in pattern.finditer(text):
            inside = int(upto[m.end()] - upto[m.start()])
            out[kind] += 0 < inside < m.end() - m.start()
    solid = [s for s in spans if text[s.start : s.end].strip()]
    out["sentence"] = sum(not begins(text, a) or not ends(text, b) for a, b in runs(text, solid))
    out["negation"] = denials(text, upto)
    out["join"] = sum(fused(text, spans, a, b) for a, b in pairwise(solid))
    return out


def runs(text: str, spans: Sequence[Span]) -> list[tuple[int, int]]:
    """Kept text without what only white space lies between, and without white space at its ends."""
    out: list[tuple[int, int]] = []
    for a, b in spans:
        part = text[a:b]
        start, end = a + len(part) - len(part.lstrip()), a + len(part.rstrip())
        if out and not text[out[-1][1] : start].strip():
            out[-1] = (out[-1][0], end)
        else:
            out.append((start, end))
    return out


def begins(text: str, at: int) -> bool:
    """Whether a sentence, a line or what a speaker says can begin here."""
    before = text[:at]
    line = before.rpartition("\n")[2]
    return not line.strip() or bool(_STOP.search(before[-60:])) or bool(_LABEL.fullmatch(line))


def ends(text: str, at: int) -> bool:
    """Whether one can end here."""
    line, after = text[:at].rpartition("\n")[2], text[at:].partition("\n")[0]
    return not after.strip() or bool(_STOP.search(text[max(0, at - 60) : at])) or bool(_LABEL.fullmatch(line))


def denials(text: str, upto: np.ndarray) -> int:
    """Sentences kept in part whose word of denial is gone while words after it stay."""
    count = 0
    for s in _SENTENCE.finditer(text):
        a, b = s.start() + len(s[0]) - len(s[0].lstrip()), s.end()
        if not 0 < upto[b] - upto[a] < b - a:
            continue
        for cue in _CUE.finditer(text, a, b):
            if upto[cue.end()] == upto[cue.start()] and upto[b] > upto[cue.end()]:
                count += 1
                break
    return count


def fused(text: str, spans: Sequence[Span], one: Span, other: Span) -> bool:
    """Whether a line break lies between two kept runs and none between them in the answer."""
    a = one.start + len(text[one.start : one.end].rstrip())
    b = other.end - len(text[other.start : other.end].lstrip())
    if "\n" not in text[a:b]:
        return False
    return not any("\n" in text[max(s.start, a) : min(s.end, b)] for s in spans if s.end > a and s.start < b)


def aligned(text: str, answer: str) -> list[Span]:
    """What of a text an answer without offsets kept: its words, whatever their case, found one after the other."""
    spans: list[Span] = []
    at = 0
    lower = "".join(c if len(c.lower()) != 1 else c.lower() for c in text)
    for m in re.finditer(r"\w+|[^\w\s]", answer):
        found = lower.find(m[0].lower(), at)
        if found < 0:
            continue
        if spans and not text[spans[-1].end : found].strip():
            spans[-1] = Span(spans[-1].start, found + len(m[0]))
        else:
            spans.append(Span(found, found + len(m[0])))
        at = found + len(m[0])
    return spans
