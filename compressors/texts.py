"""Texts of segments, kept for a while where an operator allows it, so that an agent can open what it has skimmed.

A segment's name is a digest of its text: the same text has the same name, and a name says nothing of a text. A tenant
finds only what it sent itself, under its own namespace.
"""

from __future__ import annotations

import hashlib
import struct
import time
from collections.abc import Sequence

from .cached import Store

_UNTIL = struct.Struct("<d")  # seconds since 1970


def segment_id(text: str) -> str:
    """A segment's name: 64 hexadecimal digits."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32, person=b"segment").hexdigest()


class Texts:
    """Keeps texts in a store for `seconds`."""

    def __init__(self, store: Store, seconds: float) -> None:
        self.store, self.seconds = store, seconds

    def keep(self, texts: Sequence[str]) -> None:
        until = _UNTIL.pack(time.time() + self.seconds)
        self.store.put({self._key(segment_id(t)): until + t.encode("utf-8", "surrogatepass") for t in texts})

    def find(self, ids: Sequence[str]) -> list[str | None]:
        """The text of each name, None where none is kept, or no longer."""
        found = self.store.get([self._key(i) for i in ids])
        return [self._text(ident, value) for ident, value in zip(ids, found, strict=True)]

    def _key(self, ident: str) -> bytes:
        return self.store.key("texts", bytes.fromhex(ident))

    def _text(self, ident: str, value: bytes | None) -> str | None:
        if value is None:
            return None
        text = value[_UNTIL.size :].decode("utf-8", "surrogatepass") if len(value) >= _UNTIL.size else ""
        if segment_id(text) != ident:
            self.store.drop(self._key(ident))
            return None
        if _UNTIL.unpack_from(value)[0] < time.time():
            self.store.drop(self._key(ident))
            return None
        return text
