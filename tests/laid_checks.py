"""What every layout promises, checked on any text: units tile, spans are in order, nothing raises."""

from __future__ import annotations

import random

import numpy as np

from laconic.compressors.content.laid import Laid
from laconic.compressors.render import render


def closed(kept: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """`kept` and all that its units depend on."""
    out, todo = kept.copy(), np.flatnonzero(kept)
    while len(todo):
        todo = np.unique(heads[todo])
        todo = todo[(todo >= 0) & ~out[todo]]
        out[todo] = True
    return out


def cut(text: str, laid: Laid, rate: float, seed: int = 0) -> tuple[str, list[int]]:
    """A random selection as it is written without its marks, and where each of its characters stands in the text."""
    units = laid.units
    assert units.starts[0] == 0 and units.ends[-1] == len(text)
    assert (units.starts[1:] == units.ends[:-1]).all() and (units.starts < units.ends).all()
    assert laid.views.ends[-1] == len(laid.view) and len(laid.views) == len(units) == len(laid.prior)
    assert units.heads is not None
    spans, marks = laid.form(closed(np.random.default_rng(seed).random(len(units)) < rate, units.heads))
    flat = [x for span in spans for x in span]
    assert flat == sorted(flat) and all(a < b for a, b in spans)
    assert all(not any(a < m.at < b for a, b in spans) for m in marks)
    return render(text, spans), [i for a, b in spans for i in range(a, b)]


def mutated(text: str, seed: int, pieces: list[str]) -> str:
    """The text with some of it replaced by pieces."""
    draw = random.Random(seed)
    for _ in range(draw.randint(1, 6)):
        at = draw.randrange(len(text) + 1)
        text = text[:at] + draw.choice(pieces) + text[at + draw.choice((0, 1, 7, 60)) :]
    return text
