"""What an uncased tokenizer hides of a text, for heads that look for where something begins."""

from __future__ import annotations

import numpy as np

from .words import code_points

MARKS = 6


def _is(*known: str) -> np.ndarray:
    """Which of the first 12,289 code points are among some; there is nothing of interest beyond."""
    return np.isin(np.arange(0x3001), [ord(c) for c in "".join(known)])


_PAUSE, _STOP = _is(",;:—–-()[]"), _is(".!?。")
_UPPER, _SOLID = (np.array([f(chr(i)) for i in range(0x3001)]) for f in (str.isupper, str.isalnum))


def marks(text: str, spans: np.ndarray) -> np.ndarray:
    """float32 [N, MARKS] of tokens at `spans` [N, 2]; the text is free of lone surrogates.

    Columns: follows a line break; goes on a word; follows a comma, colon, dash or bracket; follows a full stop or the
    like; begins with a capital; begins with a letter or digit.
    """
    out = np.zeros((len(spans), MARKS), np.float32)
    if not len(spans):
        return out
    points = code_points(text)
    known = np.minimum(points, 0x3000)
    first = known[spans[:, 0]]
    before = np.append(0, spans[:-1, 1])  # where the token before ended
    last = known[np.maximum(before - 1, 0)]
    breaks = np.concatenate(([0], np.cumsum(points == 10)))
    glued = before == spans[:, 0]
    out[:, 0] = breaks[spans[:, 0]] > breaks[before]
    out[:, 1] = glued & _SOLID[first] & _SOLID[last]
    out[:, 2], out[:, 3], out[:, 4], out[:, 5] = _PAUSE[last], _STOP[last], _UPPER[first], _SOLID[first]
    out[0, :4] = 0
    return out
