"""The first tier: least recently used values in this process, bounded in bytes of memory, not of payload."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from laconic.models.forks import after_fork

# What an entry takes beside its payload: two `bytes` headers, a slot in the dictionary and one in its order, and what
# the allocator rounds up. Measured against resident memory (bench/LOG.md).
ENTRY = 290


def size(key: bytes, value: bytes) -> int:
    return len(key) + len(value) + ENTRY


class Lru:
    """Values by key, thread-safe; `held` is never above `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self.limit, self.held = limit, 0
        self._values: OrderedDict[bytes, bytes] = OrderedDict()
        self._begin_anew()
        after_fork(self, Lru._begin_anew)

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        out = []
        with self._lock:
            for key in keys:
                value = self._values.get(key)
                if value is not None:
                    self._values.move_to_end(key)
                out.append(value)
        return out

    def put(self, values: Mapping[bytes, bytes]) -> None:
        """Keep values; one larger than an eighth of the limit is not kept."""
        with self._lock:
            for key, value in values.items():
                self._forget(key)
                if size(key, value) > self.limit // 8:
                    continue
                self._values[key] = value
                self.held += size(key, value)
            while self.held > self.limit:
                self._forget(next(iter(self._values)))

    def drop(self, key: bytes) -> None:
        with self._lock:
            self._forget(key)

    def clear(self, prefix: bytes = b"") -> int:
        """Forget every key that begins with `prefix`; returns how many there were."""
        with self._lock:
            gone = [key for key in self._values if key.startswith(prefix)]
            for key in gone:
                self._forget(key)
        return len(gone)

    def _forget(self, key: bytes) -> None:
        value = self._values.pop(key, None)
        if value is not None:
            self.held -= size(key, value)
