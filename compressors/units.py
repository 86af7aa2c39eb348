"""Cutting text into sentences, words and tokens. Units tile the text: white space belongs to the unit before it.

Prose sentences come from `sentencex` (Wikimedia's rule-based splitter, abbreviations of many languages).
Around it stand a few structural rules, because retrieved text is not only prose: a line break ends a sentence
unless the line is wrapped prose, fenced code and tables go line by line, and CJK full stops always end one. What
`protect` finds is never cut.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import sentencex

from laconic.models.recent import remembered
from laconic.models.words import code_points
from laconic.models.work import checkpoint

from .protect import FENCE, uncut
from .types import Scores, Units
from .wrapped import full_lines

_CJK_STOP = re.compile(r"[。！？｡]+[」』）”’\"']*")
_CROWDING = ("。", "！", "？", "｡", "!", "?", "''")  # the splitter compares these with one another
_BREAKS = re.compile(r"\n+")
_CODE = re.compile(r"[{}();=<>|]\s*$|^\s*([|#@]|//|def |class |import |return |<)")
# one character of these is a word: scripts that write no spaces (Thai, Lao, Burmese, Khmer, kana, han)
_ALONE = (
    *((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3005, 0x30FF), (0x3400, 0x9FFF)),
    *((0xF900, 0xFAFF), (0xFF66, 0xFF9F), (0x20000, 0x3FFFF)),
)
_SPACE = np.array([chr(i).isspace() for i in range(0x3001)])  # there is no white space beyond
_NARROW = {i: " " for i in range(0x80, 0x3001) if chr(i).isspace()}
_STOP = re.compile(r"[.!?]\s+")
_CLOSING = "\"'”’»)]}*_`"  # what may stand behind a full stop
_REFERENCE = re.compile(r"(?:\[[^\[\]\n]{1,40}\])+\s*")
_REFERENCES = re.compile(r"(?:\[[^\[\]\n]{1,40}\])+$")
_SURROGATE = re.compile("[\ud800-\udfff]")
# what an item begins with: 2. (b) iv) § 3 - * • #
MARKER = re.compile(
    r"[(\[]?(?:\d{1,4}(?:\.\d{1,3}){0,4}|[A-Za-z]|[ivxIVX]{1,5})[.)\]]{1,2}|§\s?\d{1,4}\.?|[-*+•‣◦–—]|#{1,6}"
)
LABEL = 24  # characters of such a mark with the white space after it, at most


WINDOW = 40_000  # characters the sentence splitter sees at once
CROWDED, NARROWEST = 1_000, 500  # marks in them above which it sees fewer; the fewest
LONGEST = 2000  # characters of a sentence, above which it is looked at once more
LOWEST = -1e9  # score of a unit no piece falls into


def printable(text: str) -> str:
    """The same text, same length, with what no tokenizer accepts (lone surrogates) replaced."""
    try:
        text.encode()  # many times faster than looking for what is hardly ever there
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", text)
    return text


def from_starts(starts: Sequence[int] | np.ndarray, length: int) -> Units:
    """Units that begin at `starts` and tile [0, length); the first one takes what stands before it."""
    if length == 0:
        return Units(starts=np.zeros(0, np.int64), ends=np.zeros(0, np.int64))
    given = np.asarray(starts, np.int64)
    begin = np.append(0, given[(given > 0) & (given < length)])
    if (np.diff(begin) <= 0).any():
        begin = np.unique(begin)
    return Units(starts=begin, ends=np.append(begin[1:], length))


@remembered
def words(text: str) -> Units:
    """Runs without white space, and single characters of scripts that write none."""
    points = code_points(printable(text))
    space = _SPACE[np.minimum(points, len(_SPACE) - 1)] & (points < len(_SPACE))
    alone = np.zeros(len(points), bool)
    if not text.isascii():
        for first, last in _ALONE:
            alone |= (points >= first) & (points <= last)
    ends_before = np.append(True, (space | alone)[:-1])
    return from_starts(np.flatnonzero(alone | (~space & ends_before)) if text else [], len(text))


def tokens(ends: list[int], length: int) -> Units:
    """The reader's own tokens, from the offset just past each."""
    return from_starts(list(ends), length)


@remembered
def sentences(text: str) -> Units:
    """Sentences, list items, table rows, headings and code lines."""
    clean = printable(text)
    starts: list[int] = []
    for start, end, code in _lines(clean):
        if code:
            starts.append(start)
        else:
            starts += [start + at for at in _saying(clean[start:end])]
    if starts and clean[: starts[0]].isspace():
        del starts[0]  # the first sentence has what stands before it
    return uncut(from_starts(starts, len(text)), clean)


def _saying(block: str) -> Iterator[int]:
    """Where sentences of a block begin that say something: white space goes with what stands before it, the number or
    mark of an item with what follows it."""
    edges = sorted({0, *(_behind(block, at) for at in _prose(block) if not _amid(block, at)), len(block)})
    if any(stop - at > LONGEST for at, stop in pairwise(edges)):  # quotes that do not close hide all that follows
        edges = sorted({*edges, *_stops(block, edges)})
    marked = False
    for at, stop in pairwise(edges):
        piece = block[at : min(stop, at + LABEL)].strip()
        if not marked and (piece or stop - at > LABEL):
            yield at
        marked = stop - at <= LABEL and (MARKER.fullmatch(piece) is not None or (marked and not piece))


def _stops(block: str, edges: Sequence[int]) -> Iterator[int]:
    """What follows a full stop, a blank and begins with a capital, in what is too long to be one sentence."""
    for at, stop in pairwise(edges):
        if stop - at > LONGEST:
            checkpoint()
            yield from (m.end() for m in _STOP.finditer(block, at, stop) if block[m.end() : m.end() + 1].isupper())


