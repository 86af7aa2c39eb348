"""What units depend on, as an array of numbers, -1 for nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def cycles(heads: np.ndarray) -> Iterator[list[int]]:
    """The units of each cycle, in the order in which following their heads meets them; heads int64 [N]."""
    state = np.zeros(len(heads), np.int8)  # 0 not seen, 1 on this path, 2 done
    for first in range(len(heads)):
        path = []
        at = first
        while at >= 0 and state[at] == 0:
            state[at] = 1
            path.append(at)
            at = int(heads[at])
        if at >= 0 and state[at] == 1:
            yield path[path.index(at) :]
        state[path] = 2


def summed(values: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """Each unit's value and those of all that it depends on, directly or through others; heads without cycles, [N]."""
    at, out = heads, values
    while (alive := at >= 0).any():  # each look is twice as far: what it depends on knows its own sum so far
        out = np.where(alive, out + out[at], out)
        at = np.where(alive, at[at], -1)
    return out
