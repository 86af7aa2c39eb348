"""Token classifiers as LLMLingua-2's (Pan et al., ACL Findings 2024): BERT and XLM-R checkpoints on our own encoder.

Hugging Face folders as they are, packed without padding as in `torch_backend`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from .backend import Input, ModelOutput
from .card import Card
from .hf import config, weights
from .torch_backend import CPU_BUDGET, Layout, packed
from .training.network import Encoder, NetworkConfig, bert_weights

ROBERTA = {"bert": False, "xlm-roberta": True}  # whose way each model type has of counting positions
GPU_BUDGET = 32_768


def sizes(facts: dict[str, Any]) -> NetworkConfig:
    """The encoder that a `config.json` describes; raises ValueError for one that ours is not."""
    if facts.get("model_type") not in ROBERTA:
        raise ValueError(f"classifiers of type {facts.get('model_type')} are not supported, only {', '.join(ROBERTA)}")
    for name, only in (("hidden_act", "gelu"), ("position_embedding_type", "absolute")):
        if facts.get(name, only) != only:
            raise ValueError(f"{name} {facts[name]} is not supported, only {only}")
    layers = facts["num_hidden_layers"]
    return NetworkConfig(
        vocab_size=facts["vocab_size"] + 1,  # see with_mean
        hidden=facts["hidden_size"],
        heads=facts["num_attention_heads"],
        inner=facts["intermediate_size"],
        positions=facts["max_position_embeddings"],
        layers=layers,
        eps=facts.get("layer_norm_eps", 1e-12),
        tapped=(layers,),
    )


def with_mean(table: Tensor) -> Tensor:
    """One more row, the mean of all: what tokens added to the vocabulary read as (Hewitt 2021)."""
    return torch.cat((table, table.mean(0, keepdim=True)))


def open_classifier(card: Card, folder: Path, device: str, dtype: str) -> ClassifierBackend:
    """The classifier of a Hugging Face folder on a device.

    Raises RuntimeError where there is no such device, ValueError where the folder holds another network.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("torch sees no GPU; the profile torch-fp32 needs none")
    facts = config(folder)
    encoder, last = read_network(folder, facts)
    roberta = ROBERTA[facts["model_type"]]
    return ClassifierBackend(card, encoder, last, padding_of(facts), roberta, device, getattr(torch, dtype))


def padding_of(facts: dict[str, Any]) -> int:
    """The id of padding that a `config.json` names, or its family's own; RoBERTa's positions begin after it."""
    padding = facts.get("pad_token_id")
    return int(ROBERTA[facts["model_type"]]) if padding is None else int(padding)


def read_network(folder: Path, facts: dict[str, Any]) -> tuple[Encoder, nn.Linear]:
    """Encoder and head of a Hugging Face folder, fp32 on the CPU; raises ValueError where it holds another network."""
    try:
        c = sizes(facts)
        held = {k: v.float() for name in weights(folder) for k, v in load_file(str(folder / name)).items()}
        own = bert_weights(held, c.layers)
        head = {k: held[f"classifier.{k}"] for k in ("weight", "bias")}
    except KeyError as e:
        raise ValueError(f"{folder} holds another network: no {e.args[0]}") from None
    except SafetensorError as e:
        raise ValueError(f"{folder} has weights that cannot be read: {e}") from None
    own["word.weight"] = with_mean(own["word.weight"])
    with torch.device("meta"):  # sizes only: the weights are there already
        encoder, last = Encoder(c), nn.Linear(c.hidden, 2)
    encoder.load_state_dict(own, assign=True)
    last.load_state_dict(head, assign=True)
    return encoder, last


class ClassifierBackend:
    """A `Forward` over an encoder and a head of two labels; thread-safe. Queries are not read.

    A token's score is the logit of label 1 less that of label 0. Ids past the vocabulary are tokens added to it.
    """

    def __init__(
        self,
        card: Card,
        encoder: Encoder,
        head: nn.Linear,
        padding: int,
        roberta: bool,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.card, self.device, self.padding, self.roberta = card, torch.device(device), padding, roberta
        self.encoder = packed(encoder).eval().requires_grad_(False).to(self.device, dtype)
        self.head = head.requires_grad_(False).to(self.device)
        self.added = encoder.word.weight.shape[0] - 1  # the row of all added tokens
        self.budget = CPU_BUDGET if self.device.type == "cpu" else GPU_BUDGET

    def seen(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of a sequence's tokens the model sees, bool [T], and the position of each that it sees.

        BERT's positions count padding, which nothing attends to; RoBERTa's do not count it, and begin after its id.
        """
        real = ids != self.padding
        if self.roberta:
            return np.ones(len(ids), bool), np.cumsum(real) * real + self.padding
        return real, np.flatnonzero(real)

    @torch.inference_mode()
    def forward(self, inputs: Sequence[Input], alone: bool) -> list[Any]:
        these: list[Any] = list(inputs)
        ids = [np.array(i.segment, np.int64) for i in these]
        seen = [self.seen(i) for i in ids]
        try:
            scores = self._scores([i[real] for i, (real, _) in zip(ids, seen, strict=True)], [p for _, p in seen])
        except torch.OutOfMemoryError as e:
            torch.cuda.empty_cache()
            raise MemoryError(str(e)) from None
        out = []
        for i, (real, _), found in zip(these, seen, scores, strict=True):
            keep = np.zeros(len(real), np.float32)
            keep[real] = found
            keep = keep[i.skip : i.skip + i.count]
            out.append(ModelOutput(keep=keep, agnostic=keep, relevance=0.0))
        return out

    def _scores(self, ids: Sequence[np.ndarray], positions: Sequence[np.ndarray]) -> list[np.ndarray]:
        """A score for each token of each sequence, all packed into one forward."""
        lengths = [len(i) for i in ids]
        known = torch.from_numpy(np.minimum(np.concatenate(ids), self.added)).to(self.device)
        at = torch.from_numpy(np.concatenate(positions)).to(self.device)
        logits = self.head(self.encoder(known, at, Layout.of(lengths, self.device)).float())
        scores = (logits[:, 1] - logits[:, 0]).cpu()
        return [s.numpy() for s in scores.split(lengths)]
