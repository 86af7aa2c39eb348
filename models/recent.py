"""What was made of the last texts: passages come again, with another question or budget, or from another stage."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from typing import Generic, TypeVar

T = TypeVar("T")
CHARACTERS = 2_000_000  # of all texts remembered: about 15 MB of token spans
LONGEST = 64_000  # characters of a text worth remembering


class Recent(Generic[T]):
    """Values by text, the least recently used forgotten first; thread-safe."""

    def __init__(self, limit: int = CHARACTERS) -> None:
        self.limit, self.held = limit, 0
        self._values: OrderedDict[str, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, text: str) -> T | None:
        with self._lock:
            value = self._values.get(text)
            if value is not None:
                self._values.move_to_end(text)
            return value

    def put(self, text: str, value: T) -> None:
        if len(text) > LONGEST:
            return
        with self._lock:
            if text not in self._values:
                self.held += len(text)
            self._values[text] = value
            while self.held > self.limit:
                self.held -= len(self._values.popitem(last=False)[0])


def remembered(make: Callable[[str], T]) -> Callable[[str], T]:
    """`make`, its last results kept."""
    recent: Recent[T] = Recent()

    @wraps(make)
    def look(text: str) -> T:
        if (found := recent.get(text)) is None:
            found = make(text)
            recent.put(text, found)
        return found

    return look
