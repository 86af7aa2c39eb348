"""Levels: what a budget by recall goes by, whatever the units and however many."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from laconic.compressors.recall import SHARPNESS, levels

UNITS = st.lists(st.tuples(st.floats(-40, 40), st.integers(1, 500)), min_size=1, max_size=40)


def logits(*probabilities: float) -> np.ndarray:
    p = np.array(probabilities)
    return np.log(p / (1 - p))


def test_level_is_share_times_odds() -> None:
    """Three sentences of one length: what stopping before each would lose of what is expected, times its odds."""
    p = np.array([0.2, 0.8, 0.1])
    weight = p**SHARPNESS
    shares = np.array([weight[[0, 2]].sum(), weight.sum(), weight[2]]) / weight.sum()
    found = levels(logits(*p), np.full(3, 70))
    assert np.exp(found) == pytest.approx(shares * p / (1 - p))


@given(UNITS)
def test_levels_fall_as_scores_do(units: list[tuple[float, int]]) -> None:
    """Every bound keeps a prefix of the order by score, of equal scores all or none, and the best has its odds."""
    score, length = (np.array(v) for v in zip(*units, strict=True))
    found = levels(score, length)
    order = np.argsort(-score, kind="stable")
    assert (np.diff(found[order]) <= 0).all()
    assert all(len(set(found[score == s])) == 1 for s in score)
    assert found.max() == pytest.approx(score.max())


@given(UNITS, st.integers(0, 39))
def test_a_unit_in_two_is_the_same_unit(units: list[tuple[float, int]], at: int) -> None:
    """Cut in two that score alike, a unit has the level it had, and so has every other."""
    score, length = (np.array(v) for v in zip(*units, strict=True))
    at %= len(score)
    more = np.append(score, score[at]), np.append(length, 1)
    longer = length.copy()
    longer[at] += 1
    assert levels(*more)[: len(score)] == pytest.approx(levels(score, longer), rel=1e-9, abs=1e-9)


def test_what_stands_out_is_kept_and_what_is_elsewhere_is_not() -> None:
    """The same doubt costs more where a better sentence is at hand, and where all scores are low none is kept."""
    length = np.full(40, 80)
    easy = levels(logits(0.9, *[0.1] * 39), length)
    hard = levels(logits(0.15, *[0.1] * 39), length)
    strange = levels(logits(*[0.01] * 40), length)
    assert easy[1] < hard[1] - 0.3
    assert strange.max() < easy[1]


def test_nothing_has_no_level() -> None:
    assert levels(np.zeros(0), np.zeros(0)).shape == (0,)
