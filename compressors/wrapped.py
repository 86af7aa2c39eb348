"""Lines that were broken at a width, as in mail and in text from a PDF: sentences go on over such breaks.

A line that ends in a word such as "the" or "on" goes on, but not from one speaker to another. A paragraph was wrapped
if no line but its last had room for the word that begins the next one, and one of them breaks off in mid-sentence for
certain: then all its lines go on, those too whose next line begins with a capital.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from laconic.models.work import checkpoint

NARROWEST, WIDEST = 30, 200  # characters of the longest line of such a paragraph
LEAST = 2  # lines of one
LONGEST = 40  # characters of a word or a mark that is looked at
_MARKED = re.compile(
    r"[ \t]*(?:[|>#*•‣◦–—+-]|\(?\w{1,4}[.)\]][ \t]|[^\W\d_][^\n:.!?|;,]{0,39}:[ \t])|[ \t]*(?:```|~~~)"
)
_LABEL = re.compile(r"[ \t>*-]{0,8}[^\W\d_][^\n:.!?|;,]{0,39}:[ \t]")
_ITEM = re.compile(r"[ \t]*(?:[|>#*•‣◦–—+-][ \t]|\(?\w{1,4}[.)\]][ \t]|```|~~~)")
# what no sentence ends in: articles, prepositions, conjunctions of seven languages
_LEADING = re.compile(
    r"[ \t](?:the|an?|of|to|and|or|with|for|from|by|at|on|in|into|than|that|as|is|are|was|were|between"
    r"|der|die|das|den|dem|des|ein|eine|einen|einem|einer|und|oder|mit|von|für|zu|zum|zur|im|am"
    r"|le|la|les|un|une|du|et|ou|avec|pour|dans|sur|par|el|los|las|una|y|con|para|por|al"
    r"|il|lo|gli|e|di|da|del|della|o|os|as|um|uma|com|em|do|het|een|en|van|met|voor|op|aan)$"
)
_STOPPED = (".", "!", "?", "…", ":", ";", "。", "！", "？", "|", "{", "}")


def full_lines(text: str, ends: Sequence[int]) -> set[int]:
    """Numbers of the lines (their breaks end at `ends`) that go on in the next one."""
    out = set(_broken_off(text, ends))
    for lines in _paragraphs(text, ends):
        checkpoint()
        bare = [text[a:b].rstrip() for _, a, b in lines]
        width = max(map(len, bare))
        if not NARROWEST <= width <= WIDEST or not any(_goes_on(*two) for two in pairwise(bare)):
            continue
        heads = [line.split(maxsplit=1)[0] for line in bare[1:]]
        if all(len(line) + 1 + len(head) > width for line, head in zip(bare, heads, strict=False)):
            out.update(number for number, _, _ in lines[:-1])
    return out


def _broken_off(text: str, ends: Sequence[int]) -> Iterator[int]:
    """Numbers of the lines whose last word leads to another."""
    start = 0
    for number, end in enumerate(ends):
        last = text[max(start, end - LONGEST) : end].rstrip()
        single = end < len(text) and text[end - 2 : end - 1] != "\n"
        leads = single and end - start > NARROWEST and _LEADING.search(last) is not None
        spoken = leads and _LABEL.match(text, start, end) and _LABEL.match(text, end, end + 2 * LONGEST)
        if leads and not spoken and not _ITEM.match(text, end, end + LONGEST):
            yield number
        start = end


def _goes_on(line: str, following: str) -> bool:
    """Whether a sentence certainly goes on: nothing ends it, and the next line begins in lower case."""
    return not line.endswith(_STOPPED) and following[:1].islower()


def _paragraphs(text: str, ends: Sequence[int]) -> Iterator[list[tuple[int, int, int]]]:
    """Number, start and end of the lines that follow one another without a blank line or a mark between them."""
    own: list[tuple[int, int, int]] = []
    start = 0
    for number, end in enumerate(ends):
        line = text[start:end]
        if _MARKED.match(line) or not line.strip():
            if len(own) >= LEAST:
                yield own
            own = []
        own.append((number, start, end))
        if line.endswith("\n\n") or len(line) > 2 * WIDEST or not line.strip():
            if len(own) >= LEAST:
                yield own
            own = []
        start = end
    if len(own) >= LEAST:
        yield own
