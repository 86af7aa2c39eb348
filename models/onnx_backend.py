"""ONNX Runtime on the CPU: unpadded segments, one at a time, on N one-thread workers over one session.

One segment per forward keeps dynamic int8 exact (its activation scale is taken over the whole tensor, so any
batch mate or padding would change the result) and was the fastest arrangement measured: see docs/adr/0003.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort

from .backend import ModelInput, ModelOutput
from .card import Card


def usable_cores() -> int:
    """Cores this process may use: affinity, and the cgroup's quota where there is one."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()[:2]
        return max(1, min(affinity, int(quota) // int(period)))
    except (OSError, ValueError):
        return affinity


class OnnxBackend:
    """A card's ONNX file under one numeric profile; `workers` forwards run side by side."""

    def __init__(self, card: Card, path: Path, workers: int | None = None) -> None:
        self.card = card
        self.workers = workers or usable_cores()
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="forward")

    def run(self, inputs: Sequence[ModelInput]) -> list[ModelOutput]:
        """Score every input; the pool is shared by all callers, longest inputs first to end together."""
        order = sorted(range(len(inputs)), key=lambda i: -len(inputs[i].segment))
        done = dict(zip(order, self._pool.map(self._one, (inputs[i] for i in order)), strict=True))
        return [done[i] for i in range(len(inputs))]

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _one(self, i: ModelInput) -> ModelOutput:
        ids = np.array((*i.query, *i.segment), np.int64)[None]
        parts = np.full(ids.shape, 2, np.int64)
        parts[0, : len(i.query)] = 1
        keep, agnostic, relevance = self._session.run(None, {"input_ids": ids, "parts": parts})
        at = slice(len(i.query) + i.skip, len(i.query) + i.skip + i.count)
        return ModelOutput(keep=keep[0, at], agnostic=agnostic[0, at], relevance=float(relevance[0]))
