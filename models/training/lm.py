"""The torch network behind `laconic-lm`: a causal language model on the layers and vocabulary of all-MiniLM-L6-v2.

BERT as a decoder: the encoder's layers under a causal mask, BERT's own output head, its table that of the input (Press
& Wolf, EACL 2017). Starting from an encoder is the warm start of Rothe et al. (TACL 2020).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .network import Attention, Encoder, NetworkConfig


@dataclass
class Past:
    """Keys and values seen so far, of each layer: [B, heads, T, D]."""

    layers: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        if layer in self.layers:
            k, v = (torch.cat(pair, 2) for pair in zip(self.layers[layer], (k, v), strict=True))
        self.layers[layer] = k, v
        return k, v


class CausalAttention(nn.Module):
    """`Attention` that sees what stands before; in the place of a bias it takes the Past, or None."""

    def __init__(self, source: Attention, layer: int) -> None:
        super().__init__()
        self.qkv, self.out, self.heads, self.layer = source.qkv, source.out, source.heads, layer

    def forward(self, x: Tensor, past: Past | None) -> Tensor:
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        if past is None:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            k, v = past.extend(self.layer, k, v)
            seen = torch.ones(t, k.shape[2], dtype=torch.bool, device=x.device).tril(k.shape[2] - t)
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        return self.out(y.transpose(1, 2).reshape(b, t, d))


class CausalLM(nn.Module):
    """States [B, T, hidden] of ids [B, T], each from the ids up to it; `logits` reads the next id's off them."""

    def __init__(self, c: NetworkConfig) -> None:
        super().__init__()
        self.config = c
        self.encoder = Encoder(c)
        for i, layer in enumerate(self.encoder.layers):
            layer.attention = CausalAttention(layer.attention, i)
        self.head = nn.Sequential(nn.Linear(c.hidden, c.hidden), nn.GELU(), nn.LayerNorm(c.hidden, eps=1e-12))
        self.bias = nn.Parameter(torch.zeros(c.vocab_size))

    def forward(self, ids: Tensor, positions: Tensor, past: Past | None = None) -> Tensor:
        return self.head(self.encoder(ids, positions, past))

    def logits(self, states: Tensor) -> Tensor:
        return F.linear(states, self.encoder.word.weight, self.bias)

    def losses(self, states: Tensor, targets: Tensor) -> Tensor:
        """Surprisal in nats of `targets` [N] after the states [N, hidden]; float32 [N]."""
        return F.cross_entropy(self.logits(states).float(), targets, reduction="none")


def config_of(layers: int = 6) -> NetworkConfig:
    return NetworkConfig(layers=layers, tapped=(layers,))
