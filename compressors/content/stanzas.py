"""Long preformatted text by its stanzas: runs of lines between blank ones."""

from __future__ import annotations


def stanzas(text: str, most: int) -> list[int]:
    """Where stanzas begin, from 0: after blank lines, and where one would grow beyond `most` characters."""
    cuts = [0]
    at, blank = 0, False
    for line in text.splitlines(keepends=True):
        empty = not line.strip()
        if at > cuts[-1] and ((blank and not empty) or at + len(line) - cuts[-1] > most):
            cuts.append(at)
        blank = empty
        at += len(line)
    return cuts
