"""From bytes to a request: JSON bounded before it is parsed, lists before their items are looked at, one fault named.

Everything here blocks, and each native call holds the interpreter until it is done: what bounds a body's values bounds
how long nobody else is served.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from laconic.client.wire import DEPTH, CompressRequest
from laconic.client.wire_latents import EncodeRequest, ExpandRequest
from laconic.compressors import TooLarge

from .errors import InvalidField, NotJson, invalid

T = TypeVar("T")
BOM = b"\xef\xbb\xbf"
PARTS = 10  # of a chat's contents, for each document that a request may have

COMPRESS, ENCODE, EXPAND = TypeAdapter(CompressRequest), TypeAdapter(EncodeRequest), TypeAdapter(ExpandRequest)


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How much one body may hold: documents, and JSON values of any kind (numbers, strings, objects, lists)."""

    documents: float = math.inf
    values: float = math.inf


ANY_SIZE = Bounds()  # for bodies of this process's own


def compress_body(raw: bytes | str, bounds: Bounds = ANY_SIZE) -> CompressRequest:
    """One request, alone or a line of many; raises NotJson, InvalidField, TooLarge."""
    return checked(COMPRESS, json_of(raw, bounds), bounds)


def encode_body(raw: bytes | str, bounds: Bounds = ANY_SIZE) -> EncodeRequest:
    return checked(ENCODE, json_of(raw, bounds), bounds)


def expand_body(raw: bytes | str, bounds: Bounds = ANY_SIZE) -> ExpandRequest:
    return checked(EXPAND, json_of(raw, bounds), bounds)


def json_of(raw: bytes | str, bounds: Bounds) -> Any:
    """The body's value; raises NotJson, TooLarge, and InvalidField for what is nested too deep or is not there."""
    content = (raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw).removeprefix(BOM)
    if not content or content.isspace():
        raise InvalidField("the body is empty: it must be JSON")
    if has_more(content, bounds.values):
        raise TooLarge(f"a body may have {bounds.values:.0f} JSON values")
    try:
        return from_json(content)
    except ValueError as e:
        reason = str(e)
    if "recursion" in reason:
        raise InvalidField(f"the body is nested too deep: at most {DEPTH} objects and lists inside each other")
    if "hex escape" in reason:  # half a surrogate pair is JSON; the field that has it will be named
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            pass
    raise NotJson("the body is not JSON")


def has_more(raw: bytes, most: float) -> bool:
    """Whether JSON has more than `most` values: those behind a comma, and the first ones of lists and objects."""
    if sum(map(raw.count, (b",", b"[", b"{"))) < most:
        return False
    raw = raw.replace(b"\\\\", b"").replace(b'\\"', b"")  # now every quotation mark begins or ends a string
    if raw.count(b'"') > 4 * most:  # two for each string, two strings for each value: its own and its name's
        return True
    outside = b"".join(raw.split(b'"')[::2])
    return sum(map(outside.count, (b",", b"[", b"{"))) >= most


def checked(kind: TypeAdapter[T], value: Any, bounds: Bounds) -> T:
    """The value as a request; raises TooLarge before its items are looked at, InvalidField with the first fault."""
    few(value, bounds)
    try:
        return kind.validate_python(value)
    except ValidationError as e:
        message, param = invalid(e)
        raise InvalidField(message, param=param) from None


def few(value: Any, bounds: Bounds) -> None:
    """Raises TooLarge for more documents than a request may have, or a chat of more parts than make sense."""
    if not isinstance(value, dict):
        return
    documents, messages = value.get("documents"), value.get("messages")
    if isinstance(documents, list) and len(documents) > bounds.documents:
        raise TooLarge(f"a request may have {bounds.documents:.0f} documents", param="documents")
    if isinstance(messages, list):
        contents = (m.get("content") for m in messages if isinstance(m, dict))
        parts = len(messages) + sum(len(c) for c in contents if isinstance(c, list))
        if parts > PARTS * bounds.documents:
            raise TooLarge(f"a chat may have {PARTS * bounds.documents:.0f} messages and parts", param="messages")
