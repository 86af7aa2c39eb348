"""Lines that were broken at a width, as in mail and in text from a PDF: sentences go on over such breaks.

A paragraph was wrapped if no line but its last had room for the word that begins the next one, and one of them breaks
off in mid-sentence for certain. Then all its lines go on, those too whose next line begins with a capital.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from laconic.models.work import checkpoint

NARROWEST, WIDEST = 30, 200  # characters of the longest line of such a paragraph
LEAST = 2  # lines of one
_MARKED = re.compile(r"[ \t]*(?:[|>#*•‣◦–—+-]|\(?\w{1,4}[.)\]][ \t]|[^\W\d_][^\n:]{0,40}:[ \t])|[ \t]*(?:```|~~~)")
_STOPPED = (".", "!", "?", "…", ":", ";", "。", "！", "？", "|", "{", "}")


def full_lines(text: str, ends: Sequence[int]) -> set[int]:
    """Numbers of the lines (their breaks end at `ends`) that go on in the next one."""
    out: set[int] = set()
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
