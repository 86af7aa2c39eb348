"""Quoting the original: words of a response that come from a compressed prompt become the passage they came from."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence

REACH = 10  # tokens of the original from one found word's token to the next's
Encode = Callable[[str], Sequence[int]]


def recover(
    original: str, compressed: str, response: str, encode: Encode, decode: Callable[[Sequence[int]], str]
) -> str:
    """The response with its quotations from `compressed` replaced, as `llmlingua` 0.2.2 does."""
    ids = encode(original)
    return quoted(ids, compressed, response, encode, lambda start, end: decode(ids[start:end]))


def quoted(
    ids: Sequence[int], compressed: str, response: str, encode: Encode, passage: Callable[[int, int], str]
) -> str:
    """The same from the original's token ids, and what gives the text of its tokens from one number up to another."""
    places: dict[int, list[int]] = {}
    for n, i in enumerate(ids):
        places.setdefault(i, []).append(n)
    out = []
    for text, found in runs(response.split(" "), compressed):
        where = best(encode(text), places) if found else None
        out.append(passage(*where) if where else text)
    return " ".join(out)


def runs(words: Sequence[str], compressed: str) -> Iterator[tuple[str, bool]]:
    """The words in order: the longest runs that `compressed` holds, and between them words that it does not."""
    start = 0
    while start < len(words):
        end = start + 1
        if found := words[start] in compressed:
            while end < len(words) and " ".join(words[start : end + 1]) in compressed:
                end += 1
        yield " ".join(words[start:end]), found
        start = end


def best(wanted: Sequence[int], places: Mapping[int, Sequence[int]]) -> tuple[int, int] | None:
    """The range of the original with most of the wanted tokens in order, the shortest and first of such; from the first
    token on, each next one within REACH, those that are not there left out.
    """
    found: tuple[int, int] | None = None
    most = (0, 0)
    for first in places.get(wanted[0], ()) if wanted else ():
        last, count = first, 1
        for token in wanted[1:]:
            spots = places.get(token, ())
            at = bisect_right(spots, last)
            if at < len(spots) and spots[at] - last <= REACH:
                last, count = spots[at], count + 1
        if (count, first - last - 1) > most:
            most, found = (count, first - last - 1), (first, last + 1)
    return found
