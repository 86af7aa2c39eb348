"""A batch cut into parts, which can be answered in any order and by anyone: cutting, finding, joining.

A part is written whole or not at all, under a name that says which requests it answers, by number and digest. So the
folder of parts is all there is to know about what is done.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from .filebatch import BatchError, digest, files, located

NAME = re.compile(r"\d{12}-\d+-[0-9a-f]{16}\.(jsonl|parquet)")
TRIES = 5  # of a part


@dataclass(frozen=True)
class Part:
    """`count` requests from number `first` on: in `file`, at `start` (byte; in Parquet, row)."""

    first: int
    count: int
    file: str
    start: int
    digest: str

    @property
    def end(self) -> int:
        return self.first + self.count

    def name(self, kind: str) -> str:
        return f"{self.first:012d}-{self.count}-{self.digest}.{kind}"

    def lines(self) -> Iterator[str]:
        return (line for _, line in islice(located(Path(self.file), self.start), self.count))


def together(digests: Iterable[str]) -> str:
    return hashlib.blake2b("".join(digests).encode(), digest_size=8).hexdigest()


def cut(source: Path, size: int) -> Iterator[Part]:
    """The parts of a file, or of a folder's files by name: `size` requests each, a file's last one what is left."""
    first = 0
    for file in files(source):
        lines = located(file)
        while some := list(islice(lines, size)):
            name = together(digest(line) for _, line in some)
            yield Part(first, len(some), str(file.resolve()), some[0][0], name)
            first += len(some)


def written(folder: Path, names: set[str]) -> set[str]:
    """Which of the parts a folder has; raises BatchError where it has others."""
    found = set()
    for path in folder.iterdir():
        if NAME.fullmatch(path.name):
            if path.name not in names:
                raise BatchError(
                    f"{path} is of another input, or of another --part-size or --parts-as; move it away to begin anew"
                )
            found.add(path.name)
    return found


def attempt(path: Path) -> Path:
    """Leave a mark that the part is begun, to be removed when it is done. Raises BatchError where all marks are left.

    Ray begins a part again when its worker died, as often as that takes: what kills every worker must end the run.
    """
    for number in range(1, TRIES + 1):
        mark = path.with_name(f"{path.name}.{number}.partial")
        with suppress(FileExistsError):
            mark.touch(exist_ok=False)
            return mark
    raise BatchError(f"{TRIES} workers died over {path.name}, requests from number {path.name.partition('-')[0]} on")


def sweep(folder: Path) -> None:
    """Remove what those who were killed did not finish."""
    for path in folder.glob("*.partial"):
        path.unlink()


def join(lines: Path, part: Path, skip: int) -> None:
    """Put a part's answers after its first `skip` to the end of `lines`, safely on disk; then the part goes."""
    with part.open("rb") as have, lines.open("ab") as out:
        for _ in range(skip):
            have.readline()
        shutil.copyfileobj(have, out, 1 << 20)
        out.flush()
        os.fsync(out.fileno())
    part.unlink()
