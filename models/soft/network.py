"""The generic soft compressor in torch: an encoder of Hugging Face's library, a pooling, a projector per decoder."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import SoftConfig

HEADS = 8  # of the layers that align latents and of the queries that read states


class Projector(nn.Module):
    """From the encoder's width to a decoder's embeddings: one linear map, or two with a GELU between."""

    def __init__(self, width: int, inner: int, out: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        sizes = (width, inner, out) if inner else (width, out)
        self.steps = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        for step in self.steps[:-1]:
            x = F.gelu(step(x))
        return self.steps[-1](x)


class Pool(nn.Module):
    """All behind the encoder: states of a segment to latents.

    Groups begin at the segment's first token, so what stands beside a segment has no part in its latents.
    """

    def __init__(self, c: SoftConfig, width: int) -> None:
        super().__init__()
        self.config = c
        self.layers = nn.Parameter(torch.zeros(len(c.gather)))
        learned = c.pooling in ("memory", "query")
        self.slots = nn.Parameter(torch.randn(c.slots, width) * 0.02) if learned else None
        self.attention = nn.MultiheadAttention(width, HEADS, batch_first=True) if c.pooling == "query" else None
        align = nn.TransformerEncoderLayer(
            width, HEADS, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.align = nn.TransformerEncoder(align, c.align, enable_nested_tensor=False) if c.align else None
        self.projectors = nn.ModuleDict(
            {slot(name): Projector(width, c.projector, w) for name, w in c.decoders.items()}
        )

    def gather(self, states: tuple[Tensor, ...]) -> Tensor:
        """Layers' states [B, T, H] mixed by learned weights (ComprExIT gathers depth before width)."""
        picked = [states[n] for n in self.config.gather]
        if len(picked) == 1:
            return picked[0]
        return torch.einsum("n,nbth->bth", self.layers.softmax(0), torch.stack(picked))

    def forward(self, states: Tensor, lengths: Tensor, rate: int, decoder: str = "") -> Tensor:
        """`states` [B, T, H] of text alone (of memory tokens where the pooling has them), right-padded, with
        `lengths` [B] of text; latents [B, G, width], those past `ceil(length / rate)` of a row without meaning.
        """
        x = self.pooled(states, lengths, rate)
        if self.align is not None:
            nothing = torch.arange(x.shape[1], device=x.device) >= groups(lengths, rate)[:, None]
            x = self.align(x, src_key_padding_mask=nothing)
        return self.projectors[slot(decoder or next(iter(self.config.decoders)))](x)

    def pooled(self, states: Tensor, lengths: Tensor, rate: int) -> Tensor:
        b, t, h = states.shape
        if self.config.pooling == "memory":
            return states
        if self.attention is not None and self.slots is not None:
            inside = torch.arange(t, device=states.device) < lengths[:, None]
            asked = self.slots[: -(-t // rate)].expand(b, -1, -1)
            return self.attention(asked, states, states, key_padding_mask=~inside, need_weights=False)[0]
        if self.config.pooling == "last":
            ends = (torch.arange(1, -(-t // rate) + 1, device=states.device) * rate).expand(b, -1)
            at = torch.minimum(ends, lengths[:, None]).clamp(min=1) - 1
            return states.gather(1, at[..., None].expand(-1, -1, h))
        return mean(states, lengths, rate)[0]


class SoftNetwork(nn.Module):
    """Segments to latents; `encoder` is a model of Hugging Face's library without a head."""

    def __init__(self, encoder: Any, c: SoftConfig) -> None:
        super().__init__()
        self.encoder, self.config = encoder, c
        self.pool = Pool(c, encoder.config.hidden_size)

    def forward(self, ids: Tensor, lengths: Tensor, rate: int, decoder: str = "") -> Tensor:
        """`ids` [B, T] of text, right-padded, with `lengths` [B]; see Pool for what comes out."""
        c, p = self.config, len(self.config.prefix)
        b, t = ids.shape
        embed = self.encoder.get_input_embeddings()
        behind = [embed(ids.new_tensor([c.suffix] * b))] if c.suffix else []
        if c.pooling == "memory" and self.pool.slots is not None:
            behind.append(self.pool.slots[: -(-t // rate)].expand(b, -1, -1).to(embed.weight.dtype))
        more = sum(x.shape[1] for x in behind)
        front = [embed(ids.new_tensor([c.prefix] * b))] if p else []
        x = torch.cat((*front, embed(ids), *behind), 1)
        order = self._order(lengths, p, t, more)
        x = x.gather(1, order[..., None].expand(-1, -1, x.shape[2]))
        own = groups(lengths, rate) if c.pooling == "memory" else 0  # a row sees no more slots than it fills
        found = self._encode(x, p + lengths + len(c.suffix) + own)
        if c.pooling == "memory":  # each row's own last positions
            at = (p + lengths + len(c.suffix))[:, None] + torch.arange(more - len(c.suffix), device=ids.device)
            states = found.gather(1, at[..., None].expand(-1, -1, found.shape[2]))
        else:
            states = found[:, p : p + t]
        latents = self.pool(states, lengths, rate, decoder)
        return latents + summed(embed(ids), lengths, rate) if c.skip else latents

    @staticmethod
    def _order(lengths: Tensor, p: int, t: int, more: int) -> Tensor:
        """Where in [prefix, text, padding, what stands behind] each position [B, p + t + more] of the input comes from:
        what stands behind follows a row's own text, its padding goes last."""
        at = torch.arange(p + t + more, device=lengths.device)
        end = (p + lengths)[:, None]
        behind = at - end + p + t
        return torch.where(at < end, at, torch.where(at < end + more, behind, at - more))

    def _encode(self, x: Tensor, lengths: Tensor) -> Tensor:
        at = torch.arange(x.shape[1], device=x.device)
        seen = at < lengths[:, None]
        mask: Tensor = seen.long()
        if not self.config.causal and not is_encoder(self.encoder):
            # a decoder's own mask is causal: an additive one of ours takes its place
            mask = torch.where(seen[:, None, None, :], 0.0, torch.finfo(x.dtype).min).to(x.dtype)
            mask = mask.expand(-1, 1, x.shape[1], -1)
        whole = tuple(self.config.gather) != (-1,)
        found = self.encoder(
            inputs_embeds=x,
            attention_mask=mask,
            output_hidden_states=whole,
        )
        return self.pool.gather(found.hidden_states if whole else (found.last_hidden_state,))


def mean(x: Tensor, lengths: Tensor, rate: int) -> tuple[Tensor, Tensor]:
    """Means over groups of `rate` of each row [B, T, H], [B, G, H], and how many are in each group, [B, G, 1]."""
    b, t, h = x.shape
    inside = torch.arange(t, device=x.device) < lengths[:, None]
    rows = F.pad(x * inside[..., None], (0, 0, 0, -t % rate)).view(b, -1, rate, h).sum(2)
    count = F.pad(inside, (0, -t % rate)).view(b, -1, rate).sum(2).clamp(min=1)[..., None]
    return rows / count, count


def summed(x: Tensor, lengths: Tensor, rate: int) -> Tensor:
    """Sums over groups, over the root of their number: as long as one of them is, where they are unlike each other."""
    found, count = mean(x, lengths, rate)
    return found * count.to(found.dtype).sqrt()


def is_encoder(model: Any) -> bool:
    """Whether the model's own attention looks both ways."""
    return hasattr(model.config, "type_vocab_size") and not model.config.is_decoder


def groups(lengths: Tensor, rate: int) -> Tensor:
    """Latents of each segment."""
    return (lengths + rate - 1) // rate


def slot(name: str) -> str:
    """A decoder's name as a module may have it."""
    return name.replace(".", "_")
