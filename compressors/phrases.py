"""Phrases without a parser: function words, then content words, up to the next function word or mark.

Chinks and chunks (Liberman & Church 1992): near enough to the noun phrases that Selective-Context drops as a whole, in
one pass and without a model.
"""

from __future__ import annotations

import re

from laconic.models import checkpoint

from .types import Units
from .units import from_starts, words

FUNCTION = frozenset(
    word
    for line in (
        "a an the this that these those my your his her its our their some any no each every all both either",
        "neither and or but nor so yet if because while when where who whom whose which what why how than as",
        "whether though although of in on at by for from to with without within into onto over under between",
        "among through during before after about against across along around behind beside beyond despite",
        "except inside near off out outside since toward until up upon via per i you he she it we they me him",
        "us them is are was were be been being am has have had do does did can could will would shall should",
        "may might must not there here also then",
    )
    for word in line.split()
)
_WORD = re.compile(r"\w+(?:['’]\w+)?")
_STOP = re.compile(r"[,.;:!?)\]}\"”»–—]\s*$|\n\s*$")


def function(word: str) -> bool:
    """Whether a word says how others belong together rather than something itself."""
    found = _WORD.search(word)
    return found is not None and found.group().casefold() in FUNCTION


def phrases(text: str) -> Units:
    """A text's phrases as units."""
    cut = words(text)
    starts = []
    before = True  # the word before is a function word
    stopped = True
    for a, b in zip(cut.starts.tolist(), cut.ends.tolist(), strict=True):
        checkpoint()
        word = text[a:b]
        now = function(word)
        if stopped or (now and not before) or word[0] in '([{"“«–—':
            starts.append(a)
        before, stopped = now, _STOP.search(word) is not None
    return from_starts(starts, len(text))


def content(text: str, count: int) -> list[str]:
    """The content words of a text's first phrases that have any, each phrase joined by spaces; at most `count`."""
    cut = phrases(text)
    found = (
        [w for w in _WORD.findall(text[a:b]) if w.casefold() not in FUNCTION]
        for a, b in zip(cut.starts, cut.ends, strict=True)
    )
    return [" ".join(f) for f in found if f][:count]
