"""ONNX Runtime on the CPU: unpadded segments, one at a time.

One segment per forward keeps dynamic int8 exact (its activation scale is taken over the whole tensor, so any
batch mate or padding would change the result) and was the fastest arrangement measured: see docs/adr/0003.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from .backend import Coded, CodeInput, EduInput, EduOutput, Input, LateInput, ModelInput, ModelOutput
from .card import Card
from .forks import abandon, after_fork

QUERIES_KEPT = 64  # states of recent queries: at most 12 MB


def session(path: Path, threads: int = 1) -> ort.InferenceSession:
    """A CPU session of `path`, safe to call from several threads at once."""
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.enable_mem_pattern = False  # every length would keep a plan: memory without speed (bench/LOG.md)
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class Wide:
    """A session with a pool of `threads`; after a fork, which they do not survive, another of the child's own."""

    def __init__(self, path: Path, threads: int) -> None:
        self._path, self._threads = path, threads
        self._held: ort.InferenceSession | None = session(path, threads)
        after_fork(self, Wide._begin_anew)

    def _begin_anew(self) -> None:
        abandon(self._held)
        self._held = None

    def run(self, names: Sequence[str] | None, feed: dict[str, Any]) -> list[Any]:
        held = self._held
        if held is None:  # two threads at once may open one each: the later stays
            held = self._held = session(self._path, self._threads)
        found: list[Any] = held.run(names, feed)
        return found


class OnnxBackend:
    """A model's ONNX files under one numeric profile, one unpadded sequence per forward.

    Two files are an encoder, `input_ids` [1, T] to `states` [1, T, D], run on the query and on each segment
    alone, and a scorer of `input_ids`, `parts` and both their states. One file scores `input_ids` and `parts`.
    `late` is the coder of states and the head over two sides' codes, `edu` the finder of discourse units.
    Sessions have one thread; a second set with all `cores` serves the forward that has the machine to itself.
    """

    budget = 0  # any batch mate would change int8's activation scale

    def __init__(
        self,
        card: Card,
        paths: Sequence[Path],
        cores: int = 1,
        late: Sequence[Path] = (),
        edu: Sequence[Path] = (),
    ) -> None:
        self.card, self.edu = card, edu
        self._late = [session(p) for p in late]
        self._narrow = [session(p) for p in paths]
        self._wide = [Wide(p, cores) for p in paths] if cores > 1 else self._narrow
        self._finder: ort.InferenceSession | None = None
        self._query = lru_cache(QUERIES_KEPT)(lambda owner, ids: self._states(ids))

    def run(self, inputs: Sequence[Input]) -> list[Any]:
        """Every input in turn, on the calling thread."""
        return self.forward(inputs, False)

    def forward(self, inputs: Sequence[Input], alone: bool) -> list[Any]:
        return [self._one(i, self._wide if alone else self._narrow) for i in inputs]

    def _one(self, i: Input, sessions: Sequence[ort.InferenceSession]) -> Any:
        if isinstance(i, ModelInput):
            return self._score(i, sessions)
        if isinstance(i, LateInput):
            return self._match(i)
        if isinstance(i, EduInput):
            return self._cut(i)
        assert isinstance(i, CodeInput)
        codes = self._late[0].run(None, {"states": self._states(i.ids, sessions[0])})[0]
        return Coded(ids=np.array(i.ids, np.int64), codes=codes[0])

    def _cut(self, i: EduInput) -> EduOutput:
        if self._finder is None:  # opened when first asked for: it is as large as the encoder, and few ask
            self._finder = session(self.edu[0])
        seen = np.pad(i.marks, ((1, 1), (0, 0)))
        found = self._finder.run(None, {"input_ids": np.array(i.ids, np.int64)[None], "marks": seen[None]})
        start, links, keep = (x[0, 1:-1] for x in found)
        return EduOutput(start=start, links=links, keep=keep)

    def _match(self, i: LateInput) -> ModelOutput:
        feed = {"query_ids": i.query.ids, "query_codes": i.query.codes}
        feed |= {"segment_ids": i.segment.ids, "segment_codes": i.segment.codes}
        keep, agnostic, relevance = self._late[1].run(None, {k: v[None] for k, v in feed.items()})
        at = slice(i.skip, i.skip + i.count)
        return ModelOutput(keep=keep[0, at], agnostic=agnostic[0, at], relevance=float(relevance[0]))

    def _score(self, i: ModelInput, sessions: Sequence[ort.InferenceSession]) -> ModelOutput:
        ids = np.array((*i.query, *i.segment), np.int64)[None]
        parts = np.full(ids.shape, 2, np.int64)
        parts[0, : len(i.query)] = 1
        feed = {"input_ids": ids, "parts": parts}
        if len(sessions) == 2:
            query = [self._query(i.owner, i.query)] if i.query else []
            feed["states"] = np.concatenate([*query, self._states(i.segment, sessions[0])], 1)
        keep, agnostic, relevance = sessions[-1].run(None, feed)
        at = slice(len(i.query) + i.skip, len(i.query) + i.skip + i.count)
        return ModelOutput(keep=keep[0, at], agnostic=agnostic[0, at], relevance=float(relevance[0]))

    def _states(self, ids: tuple[int, ...], encoder: ort.InferenceSession | None = None) -> np.ndarray:
        feed = {"input_ids": np.array(ids, np.int64)[None]}
        states: np.ndarray = (encoder or self._narrow[0]).run(None, feed)[0]
        return states
