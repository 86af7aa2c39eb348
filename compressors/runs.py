"""Runs of a text's elements that come again, by the tokens that a name for each would save.

Runs of some lengths are told apart by ranks, doubled as in prefix doubling (Karp, Miller & Rosenberg, STOC 1972), and
taken greedily; near-linear in the text.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from laconic.models import checkpoint

T = TypeVar("T", int, np.ndarray)
LONGEST = 4096  # elements of a run before it grows
STEP = 1.5  # between the lengths that runs are looked for at
BEST = 400  # runs of each length that are looked at
LINE = 2  # tokens of a dictionary's entry beside its name and value


@dataclass(slots=True)
class Search:
    """Elements of a text (tokens, and what lies between them) and the runs of them found so far."""

    pieces: Sequence[str]
    weight: np.ndarray  # int64 [N], tokens that end in each element
    cost: int  # tokens of a name
    found: list[tuple[np.ndarray, int]] = field(default_factory=list)  # where each run stands, and its length
    ids: np.ndarray = field(init=False)  # int64 [N]; those of elements that are taken are all different
    before: np.ndarray = field(init=False)  # int64 [N + 1], tokens before each element
    used: np.ndarray = field(init=False)  # int64 [N + 1], taken elements before each

    def __post_init__(self) -> None:
        known: dict[str, int] = {}
        self.ids = np.array([known.setdefault(p, len(known)) for p in self.pieces], np.int64)
        self.before = np.concatenate(([0], np.cumsum(self.weight)))
        self.used = np.zeros(len(self.ids) + 1, np.int64)

    def gain(self, count: T, tokens: T) -> T:
        """Tokens that names in the place of runs of so many tokens save, of one run or of each of several."""
        saved: T = count * (tokens - self.cost) - (tokens + self.cost + LINE)
        return saved

    def round(self, most: int) -> bool:
        """Take runs while they pay, the best first, until there are `most`; whether any was taken."""
        heap = [(-self.gain(len(at), self._tokens(at, n)), -n, int(at[0]), at) for n, at in self._candidates()]
        heapq.heapify(heap)
        begun = len(self.found)
        while heap and len(self.found) < most:
            checkpoint()
            _, less, first, at = heapq.heappop(heap)
            if len(places := self._places(at, -less)) < 2:
                continue
            worth = self.gain(len(places), self._tokens(places, -less))
            if heap and worth < -heap[0][0]:  # others have taken some of its places
                heapq.heappush(heap, (-worth, less, first, places))
                continue
            if worth <= 0:
                break
            self._take(*self._grown(places, -less))
        return len(self.found) > begun

    def _tokens(self, at: np.ndarray, length: int) -> int:
        return int(self.before[at[0] + length] - self.before[at[0]])

    def _take(self, at: np.ndarray, length: int) -> None:
        inside = (at[:, None] + np.arange(length)).ravel()
        self.ids[inside] = -1 - inside
        self.used[1:] = np.cumsum(self.ids < 0)
        self.found.append((at, length))

    def _places(self, at: np.ndarray, length: int) -> np.ndarray:
        """Those where nothing is taken, none reaching into the next."""
        at = at[self.used[at + length] == self.used[at]]
        if not (np.diff(at) < length).any():
            return at
        apart, end = [], -1
        for p in at.tolist():
            if p >= end:
                apart.append(p)
                end = p + length
        return np.array(apart, np.int64)

    def _grown(self, at: np.ndarray, length: int) -> tuple[np.ndarray, int]:
        """The run with what stands beside it in all its places."""
        for _ in range(LONGEST):
            stop = at + length
            if stop[-1] == len(self.ids) or (stop[:-1] == at[1:]).any() or (self.ids[stop] != self.ids[stop[0]]).any():
                break
            length += 1
        for _ in range(LONGEST):
            start = at - 1
            if start[0] < 0 or (start[1:] < at[:-1] + length).any() or (self.ids[start] != self.ids[start[0]]).any():
                break
            at, length = start, length + 1
        return at, length

    def _candidates(self) -> list[tuple[int, np.ndarray]]:
        """Lengths and places of the runs that would save most, of each of some lengths."""
        out: list[tuple[int, np.ndarray]] = []
        ranks, reach, length = self.ids, 1, 2  # ranks: which run of `reach` elements begins here; negative: none other
        at = np.arange(len(self.ids))
        while length <= LONGEST:
            checkpoint()
            if 2 * reach <= length:
                ranks, reach = self._doubled(ranks, reach), 2 * reach
            at = at[at + length <= len(self.ids)]
            at, group, counts = paired(ranks, at, length - reach)
            again = counts[group] > 1
            if not again.any():
                break
            out += [(length, places) for places in self._most(at[again], group[again], counts, length)]
            at, length = at[again], max(length + 1, int(length * STEP))
        return out

    def _most(self, at: np.ndarray, group: np.ndarray, counts: np.ndarray, length: int) -> list[np.ndarray]:
        order = np.argsort(group, kind="stable")
        at, group = at[order], group[order]
        begins = np.flatnonzero(np.concatenate(([True], group[1:] != group[:-1])))
        number = counts[group[begins]]
        tokens = self.before[at[begins] + length] - self.before[at[begins]]
        gain = self.gain(number, tokens)
        best = np.argsort(-gain, kind="stable")[:BEST]
        return [at[begins[b] : begins[b] + number[b]] for b in best.tolist() if gain[b] > 0]

    def _doubled(self, ranks: np.ndarray, reach: int) -> np.ndarray:
        """Which run of twice the length begins at each element; -1 where it comes once only."""
        out = np.full(len(ranks), -1, np.int64)
        at, group, counts = paired(ranks, np.arange(max(0, len(ranks) - 2 * reach + 1)), reach)
        out[at] = np.where(counts[group] > 1, group, -1)
        return out


def paired(ranks: np.ndarray, at: np.ndarray, apart: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Those of `at` with a rank there and `apart` further on, a number for each two ranks, and how often they come."""
    at = at[(ranks[at] >= 0) & (ranks[at + apart] >= 0)]
    both = ranks[at] * (len(ranks) + 1) + ranks[at + apart]
    _, group, counts = np.unique(both, return_inverse=True, return_counts=True)
    return at, group, counts
