"""Scores to probabilities: logistic regression on one number (Platt 1999)."""

from __future__ import annotations

import numpy as np


def platt(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> tuple[float, float]:
    """Temperature and offset with sigmoid(x / temperature + offset) the probability of y, under weights w; [N] each."""

    def loss(at: np.ndarray) -> float:
        z = at[0] * x + at[1]
        return float((w * (np.logaddexp(0, z) - y * z)).sum())

    base = float((w * y).sum() / w.sum())
    now = np.array([0.0, np.log(base / (1 - base))])
    for _ in range(100):  # Newton's method on two parameters, its steps halved until they help
        p = 1 / (1 + np.exp(-np.clip(now[0] * x + now[1], -60, 60)))
        slope, curve = w * (p - y), w * p * (1 - p)
        hessian = np.array([[(curve * x * x).sum(), (curve * x).sum()], [(curve * x).sum(), curve.sum()]])
        step = np.linalg.solve(hessian + 1e-12 * np.eye(2), np.array([(slope * x).sum(), slope.sum()]))
        while loss(now - step) > loss(now) and np.abs(step).max() > 1e-9:
            step = step / 2
        now = now - step
        if np.abs(step).max() < 1e-8:
            break
    return float(1 / now[0]), float(now[1])
