"""BERT's parameters and sizes under the names that Hugging Face's library gives them."""

from __future__ import annotations

import torch
from torch import Tensor


def hf_sizes(own: dict[str, Tensor]) -> dict[str, int]:
    """Sizes of an Encoder's parameters, by the names of BertConfig; heads are 32 wide."""
    vocabulary, hidden = own["word.weight"].shape
    return {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": 1 + max(int(k.split(".")[1]) for k in own if k.startswith("layers.")),
        "num_attention_heads": hidden // 32,
        "intermediate_size": own["layers.0.up.weight"].shape[0],
        "max_position_embeddings": own["position.weight"].shape[0],
    }


def hf_names(own: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """An Encoder's parameters under the names of BertModel."""
    e, segment = "embeddings.", own["segment_type"]
    out = {
        f"{e}word_embeddings.weight": own["word.weight"],
        f"{e}position_embeddings.weight": own["position.weight"],
        f"{e}token_type_embeddings.weight": torch.stack((segment, torch.zeros_like(segment))),
    }
    pairs = [("norm", f"{e}LayerNorm")]
    for i in range(layers):
        a, b = f"layers.{i}.", f"encoder.layer.{i}."
        pairs += [
            (f"{a}attention.out", f"{b}attention.output.dense"),
            (f"{a}norm1", f"{b}attention.output.LayerNorm"),
            (f"{a}up", f"{b}intermediate.dense"),
            (f"{a}down", f"{b}output.dense"),
            (f"{a}norm2", f"{b}output.LayerNorm"),
        ]
        for kind in ("weight", "bias"):
            parts = own[f"{a}attention.qkv.{kind}"].chunk(3)
            out |= {f"{b}attention.self.{n}.{kind}": p for n, p in zip(("query", "key", "value"), parts, strict=True)}
    return out | {f"{theirs}.{k}": own[f"{ours}.{k}"] for ours, theirs in pairs for k in ("weight", "bias")}
