"""`<llmlingua, rate=0.4, compress=False>…</llmlingua>`: how a prompt says what of it may go, and how much.

`segments` reads it so that nothing is lost; `legacy` reads it as `llmlingua` 0.2.2 does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from ..types import InvalidRequest

_EDGE = re.compile(r"<llmlingua(?![\w-])|</llmlingua>")
_ARGUMENT = re.compile(r"\s*,\s*(\w+)\s*=\s*([^\s,]+)")
_TAGGED = re.compile(r"<llmlingua([^<>]*)>([^<]+)</llmlingua>")
_SLOTS = "rate", "compress", "rate", "compress"  # in which the package looks for arguments
_VALUES = {"rate": re.compile(r"[\d.]+"), "compress": re.compile("True|False")}  # that it takes
_TRUTH = {"true": True, "false": False}


class Tagged(NamedTuple):
    """A run of text with its own rate, or None for the call's; `compress=False` leaves it as it is."""

    text: str
    rate: float | None = None
    compress: bool = True


def segments(text: str, param: str = "context") -> list[Tagged]:
    """The runs of a text inside and outside tags, joined the text without its tags; raises InvalidRequest."""
    out: list[Tagged] = []
    opened: tuple[float | None, bool] | None = None
    at = 0
    for edge in _EDGE.finditer(text):
        closes = edge[0] == "</llmlingua>"
        if closes and opened is None:
            raise InvalidRequest(f"</llmlingua> at {edge.start()} closes no tag", param=param)
        if not closes and opened is not None:
            raise InvalidRequest(f"<llmlingua at {edge.start()}: tags do not nest; close the one before", param=param)
        out.append(Tagged(text[at : edge.start()], *(opened or (None, True))))
        if closes:
            opened, at = None, edge.end()
        else:
            opened, at = _opening(text, edge.end(), param)
    if opened is not None:
        raise InvalidRequest("a <llmlingua> tag is not closed", param=param)
    out.append(Tagged(text[at:]))
    return [t for t in out if t.text]


def _opening(text: str, start: int, param: str) -> tuple[tuple[float | None, bool], int]:
    """Rate and compress of the tag whose name ends at `start`, and where its text begins."""
    end = text.find(">", start)
    head = text[start:end]
    found = _arguments(head)
    names = [name for name, _ in found or ()]
    if end < 0 or found is None or set(names) - {"rate", "compress"} or len(set(names)) < len(names):
        wanted = "<llmlingua, rate=0.4, compress=False>, both optional"
        raise InvalidRequest(f"<llmlingua{head[:80]}> is not of the form {wanted}", param=param)
    given = dict(found)
    return (_rate(given.get("rate"), param), _compress(given.get("compress"), param)), end + 1


def _arguments(head: str) -> list[tuple[str, str]] | None:
    """Names and values between a tag's name and its `>`; None where something else is there."""
    out, at = [], 0
    while found := _ARGUMENT.match(head, at):
        out.append((found[1], found[2]))
        at = found.end()
    return None if head[at:].strip() else out


def _rate(value: str | None, param: str) -> float | None:
    if value is None:
        return None
    try:
        rate = float(value)
    except ValueError:
        rate = math.nan
    if not 0 < rate <= 1:
        raise InvalidRequest(f"a tag's rate must be in (0, 1], not {value[:20]}", param=param)
    return rate


def _compress(value: str | None, param: str) -> bool:
    if value is None:
        return True
    if value.lower() not in _TRUTH:
        raise InvalidRequest(f"a tag's compress must be True or False, not {value[:20]}", param=param)
    return _TRUTH[value.lower()]


class Legacy(NamedTuple):
    """The package's four lists: texts without tags, and for each text its segments, their rates, their flags."""

    context: list[str]
    segs: list[list[str]]
    rates: list[list[float]]
    compress: list[list[bool]]


def legacy(context: Sequence[str], rate: float) -> Legacy:
    """As the package reads tags, losses included; raises InvalidRequest for a rate that is none or above 1.

    Text between tags is lost, so is a segment that has "<" in it or whose tag is malformed; a text that does not begin
    or end with a tag gets one there; a rate of 0 means the call's.
    """
    out = Legacy([], [], [], [])
    for n, text in enumerate(context):
        begun = text if text.startswith("<llmlingua") else f"<llmlingua>{text}"
        ended = begun if begun.endswith("</llmlingua>") else f"{begun}</llmlingua>"
        tags = [(inner, _legacy(head, rate, f"context.{n}")) for head, inner in _TAGGED.findall(ended)]
        kept = [(inner, *found) for inner, found in tags if found]
        out.context.append("".join(inner for inner, _, _ in kept))
        out.segs.append([inner for inner, _, _ in kept])
        out.rates.append([own for _, own, _ in kept])
        out.compress.append([flag for _, _, flag in kept])
    return out


def _legacy(head: str, rate: float, param: str) -> tuple[float, bool] | None:
    """A tag's rate and flag, None for a tag that the package does not see."""
    found = _arguments(head)
    slots = iter(_SLOTS)
    if found is None or not all(name in slots and _VALUES[name].fullmatch(value) for name, value in found):
        return None
    given = dict(reversed(found))  # the first of each name counts
    compress = given.get("compress", "True") == "True"
    try:
        own = float(given.get("rate", 0)) or (rate if compress else 1.0)
    except ValueError:
        own = math.nan
    if not own <= 1:
        raise InvalidRequest(f"a tag's rate must not exceed 1, not {given.get('rate', rate)}", param=param)
    return own, compress
