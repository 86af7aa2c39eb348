"""ARC-Encoder (Pilchen et al. 2025, arXiv 2510.20535): a bidirectional Llama whose last layer's queries are pooled.

Texts have no special tokens. Before the last layer, states are averaged over groups; the averages, at positions of
their own from 0 on, attend to the states they were made of. `ceil(T / rate)` groups are as even as they can be, the
longer ones first, so a partial group does not arise. No norm follows the last layer. A learned vector, which told the
decoder in training that text goes on, stands behind the latents of each segment: its latents are one more than its
groups. What was trained as reconstruction's mark (`rec_tok`) is not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from ..card import Card
from .arc_layout import Arc
from .backend import SoftBackend
from .checks import ONE


def open_arc(card: Card, folder: Path, device: str, dtype: str) -> SoftBackend:
    """The ARC-Encoder of a folder on a device; raises ValueError where the folder does not hold one, whole."""
    c = Arc.read(folder)
    with torch.device("meta"):  # sizes only: each weight goes from its file to its place
        network = ArcNetwork(c, list(card.latent.decoders if card.latent else ()))
    try:
        with safe_open(str(folder / ONE), framework="pt", device=device) as file:
            own = {name: file.get_tensor(name).to(getattr(torch, dtype)) for name in c.tensors()}
    except SafetensorError as e:
        raise ValueError(f"{folder / ONE} cannot be read: {e}") from None
    network.load_state_dict(own, assign=True)
    return SoftBackend(card, network.eval().requires_grad_(False), device)


class Norm(nn.Module):
    """Root mean square to 1, in fp32, then a weight for each column."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x: Tensor) -> Tensor:
        y = x.float()
        return (y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.eps)).to(x.dtype) * self.weight


def turned(x: Tensor, angles: Tensor) -> Tensor:
    """Neighbouring columns of x [B, T, heads, D] as points, turned by `angles` [T, D / 2], in fp32."""
    a, b = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2).to(x.dtype)


