"""Train `laconic-mini`: `python -m laconic.models.training encoder --data DIR --out DIR` (see `__main__`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from ..card import Card, digest
from ..torch_backend import encoder_weights
from .batches import Batch, Batcher
from .data import Corpus, deletions, load
from .fit import TrainConfig, block_losses, finished, fit, total
from .network import Network, NetworkConfig, fill
from .states import Encode, Fresh, StateStore


def open_tokenizer(base: Path) -> Tokenizer:
    tok = Tokenizer.from_file(str(base / "tokenizer.json"))
    tok.no_truncation()
    tok.no_padding()
    return tok


def frequencies(corpus: Corpus, size: int) -> Tensor:
    """Inverse document frequency of every token id over the training segments, scaled to at most 1."""
    seen = np.zeros(size)
    for s in corpus.segments:
        seen[np.unique(s.ids)] += 1
    n = len(corpus.segments)
    return torch.tensor(np.log((n + 1) / (seen + 1)) / math.log(n + 1), dtype=torch.float32)


def examples(inputs: Sequence[Sequence[int]], count: int = 48) -> list[np.ndarray]:
    """Some training inputs, evenly spread: what the int8 encoder is fitted to."""
    return [np.asarray(i, np.int64) for i in inputs[:: max(1, len(inputs) // count)]]


def served(folder: Path) -> Path:
    """The int8 encoder of a model folder."""
    return folder / Card.read(folder).files["cpu-int8"][0]


def encode_with(network: Network, c: TrainConfig, inputs: Sequence[Sequence[int]], folder: Path | None) -> Encode:
    """How training inputs are encoded: int8 ONNX as served on a CPU, the network itself elsewhere.

    The encoder of `folder`, if there is one, is taken as it is.
    """
    if c.device == "cpu":
        from ..export import encoder_to_int8, int8_encoder

        if folder is None:
            encoder_to_int8(network, c.work, c.work / "encoder.int8.onnx", examples(inputs))
        return int8_encoder(served(folder) if folder else c.work / "encoder.int8.onnx")
    encoder = network.to(c.device).eval()

    @torch.no_grad()
    def run(ids: np.ndarray) -> np.ndarray:
        t = torch.from_numpy(ids)[None].to(c.device)
        with torch.autocast(c.device, torch.float16):
            return encoder.encode(t, torch.full_like(t, 2))[0].float().cpu().numpy()

    return run


ROWS = 6  # that `Whole` runs together: all 36 of a step, padded to the longest, took a sixth longer on two cores


class Whole(nn.Module):
    """Encoder and interaction as one block over ids, `layers` upper layers of the encoder trained along."""

    def __init__(self, network: Network, layers: int) -> None:
        super().__init__()
        self.network = network
        network.encoder.layers[-layers:].requires_grad_(True)

    def forward(self, ids: Tensor, _: Tensor, query: Tensor, segment: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        width, parts = ids.shape[1], query + 2 * segment.long()
        lengths = (parts > 0).sum(1)
        order = lengths.argsort()
        found = []
        for rows in order.split(ROWS):
            n = int(lengths[rows].max())
            keep, agnostic, relevance = self.network(ids[rows, :n], parts[rows, :n])
            found.append((F.pad(keep, (0, width - n)), F.pad(agnostic, (0, width - n)), relevance))
        keep, agnostic, relevance = (torch.cat(part)[order.argsort()] for part in zip(*found, strict=True))
        return keep, agnostic, relevance


def prepare(c: TrainConfig, folder: Path | None) -> tuple[Network, Batcher]:
    """Read the data, build the network on the encoder of a model folder, if any, or else of the base.

    Every input is encoded once, if the encoder is to stay as it is.
    """
    tok = open_tokenizer(c.base)
    corpus = load(c.data, tok, seed=c.seed, limit=c.limit)
    dels = deletions(c.data, tok, corpus, c.limit)
    config = NetworkConfig()
    network = Network(config, frequencies(corpus, config.vocab_size))
    if folder:
        network.encoder.load_state_dict(encoder_weights(served(folder)))
    else:
        network.encoder.load_minilm(c.base)
    network.encoder.requires_grad_(False)
    inputs = [s.ids for s in corpus.segments]
    inputs += [q.ids for qs in corpus.questions.values() for q in qs]
    inputs += [d.segment.ids for d in dels]
    c.work.mkdir(parents=True, exist_ok=True)
    if c.unfrozen:
        return network, Batcher(corpus, dels, Fresh(inputs), inputs)
    encoder = digest(served(folder) if folder else c.base / "model.safetensors")
    store = StateStore(c.work / "states.f16", inputs, config.width, f"{encoder} on {c.device}")
    store.fill(inputs, encode_with(network, c, inputs, folder), c.threads)
    return network, Batcher(corpus, dels, store, inputs)


def train(c: TrainConfig) -> Path:
    """Train the interaction block, and what of the encoder is not frozen; returns the path of the checkpoint."""
    if finished(c, "encoder"):
        return c.work / "checkpoint.pt"
    torch.manual_seed(c.seed)
    torch.set_num_threads(c.threads)
    network, batcher = prepare(c, c.begin)
    if c.begin:
        fill(network.interaction, c.begin / "interaction.safetensors")
    block = Whole(network, c.unfrozen) if c.unfrozen else network.interaction

    def loss(asked: Batch, unasked: Batch | None) -> tuple[Tensor, dict[str, float]]:
        return total(block_losses(block, asked, unasked))

    return fit(c, block, batcher, loss)