def _behind(block: str, at: int) -> int:
    """A place, or the one behind a reference[1] that belongs to the sentence before it."""
    found = (
        _REFERENCE.match(block, at) if at and block[at : at + 1] == "[" and not block[at - 1 : at].isspace() else None
    )
    return found.end() if found else at


def _amid(block: str, at: int) -> bool:
    """Whether a place is in mid-sentence, as before an item of a list within one: a) one; b) two, or (B) a third."""
    before = block[max(0, at - 4 * LABEL) : at]
    last = _REFERENCES.sub("", before.rstrip()).rstrip(_CLOSING)[-1:]
    return at > 0 and "\n" not in before[-LABEL:] and (last.isalnum() or last in (",", ";", ":"))


def _lines(text: str) -> list[tuple[int, int, bool]]:
    """Lines with their line breaks, wrapped lines of prose joined, and whether each is code or a table row."""
    out: list[tuple[int, int, bool]] = []
    ends = [m.end() for m in _BREAKS.finditer(text)]
    if text and (not ends or ends[-1] < len(text)):
        ends.append(len(text))
    start = last = 0
    solid = -1  # the last character before `last` that is no white space: looked for once, however many lines are blank
    fenced = False
    filled = full_lines(text, ends)
    for number, end in enumerate(ends):
        fence = FENCE.match(text, last) is not None
        line_start, fenced, last = last, fenced != fence, end
        solid = _solid(text, line_start, end, solid)
        if not fenced and not fence and (number in filled or _wrapped(text, end, solid, line_start)):
            continue
        line = text[start:end]
        out.append((start, end, fenced or fence or (len(line) < 400 and _CODE.search(line) is not None)))
        start = end
    return out


def _solid(text: str, start: int, end: int, before: int) -> int:
    """The last character of a line that is no white space, or the one before it."""
    found = len(text[start:end].rstrip())
    return start + found - 1 if found else before


def _wrapped(text: str, end: int, at: int, start: int) -> bool:
    """Whether the line break before `end` is in mid-sentence and goes on in lower case, as in mail and PDF text.

    `at` is the last character before it that is no white space (-1: none), `start` where its line begins.
    """
    if end == len(text) or at < 0:
        return False
    before, after = text[at], text[end]
    if "a" <= after <= "z" and _letter(before):
        return True
    near = before in ",;-" and at >= start and not text[at + 1 : end - 1].strip(" \t")
    return near and _letter(after)


def _letter(c: str) -> bool:
    return c.isalnum() and not c.isdecimal()


def _windows(block: str) -> list[int]:
    """Where a long block is cut for the splitter, which holds the interpreter while it works: after a full stop."""
    cuts = [0]
    while len(block) - cuts[-1] > (size := _window(block, cuts[-1])):
        at, stop = cuts[-1], cuts[-1] + size
        stops = [m.end() for m in _CJK_STOP.finditer(block, at + size // 2, stop)] if size < WINDOW else []
        full, blank = (block.rfind(mark, at + size // 2, stop) for mark in (". ", " "))
        cuts.append(stops[-1] if stops else full + 2 if full > 0 else blank + 1 if blank > 0 else stop)
    return [*cuts, len(block)]


def _window(block: str, at: int) -> int:
    """How much the splitter sees at once from a place on: less where its time would grow with the square."""
    crowd = sum(block.count(mark, at, at + WINDOW) for mark in _CROWDING)
    return WINDOW if crowd <= CROWDED else max(NARROWEST, WINDOW * CROWDED // crowd)


def _prose(block: str) -> list[int]:
    found: set[int] = set()
    for at, stop in pairwise(_windows(block)):
        checkpoint()
        found.update(at + start for start in _split(block[at:stop]))
        for m in _CJK_STOP.finditer(block, at, stop):
            end = m.end()
            while end < len(block) and block[end].isspace():
                end += 1
            found.add(end)
    return sorted(found)


def _split(block: str) -> list[int]:
    """Where the splitter has sentences begin; it panics on an initial before wide white space, among others."""
    try:
        return [int(b["start_index"]) for b in sentencex.get_sentence_boundaries("en", block.translate(_NARROW))]
    except BaseException as e:
        if type(e).__name__ != "PanicException":  # of Rust; no subclass of Exception, and imported from nowhere
            raise
        return [m.end() for m in _STOP.finditer(block)]


def owners(units: Units, positions: np.ndarray) -> np.ndarray:
    """The number of the unit that holds each character position; units must tile the text."""
    return units.starts.searchsorted(positions, side="right") - 1


def containing(units: Units, start: int, end: int) -> range:
    """Numbers of the units that a half-open character range touches."""
    if start >= end or not len(units):
        return range(0)
    return range(bisect_right(units.starts, start) - 1, int(np.searchsorted(units.starts, end, side="left")))


def together(scores: Sequence[Scores]) -> tuple[np.ndarray, np.ndarray]:
    """Pieces and their keep scores of all segments of a document, float64."""
    if not scores:
        return np.zeros((0, 2), np.int64), np.zeros(0)
    return np.concatenate([s.pieces for s in scores]), np.concatenate([s.keep for s in scores]).astype(np.float64)


def pooled(units: Units, pieces: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Mean score of the pieces that begin in each unit; LOWEST where none does. float64 [N]"""
    at = owners(units, pieces[:, 0])
    count = np.bincount(at, minlength=len(units))
    mean = np.bincount(at, weights=keep, minlength=len(units)) / np.maximum(count, 1)
    mean[count == 0] = LOWEST
    return mean