class Attention(nn.Module):
    """Queries of x [B, N, D] over keys and values of other [B, T, D]; several heads share one of keys and values."""

    def __init__(self, c: Arc) -> None:
        super().__init__()
        self.heads, self.shared, self.head, self.theta = c.heads, c.shared, c.head, c.theta
        self.wq = nn.Linear(c.dim, c.heads * c.head, bias=False)
        self.wk = nn.Linear(c.dim, c.shared * c.head, bias=False)
        self.wv = nn.Linear(c.dim, c.shared * c.head, bias=False)
        self.wo = nn.Linear(c.heads * c.head, c.dim, bias=False)

    def angles(self, x: Tensor) -> Tensor:
        """Of each position and pair of columns, [T, head / 2]."""
        steps = torch.arange(0, self.head, 2, device=x.device).float() / self.head
        return torch.outer(torch.arange(x.shape[1], device=x.device).float(), 1.0 / self.theta**steps)

    def forward(self, x: Tensor, other: Tensor, seen: Tensor) -> Tensor:
        """`seen` bool [B, T]: which of `other` is text."""
        q = turned(self.wq(x).unflatten(-1, (self.heads, self.head)), self.angles(x))
        k = turned(self.wk(other).unflatten(-1, (self.shared, self.head)), self.angles(other))
        v = self.wv(other).unflatten(-1, (self.shared, self.head))
        k, v = (z.repeat_interleave(self.heads // self.shared, 2).transpose(1, 2) for z in (k, v))
        y = F.scaled_dot_product_attention(q.transpose(1, 2), k, v, attn_mask=seen[:, None, None])
        return self.wo(y.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self, c: Arc) -> None:
        super().__init__()
        self.w1 = nn.Linear(c.dim, c.inner, bias=False)
        self.w2 = nn.Linear(c.inner, c.dim, bias=False)
        self.w3 = nn.Linear(c.dim, c.inner, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class Layer(nn.Module):
    """One layer of Llama's; where `other` is given, x attends to it and not to itself."""

    def __init__(self, c: Arc) -> None:
        super().__init__()
        self.attention, self.feed_forward = Attention(c), FeedForward(c)
        self.attention_norm, self.ffn_norm = Norm(c.dim, c.eps), Norm(c.dim, c.eps)

    def forward(self, x: Tensor, seen: Tensor, other: Tensor | None = None) -> Tensor:
        y = self.attention_norm(x)
        x = x + self.attention(y, y if other is None else self.attention_norm(other), seen)
        return x + self.feed_forward(self.ffn_norm(x))


def pooled(x: Tensor, lengths: Tensor, rate: int) -> tuple[Tensor, Tensor]:
    """Means [B, G, D] of even groups of at most `rate` of a row's states [B, T, D], and how many each row has, [B]."""
    groups = (lengths + rate - 1) // rate
    base, longer = lengths // groups, lengths % groups  # the first `longer` groups have one more than `base`
    at = torch.arange(x.shape[1], device=x.device)
    edge = (longer * (base + 1))[:, None]
    group = torch.where(at < edge, at // (base[:, None] + 1), longer[:, None] + (at - edge) // base[:, None])
    numbers = torch.arange(-(-x.shape[1] // rate), device=x.device)
    inside = (group[:, None] == numbers[:, None]) & (at < lengths[:, None])[:, None]  # [B, G, T]
    shares = inside / inside.sum(-1, keepdim=True).clamp(min=1)
    return (shares @ x.float()).to(x.dtype), groups


class Embedder(nn.Module):
    """Token ids to pooled states and, behind each row's own, its decoder's learned vector."""

    def __init__(self, c: Arc) -> None:
        super().__init__()
        self.tok_embeddings = nn.Embedding(c.vocabulary, c.dim)
        self.layers = nn.ModuleList([Layer(c) for _ in range(c.layers)])
        self.cont_tok = nn.ModuleList([nn.Embedding(1, c.dim) for _ in range(c.decoders)]) if c.ends else None
        self.pools = (0,) * (c.layers - len(c.pools)) + c.pools  # before each layer; 0: none

    def forward(self, ids: Tensor, lengths: Tensor, number: int) -> Tensor:
        x = self.tok_embeddings(ids)
        seen = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
        for pool, layer in zip(self.pools, self.layers, strict=True):
            if not pool:
                x = layer(x, seen)
                continue
            queries, lengths = pooled(x, lengths, pool)
            x = layer(queries, seen, x)
            seen = torch.arange(x.shape[1], device=ids.device) < lengths[:, None]
        if self.cont_tok is None:
            return x
        x = F.pad(x, (0, 0, 0, 1))
        x[torch.arange(len(x), device=x.device), lengths] = self.cont_tok[number].weight[0]
        return x


class Bridge(nn.Module):
    """From the encoder's width to a decoder's, linear all the way."""

    def __init__(self, c: Arc) -> None:
        super().__init__()
        self.norm = Norm(c.dim, 1e-5) if c.bridge == "rms" else None
        self.layer1 = nn.Linear(c.dim, c.out if c.bridge == "linear" else c.middle, bias=False)
        self.layer2 = None if c.bridge == "linear" else nn.Linear(c.middle, c.out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer1(x if self.norm is None else self.norm(x))
        return x if self.layer2 is None else self.layer2(x)


class ArcNetwork(nn.Module):
    """A `Network`, its modules named as their checkpoints name them; `names` are of the decoders, in their order."""

    def __init__(self, c: Arc, names: Sequence[str]) -> None:
        super().__init__()
        if len(names) != c.decoders:
            raise ValueError(f"{len(names)} decoders are on the card; the folder has {c.decoders}")
        self.vocabulary, self.ends = c.vocabulary, c.ends
        self.numbers = {name: n for n, name in enumerate(names)}
        self.embedder = Embedder(c)
        self.bridge_module: Any = None
        if c.bridge == "multi_module":
            self.bridge_module = nn.ModuleList([Bridge(c) for _ in range(c.decoders)])
        elif c.bridge is not None:
            self.bridge_module = Bridge(c)

    def count(self, tokens: int, rate: int) -> int:
        return -(-tokens // rate) + self.ends

    def forward(self, ids: Tensor, lengths: Tensor, rate: int, decoder: str) -> Tensor:
        """See `Network`; `rate` is the one it was trained with."""
        number = self.numbers[decoder]
        x = self.embedder(ids, lengths, number)
        if isinstance(self.bridge_module, nn.ModuleList):
            return self.bridge_module[number](x)
        return x if self.bridge_module is None else self.bridge_module(x)
