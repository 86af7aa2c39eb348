"""ONNX Runtime on the CPU: unpadded segments, one at a time, on N one-thread workers over one session.

One segment per forward keeps dynamic int8 exact (its activation scale is taken over the whole tensor, so any
batch mate or padding would change the result) and was the fastest arrangement measured: see docs/adr/0003.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnxruntime as ort

from .backend import ModelInput, ModelOutput
from .card import Card

QUERIES_KEPT = 64  # states of recent queries: at most 12 MB


def usable_cores() -> int:
    """Cores this process may use: affinity, and the cgroup's quota where there is one."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()[:2]
        return max(1, min(affinity, int(quota) // int(period)))
    except (OSError, ValueError):
        return affinity


def session(path: Path, threads: int = 1) -> ort.InferenceSession:
    """A CPU session of `path`, safe to call from several threads at once."""
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class OnnxBackend:
    """A model's ONNX files under one numeric profile; `workers` forwards run side by side.

    Two files are an encoder, `input_ids` [1, T] to `states` [1, T, D], run on the query and on each segment
    alone, and a scorer of `input_ids`, `parts` and both their states. One file scores `input_ids` and `parts`.
    """

    def __init__(self, card: Card, paths: Sequence[Path], workers: int | None = None) -> None:
        self.card = card
        self.workers = workers or usable_cores()
        self._score = session(paths[-1])
        self._encode = session(paths[0]) if len(paths) == 2 else None
        self._query = lru_cache(QUERIES_KEPT)(self._states)
        self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="forward")

    def run(self, inputs: Sequence[ModelInput]) -> list[ModelOutput]:
        """Score every input; the pool is shared by all callers, longest inputs first to end together."""
        if self._encode is not None:
            list(self._pool.map(self._query, {i.query for i in inputs if i.query}))
        order = sorted(range(len(inputs)), key=lambda i: -len(inputs[i].segment))
        done = dict(zip(order, self._pool.map(self._one, (inputs[i] for i in order)), strict=True))
        return [done[i] for i in range(len(inputs))]

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _states(self, ids: tuple[int, ...]) -> np.ndarray:
        assert self._encode is not None
        states: np.ndarray = self._encode.run(None, {"input_ids": np.array(ids, np.int64)[None]})[0]
        return states

    def _one(self, i: ModelInput) -> ModelOutput:
        ids = np.array((*i.query, *i.segment), np.int64)[None]
        parts = np.full(ids.shape, 2, np.int64)
        parts[0, : len(i.query)] = 1
        feed = {"input_ids": ids, "parts": parts}
        if self._encode is not None:
            both = [self._query(i.query)] if i.query else []
            feed["states"] = np.concatenate([*both, self._states(i.segment)], 1)
        keep, agnostic, relevance = self._score.run(None, feed)
        at = slice(len(i.query) + i.skip, len(i.query) + i.skip + i.count)
        return ModelOutput(keep=keep[0, at], agnostic=agnostic[0, at], relevance=float(relevance[0]))
