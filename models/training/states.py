"""The frozen encoder's states of every training input, computed once and kept on disk.

The encoder does not change and does not see the query beside the segment, so a passage asked about by ten
questions is encoded once, not ten times per pass: on a CPU this is most of the cost of training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

Encode = Callable[[np.ndarray], np.ndarray]  # ids [T] -> states [T, D]


class Fresh:
    """States made when they are asked for, of an encoder that changes or of inputs that few will see.

    Without `encode` there are none (width 0): the block that reads them makes its own.
    """

    def __init__(self, inputs: Sequence[Sequence[int]], width: int = 0, encode: Encode | None = None) -> None:
        self.inputs, self.width, self.encode = inputs, width, encode

    def __getitem__(self, i: int) -> np.ndarray:
        if self.encode is None:
            return np.zeros((len(self.inputs[i]), 0), np.float32)
        return self.encode(np.asarray(self.inputs[i], np.int64))


class StateStore:
    """Ragged float16 states [sum(T), D] in one memory-mapped file, addressed by input number.

    A file of other inputs, or of another `encoder` (any name that tells them apart), is made anew.
    """

    def __init__(self, path: Path, inputs: Sequence[Sequence[int]], width: int, encoder: str = "") -> None:
        self.ends = np.cumsum([len(i) for i in inputs])
        self.width = width
        shape = (int(self.ends[-1]), width)
        given = hashlib.sha256(f"{encoder} {width}".encode() + self.ends.tobytes())
        for i in inputs:
            given.update(np.asarray(i, np.int32).tobytes())
        self.digest, self.done = given.hexdigest(), path.with_suffix(".done")
        self.complete = self.done.exists() and self.done.read_text() == self.digest
        if not self.complete:
            self.done.unlink(missing_ok=True)  # what it told of is written over
        mode = "r" if self.complete else "w+"
        self.array = np.memmap(path, np.float16, mode, shape=shape)  # type: ignore[call-overload]

    def fill(self, inputs: Sequence[Sequence[int]], encode: Encode, threads: int) -> None:
        """Run `encode` over all inputs on `threads` threads; a finished file is not computed again."""
        if self.complete:
            return

        def one(i: int) -> None:
            self.array[self.ends[i] - len(inputs[i]) : self.ends[i]] = encode(np.asarray(inputs[i], np.int64))

        with ThreadPoolExecutor(threads) as pool, tqdm(total=len(inputs), desc="states", unit="input") as bar:
            for _ in pool.map(one, range(len(inputs))):
                bar.update()
        self.array.flush()
        self.done.write_text(self.digest)
        self.complete = True

    def __getitem__(self, i: int) -> np.ndarray:
        start = self.ends[i - 1] if i else 0
        return self.array[start : self.ends[i]]
