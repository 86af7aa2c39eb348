"""What was made of the last texts: passages come again, with another question or budget, or from another stage.

A text is remembered for whose work it came with: how long an answer takes must not tell one tenant what another sent.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from typing import Generic, TypeVar

from .forks import after_fork
from .work import tenant

T = TypeVar("T")
CHARACTERS = 2_000_000  # of all texts remembered: about 15 MB of token spans
LONGEST = 500_000  # characters of a text worth remembering: its own request asks for it several times


class Recent(Generic[T]):
    """Values by tenant and text, the least recently used forgotten first; thread-safe."""

    def __init__(self, limit: int = CHARACTERS) -> None:
        self.limit, self.held = limit, 0
        self._values: OrderedDict[tuple[str, str], T] = OrderedDict()
        self._begin_anew()
        after_fork(self, Recent._begin_anew)

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()

    def get(self, text: str) -> T | None:
        key = tenant(), text
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def put(self, text: str, value: T) -> None:
        if len(text) > LONGEST:
            return
        key = tenant(), text
        with self._lock:
            if key not in self._values:
                self.held += len(text)
            self._values[key] = value
            while self.held > self.limit:
                self.held -= len(self._values.popitem(last=False)[0][1])


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
