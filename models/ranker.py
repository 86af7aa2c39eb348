"""Document rankers of sentence-transformers: bi-encoders and cross-encoders, from local folders, without remote code.

On a CPU every text is read alone, so that its score is the same to the bit in any company.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import CrossEncoder, SentenceTransformer, util

from .forks import after_fork
from .hf import LOCAL, config
from .work import LOST, EngineError

BATCH = 32  # on a GPU


class SentenceRanker:
    """Scores of texts for a query, higher is better; thread-safe, one call at a time."""

    def __init__(self, model: Any) -> None:
        self.model, self.lock, self._lost = model, threading.Lock(), False
        after_fork(self, SentenceRanker._begin_anew)
        self.batch = BATCH if model.device.type == "cuda" else 1

    def _begin_anew(self) -> None:
        self._lost = True

    def __call__(self, query: str, texts: Sequence[str]) -> list[float]:
        """A cross-encoder's logit, or the cosine of a bi-encoder's embeddings, for each text. Raises EngineError."""
        if self._lost:
            raise EngineError(LOST)
        if not texts:
            return []
        quiet = {"batch_size": self.batch, "show_progress_bar": False}
        with self.lock, torch.inference_mode():
            if isinstance(self.model, CrossEncoder):
                pairs = [(query, t) for t in texts]
                found = self.model.predict(pairs, activation_fn=torch.nn.Identity(), **quiet)
                return [float(x) for x in found]
            asked = self.model.encode_query(query, convert_to_tensor=True, **quiet)
            read = self.model.encode_document(list(texts), convert_to_tensor=True, **quiet)
            return [float(x) for x in util.cos_sim(asked, read)[0]]


def open_ranker(folder: Path, device: str) -> SentenceRanker:
    """The ranker of a folder; raises CardError or ValueError where it holds none, whole, of one output."""
    for path in folder.rglob("config.json"):
        config(path.parent)  # which names no code of a hub
    weights = {"use_safetensors": True}
    kind = SentenceTransformer if (folder / "modules.json").is_file() else CrossEncoder
    try:
        model = kind(str(folder), device=device, model_kwargs=weights, **LOCAL)
    except Exception as e:  # a folder can be wrong in any way
        raise ValueError(f"{folder} does not hold a ranker: {e}") from None
    if isinstance(model, CrossEncoder) and model.config.num_labels != 1:
        raise ValueError(f"{folder} is a classifier of {model.config.num_labels} labels: a ranker has one")
    return SentenceRanker(model)
