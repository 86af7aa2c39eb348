"""What a unit cannot stand without: a turn its speaker, a value its key, a row its head row, an item what leads to it.

Sentences are given heads, as discourse units have them (see edu): selection brings a unit's head or leaves the unit.
What only leads to others (a speaker's name, a head row, "Do not take it if:") is a unit that is kept for them alone.
Words after a negation depend on it, so that no words are left that say the opposite.
"""

from __future__ import annotations

import re

import numpy as np

from laconic.models import checkpoint

from .protect import breaking, merged, spans
from .types import Units
from .units import MARKER, owners

LABELS = 2  # lines with a label in a text, below which a colon is only a colon
INTRO = 240  # characters of what leads to a list, at most
REACH = 12  # words after a negation that depend on it, at most
_WHEN = r"(?:[\[(]?\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d{1,3})?[\])]?[ \t]{1,4}(?:[-–][ \t])?|\[[^\]\n]{1,24}\][ \t]{1,4})?"
_WHO = r"[^\W_](?:[^\n:.!?|;,\"“”()]|\.(?=[ \w])){0,39}(?:\([^\n()]{1,24}\) ?)?"
_LABEL = re.compile(rf"[ \t>*-]{{0,8}}{_WHEN}(?:\*\*|__)?{_WHO}(?:\*\*|__)?:(?:\*\*|__)?[ \t]{{1,4}}(?=\S)")
_ROW = re.compile(r"[ \t]{0,8}\|.*\|[ \t]*\n*$")
_RULE = re.compile(r"[ \t]{0,8}\|?(?:[ \t]*:?-{2,}:?[ \t]*\|)+(?:[ \t]*:?-{2,}:?[ \t]*)?\n*$")
_QUOTED = re.compile(r"“[^“”\n]{1,400}”|«[^«»\n]{1,400}»|„[^„“”\n]{1,400}[“”]|(?<![\w\"])\"[^\"\n]{1,400}\"(?![\w\"])")
_BRACKET = re.compile(r"\([^()\n]{1,400}\)|\[[^\[\]\n]{1,400}\]|（[^（）\n]{1,400}）|「[^「」\n]{1,400}」")
_CUE = re.compile(
    r"(?:no|not|never|without|neither|nor|none|nobody|nothing|cannot|unless|except|hardly|barely|only|until|before|"
    r"least|most|if|fails?|failed|lacks?|refus\w+|den(?:y|ies|ied)|prohibit\w*|forbid\w*|avoid\w*|excluding|"
    r"\w+n['’]t)[\W_]*$",
    re.IGNORECASE,
)
_CLAUSE_ENDS = re.compile(r"[,.;:!?)\]}\"”»–—]\s*$|\n\s*$")


def together(text: str, cut: Units) -> Units:
    """Sentences (`cut`) as they can be kept: quotations and brackets whole, labels apart, each with its head."""
    units, labels = labelled(text, whole(text, cut))
    heads = np.full(len(units), -1)
    leads = labels.copy()
    _turns(text, units, labels, heads)
    _tables(text, units, heads, leads)
    _lists(text, units, heads, leads)
    if not (heads >= 0).any():
        return units
    return Units(starts=units.starts, ends=units.ends, heads=heads, leads=leads & np.isin(np.arange(len(units)), heads))


def whole(text: str, cut: Units) -> Units:
    """The sentences, those joined that one quotation or pair of brackets goes through."""
    found = [
        *(spans(_QUOTED, text) if any(q in text for q in '“«„"') else ()),
        *(spans(_BRACKET, text) if any(b in text for b in "([（「") else ()),
    ]
    inside = breaking(cut.starts, merged(found))
    if not inside.any():
        return cut
    starts = cut.starts[~inside]
    return Units(starts=starts, ends=np.append(starts[1:], cut.ends[-1]))


def labelled(text: str, units: Units) -> tuple[Units, np.ndarray]:
    """The units, labels at the beginning of lines cut off as units of their own, and which these are, bool [N]."""
    cuts = []
    for start in units.starts.tolist():
        if (start == 0 or text[start - 1] == "\n") and ":" in text[start : start + 90]:
            checkpoint()
            if match := _LABEL.match(text, start, start + 90):
                cuts.append((start, match.end()))
    if len(cuts) < LABELS:
        return units, np.zeros(len(units), bool)
    at = np.array(cuts, np.int64)
    at = at[at[:, 1] < units.ends[owners(units, at[:, 0])]]
    starts = np.union1d(units.starts, at[:, 1])
    return Units(starts=starts, ends=np.append(starts[1:], units.ends[-1])), np.isin(starts, at[:, 0])


def begins_line(text: str, units: Units) -> np.ndarray:
    """Which units are the first of their lines, bool [N]."""
    return np.array([a == 0 or text[a - 1] == "\n" for a in units.starts.tolist()], bool)


def _turns(text: str, units: Units, labels: np.ndarray, heads: np.ndarray) -> None:
    """What stands in a line after its label depends on the label."""
    if not labels.any():
        return
    number = np.arange(len(units))
    line = np.maximum.accumulate(np.where(begins_line(text, units), number, 0))
    heads[:] = np.where(labels[line] & (line != number), line, heads)


def _tables(text: str, units: Units, heads: np.ndarray, leads: np.ndarray) -> None:
    """Rows of a table depend on the rule below its head row, and that on the head row."""
    if "|" not in text:
        return
    rule = -1
    for n, (a, b) in enumerate(zip(units.starts.tolist(), units.ends.tolist(), strict=True)):
        checkpoint()
        line = text[a:b] if b - a <= 4000 else ""
        if "|" not in line or not _ROW.match(line):
            rule = -1
        elif rule < 0:
            if n and _RULE.match(line) and _ROW.match(text[units.starts[n - 1] : a]):
                rule, heads[n] = n, n - 1
                leads[n - 1 : n + 1] = True
        else:
            heads[n] = rule


def _lists(text: str, units: Units, heads: np.ndarray, leads: np.ndarray) -> None:
    """Items depend on the line that leads to them and ends in a colon."""
    intro = -1
    for n, (a, b, first) in enumerate(
        zip(units.starts.tolist(), units.ends.tolist(), begins_line(text, units).tolist(), strict=True)
    ):
        checkpoint()
        piece = text[a : min(b, a + INTRO)]
        if first and intro >= 0 and is_item(piece):
            if heads[n] < 0:
                heads[n] = intro
        elif b - a <= INTRO and piece.rstrip()[-1:] in (":", "：") and piece[-1:] == "\n":
            intro, leads[n] = n, True
        elif first:
            intro = -1


def is_item(piece: str) -> bool:
    """Whether a line begins as an item of a list does."""
    mark = piece.split(maxsplit=1)
    return len(mark) == 2 and MARKER.fullmatch(mark[0]) is not None and not mark[0].startswith("#")


def negated(text: str, words: Units) -> Units:
    """Words, those after a negation or a condition made to depend on it up to the end of its clause."""
    heads = np.full(len(words), -1)
    cue, left = -1, 0
    for n, (a, b) in enumerate(zip(words.starts.tolist(), words.ends.tolist(), strict=True)):
        checkpoint()
        word = text[a : min(b, a + 40)]
        if cue >= 0 and left > 0:
            heads[n] = cue
            left -= 1
        if _CUE.match(word):
            cue, left = n, REACH
        if _CLAUSE_ENDS.search(word):
            cue = -1
    return Units(starts=words.starts, ends=words.ends, heads=heads) if (heads >= 0).any() else words
