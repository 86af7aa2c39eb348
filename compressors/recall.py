"""What `budget: {"recall": r}` goes by: how much of a request's evidence stopping would lose, and how sure a unit is.

A bare probability asks the same of every question: much of those whose scores are high throughout, nothing of those
where even the best is in doubt. A bare share of what a request's own scores expect keeps most of documents that have
nothing to do with the question. A level is both: the share times the odds (docs/adr/0010).
"""

from __future__ import annotations

import numpy as np

SHARPNESS = 1.5  # what raises probabilities to a weight: many that are small must not outweigh one that is not


def levels(logit: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Log of the share of the request's expected evidence that is lost by keeping only better units, plus the logit.

    `logit` of being evidence and `length` are those of all units a budget is about, [N]; so is the result, which
    falls with the logit and is the same where that is, so that every bound on it keeps a prefix of the order.
    """
    order = np.argsort(-logit, kind="stable")
    best = logit[order]
    weight = length[order] / (1 + np.exp(-np.clip(best, -60, 60))) ** SHARPNESS
    left = np.cumsum(weight[::-1])[::-1]
    first = np.searchsorted(-best, -best)  # of those that score alike
    out = np.empty(len(logit))
    out[order] = np.log(left[first] / left[:1]) + best
    return out
