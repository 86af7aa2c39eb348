"""Which parts of a chat may be compressed, and how they are put back: pure functions of the messages' JSON.

Marked text where there is any, `<laconic rate="0.3">…</laconic>`, wherever it stands. Otherwise what is context by its
place: results of tools that the model has answered since, and what stands between the first and the last paragraph of
a user's message. The ends of a user's message are where its question stands; they, the system's prompt and what the
model said itself are never touched.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from laconic.models import checkpoint

OPEN, CLOSE = re.compile(r'<laconic(?:\s+rate="([0-9.]{1,20})")?\s*>'), "</laconic>"
GAP = re.compile(r"\n[^\S\n]*\n\s*")  # between paragraphs
ASKS = re.compile("[?？؟]")
TOOLS = ("tool", "function")
LONGEST_QUERY = 2000  # characters: a longer paragraph is no question, its end may be one


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A span of one text of a chat that may be compressed; `part` is None where a message's content is one text."""

    message: int
    part: int | None
    start: int
    end: int
    marked: bool = False
    rate: float | None = None  # its own, where its mark says one


@dataclass(frozen=True, kw_only=True, slots=True)
class Chat:
    """A conversation without its marks, the pieces of it that may be compressed, in order, and what is asked."""

    messages: list[Any]
    pieces: list[Piece]
    query: str | None

    def texts(self) -> list[str]:
        """The text of each piece."""
        return [text_at(self.messages[p.message], p.part)[p.start : p.end] for p in self.pieces]


def read(messages: Sequence[Any], frozen: int = 0) -> Chat:
    """Find what may be compressed; the first `frozen` messages stay as they are, their marks too."""
    clean, asked, marked, marks = list(messages), list(messages), [], False
    for n, message in enumerate(messages):
        if n < frozen:
            continue
        bares: dict[int | None, str] = {}
        asks: dict[int | None, str] = {}
        for part, text in texts_of(message):
            checkpoint()
            bare, spans = unmarked(text)
            if spans:
                bares[part], asks[part] = bare, outside(bare, spans)
                marked += [
                    Piece(message=n, part=part, start=a, end=b, marked=True, rate=rate)
                    for a, b, rate in spans
                    if bare[a:b].strip()
                ]
        if bares:
            marks, clean[n], asked[n] = True, with_texts(message, bares), with_texts(message, asks)
    found = marked if marks else context(clean, frozen)
    return Chat(messages=clean, pieces=found, query=query(asked))


def put(chat: Chat, texts: Sequence[str]) -> list[Any]:
    """The messages with the pieces' texts replaced; everything else is what it was."""
    out = list(chat.messages)
    pairs = zip(chat.pieces, texts, strict=True)
    for n, of_message in groupby(pairs, key=lambda p: p[0].message):
        changed: dict[int | None, str] = {}
        for part, own in groupby(of_message, key=lambda p: p[0].part):
            old = text_at(out[n], part)
            if (new := replaced(old, list(own))) != old:
                changed[part] = new
        if changed:
            out[n] = with_texts(out[n], changed)
    return out


def replaced(text: str, own: Sequence[tuple[Piece, str]]) -> str:
    """A text with its pieces, in order, become others."""
    made, at = [], 0
    for piece, new in own:
        made += [text[at : piece.start], new]
        at = piece.end
    return "".join([*made, text[at:]])


def unmarked(text: str) -> tuple[str, list[tuple[int, int, float | None]]]:
    """The text without its marks, and where what they enclosed now stands, with the rate asked for.

    A mark that nobody closes is text. One walk: the time is linear in the text.
    """
    out: list[str] = []
    spans: list[tuple[int, int, float | None]] = []
    at = length = 0
    while (found := OPEN.search(text, at)) and (end := text.find(CLOSE, found.end())) >= 0:
        out += [text[at : found.start()], text[found.end() : end]]
        begin = length + found.start() - at
        length = begin + end - found.end()
        spans.append((begin, length, rate_of(found[1])))
        at = end + len(CLOSE)
    return "".join([*out, text[at:]]), spans


