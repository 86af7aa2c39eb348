"""Requests as they were scored: another budget for the same texts and question only selects anew.

Kept in memory beside the cache of scores and only where there is one, for whose work it came with.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, replace

from laconic.models import tenant
from laconic.models.forks import after_fork

from .cached import Store
from .draft import Draft
from .select import Piece
from .types import Request

CHARACTERS = 1_000_000  # of all requests kept by one pipeline: about 15 MB of spans and scores


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """A request's documents, scored and cut, before anything is chosen."""

    drafts: list[Draft]
    pieces: list[Piece]
    total: int  # the reader's tokens of all

    @property
    def known(self) -> Scored:
        """The same, all of it from the cache."""
        drafts = [
            replace(d, scores=[s if s.cached else replace(s, cached=True) for s in d.scores]) for d in self.drafts
        ]
        return replace(self, drafts=drafts)


class RecentlyScored:
    """The last requests, the least recently used forgotten first; thread-safe."""

    def __init__(self, store: Store, limit: int = CHARACTERS) -> None:
        self.store, self.limit, self.held = store, limit, 0
        self._values: OrderedDict[Hashable, tuple[int, Scored]] = OrderedDict()
        self._begin_anew()
        after_fork(self, RecentlyScored._begin_anew)

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()

    def get(self, request: Request) -> Scored | None:
        key = self._key(request)
        with self._lock:
            if (found := self._values.get(key)) is None:
                return None
            self._values.move_to_end(key)
        return found[1]

    def put(self, request: Request, scored: Scored) -> None:
        size, key = sum(len(d.text) for d in request.documents), self._key(request)
        if size > self.limit // 4:
            return
        known = scored.known
        with self._lock:
            if key in self._values:
                return
            self._values[key] = size, known
            self.held += size
            while self.held > self.limit:
                self.held -= self._values.popitem(last=False)[1][0]

    def _key(self, r: Request) -> Hashable:
        """Everything that a request is scored by; what its cache has forgotten since is not asked for again."""
        keep = tuple(r.keep.strings), tuple(r.keep.patterns), r.keep.digits, r.keep.first_sentence
        documents = tuple([(d.text, d.title, d.id, d.compress, d.budget) for d in r.documents])
        told = (r.query, r.unit, r.scope, r.duplicates, r.top_documents, r.marker, r.separator)
        return tenant(), self.store.emptied, told, keep, documents
