"""Which inputs share a forward on a device that runs several side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .backend import Input

SLACK = 1.25  # how much longer than the shortest an input of its batch may be


def batches(asked: Sequence[Input], these: Sequence[int], together: bool) -> Iterator[list[int]]:
    """Numbers of inputs, at least one of them: one by one, or those of similar length together, shortest first."""
    if not together:
        yield from ([n] for n in these)
        return
    batch: list[int] = []
    for n in sorted(these, key=lambda n: asked[n].tokens):
        if batch and asked[n].tokens > SLACK * asked[batch[0]].tokens:
            yield batch
            batch = []
        batch.append(n)
    yield batch
