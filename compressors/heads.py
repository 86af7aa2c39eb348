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