def rate_of(text: str | None) -> float | None:
    """A mark's rate; None where it has none that makes sense."""
    try:
        rate = float(text or "")
    except ValueError:
        return None
    return rate if 0 < rate <= 1 else None


def outside(text: str, spans: Sequence[tuple[int, int, float | None]]) -> str:
    """What is not marked, as paragraphs."""
    ends = [0, *(b for _, b, _ in spans)]
    starts = [*(a for a, _, _ in spans), len(text)]
    return "\n\n".join(text[a:b] for a, b in zip(ends, starts, strict=True))


def context(messages: Sequence[Any], frozen: int = 0) -> list[Piece]:
    """What is context by its place, marks aside."""
    first, last = max(frozen, cached(messages)), last_answer(messages)
    out: list[Piece] = []
    for n in range(first, len(messages)):
        if role(messages[n]) in TOOLS and (last is None or n < last):
            whole = [(part, *trimmed(text, 0, len(text))) for part, text in texts_of(messages[n])]
            out += [Piece(message=n, part=part, start=a, end=b) for part, a, b in whole if a < b]
        elif role(messages[n]) == "user":
            inner = paragraphs_of(messages[n])[1:-1]
            for part, own in groupby(inner, key=lambda p: p[0]):
                spans = list(own)
                out.append(Piece(message=n, part=part, start=spans[0][1], end=spans[-1][2]))
    return out


def query(messages: Sequence[Any]) -> str | None:
    """What the last user's message asks: its last paragraph, or its first where that alone has a question mark."""
    for message in reversed(messages):
        if role(message) == "user" and (found := paragraphs_of(message)):
            ends = [text_at(message, part)[a:b] for part, a, b in (found[-1], found[0])]
            return next((t for t in ends if ASKS.search(t)), ends[0])[-LONGEST_QUERY:]
    return None


def cached(messages: Sequence[Any]) -> int:
    """How many messages a provider keeps a prefix of (`cache_control`): changing one would cost more than it saves."""
    for n in range(len(messages) - 1, -1, -1):
        content = messages[n].get("content") if isinstance(messages[n], dict) else None
        parts = [messages[n], *(content if isinstance(content, list) else [])]
        if any(isinstance(p, dict) and p.get("cache_control") is not None for p in parts):
            return n + 1
    return 0


def last_answer(messages: Sequence[Any]) -> int | None:
    """The model's last message: results of tools behind it are what it has asked for just now. None without any."""
    return max((n for n, m in enumerate(messages) if role(m) == "assistant"), default=None)


def role(message: Any) -> Any:
    return message.get("role") if isinstance(message, dict) else None


def texts_of(message: Any) -> list[tuple[int | None, str]]:
    """A message's texts, each with the number of its part, None where the content is one text."""
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return [(None, content)]
    parts = enumerate(content if isinstance(content, list) else [])
    return [(n, p["text"]) for n, p in parts if is_text(p)]


def is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


def text_at(message: Any, part: int | None) -> str:
    found: str = message["content"] if part is None else message["content"][part]["text"]
    return found


def with_texts(message: Any, texts: Mapping[int | None, str]) -> Any:
    """The message with the texts of some parts replaced; the one given is left as it is."""
    if None in texts:
        return {**message, "content": texts[None]}
    parts = enumerate(message["content"])
    return {**message, "content": [{**p, "text": texts[n]} if n in texts else p for n, p in parts]}


def paragraphs_of(message: Any) -> list[tuple[int | None, int, int]]:
    """The paragraphs of all texts of a message: part, start, end."""
    return [(part, a, b) for part, text in texts_of(message) for a, b in paragraphs(text)]


def paragraphs(text: str) -> list[tuple[int, int]]:
    """What blank lines part, without the white space around it; blank ones left out."""
    gaps = [(g.start(), g.end()) for g in GAP.finditer(text)]
    starts, ends = [0, *(b for _, b in gaps)], [*(a for a, _ in gaps), len(text)]
    spans = [trimmed(text, a, b) for a, b in zip(starts, ends, strict=True)]
    return [(a, b) for a, b in spans if a < b]


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without white space at its ends."""
    run = text[start:end]
    start += len(run) - len(run.lstrip())
    return start, start + len(run.strip())
