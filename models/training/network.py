"""The torch network behind `laconic-mini`: a sentence encoder and a light interaction block.

Lower part: the BERT layers of all-MiniLM-L6-v2 (Wang et al. 2020, "MiniLM"), run on the query and on the
segment *separately* (block-diagonal attention, positions restart), so that the segment's states do not depend
on the query (deferred interaction, as in PreTTR, MacAvaney et al. 2020, and DeFormer, Cao et al. 2020).
Upper part: a projection of two of those layers plus explicit match features, a few joint transformer layers
over query and segment together, and one linear head per task.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

FEATURES = 10  # see MatchFeatures


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Sizes of the network; written beside the weights."""

    vocab_size: int = 30522
    hidden: int = 384
    heads: int = 12
    inner: int = 1536
    positions: int = 512
    layers: int = 6
    eps: float = 1e-12  # of the encoder's norms
    tapped: tuple[int, ...] = field(default=(4, 6))  # encoder layers whose states feed the interaction
    joint_hidden: int = 256
    joint_inner: int = 768
    joint_heads: int = 4
    joint_layers: int = 2

    @property
    def width(self) -> int:
        """Numbers in a token's tapped states."""
        return len(self.tapped) * self.hidden

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)


def bias_of(allowed: Tensor) -> Tensor:
    """Additive attention bias [B, 1, T, T] of a boolean [B, T, T]; finite, so no row turns into NaN."""
    return torch.where(allowed, 0.0, -3e4)[:, None]


class Attention(nn.Module):
    """Multi-head self-attention; `bias` [B, 1, T, T] is added to the logits (see `bias_of`)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        return self.out(y.transpose(1, 2).reshape(b, t, d))


class BertLayer(nn.Module):
    """One post-norm BERT layer (Devlin et al. 2019)."""

    def __init__(self, c: NetworkConfig) -> None:
        super().__init__()
        self.attention = Attention(c.hidden, c.heads)
        self.norm1 = nn.LayerNorm(c.hidden, eps=c.eps)
        self.up = nn.Linear(c.hidden, c.inner)
        self.down = nn.Linear(c.inner, c.hidden)
        self.norm2 = nn.LayerNorm(c.hidden, eps=c.eps)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        x = self.norm1(x + self.attention(x, bias))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


class Encoder(nn.Module):
    """BERT body over `input_ids` [B, T]; returns the tapped layers' states concatenated, [B, T, taps*hidden]."""

    def __init__(self, c: NetworkConfig) -> None:
        super().__init__()
        self.tapped = c.tapped
        self.word = nn.Embedding(c.vocab_size, c.hidden)
        self.position = nn.Embedding(c.positions, c.hidden)
        self.segment_type = nn.Parameter(torch.zeros(c.hidden))
        self.norm = nn.LayerNorm(c.hidden, eps=c.eps)
        self.layers = nn.ModuleList(BertLayer(c) for _ in range(c.layers))

    def forward(self, input_ids: Tensor, positions: Tensor, bias: Tensor, more: Tensor | None = None) -> Tensor:
        """`more` [B, T, hidden] is added to the embeddings."""
        x = self.norm(self.word(input_ids) + self.position(positions) + self.segment_type)
        if more is not None:
            x = x + more
        taps = []
        for i, layer in enumerate(self.layers, start=1):
            x = layer(x, bias)
            if i in self.tapped:
                taps.append(x)
        return torch.cat(taps, dim=-1)

    def load_minilm(self, folder: Path) -> None:
        """Copy the weights of a Hugging Face BERT checkpoint (`model.safetensors`) into this module."""
        self.load_state_dict(bert_weights(load_file(str(folder / "model.safetensors")), len(self.layers)))


def bert_weights(source: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """A Hugging Face checkpoint of the BERT or XLM-R family, with or without its prefix, under an Encoder's names."""
    src = {k.removeprefix("bert.").removeprefix("roberta."): v for k, v in source.items()}
    own: dict[str, Tensor] = {
        "word.weight": src["embeddings.word_embeddings.weight"],
        "position.weight": src["embeddings.position_embeddings.weight"],
        "segment_type": src["embeddings.token_type_embeddings.weight"][0],
        "norm.weight": src["embeddings.LayerNorm.weight"],
        "norm.bias": src["embeddings.LayerNorm.bias"],
    }
    for i in range(layers):
        a, b = f"encoder.layer.{i}.", f"layers.{i}."
        for kind in ("weight", "bias"):
            parts = [src[f"{a}attention.self.{n}.{kind}"] for n in ("query", "key", "value")]
            own[f"{b}attention.qkv.{kind}"] = torch.cat(parts)
            own[f"{b}attention.out.{kind}"] = src[f"{a}attention.output.dense.{kind}"]
            own[f"{b}norm1.{kind}"] = src[f"{a}attention.output.LayerNorm.{kind}"]
            own[f"{b}up.{kind}"] = src[f"{a}intermediate.dense.{kind}"]
            own[f"{b}down.{kind}"] = src[f"{a}output.dense.{kind}"]
            own[f"{b}norm2.{kind}"] = src[f"{a}output.LayerNorm.{kind}"]
    return own


def window_mean(x: Tensor, width: int) -> Tensor:
    """Mean over a centred window of `width` tokens; x [B, T, C] -> [B, T, C] (zeros beyond the ends).

    By running sums: ONNX Runtime's AveragePool took half the time of the interaction for the same numbers.
    """
    sums = F.pad(x, (0, 0, width // 2 + 1, width // 2)).cumsum(1)
    return (sums[:, width:] - sums[:, :-width]) / width


class MatchFeatures(nn.Module):
    """What needs no training: how each segment token agrees with the query; [B, T, FEATURES].

    Exact matches weighted by inverse document frequency (as in BM25), phrase matches, the best cosine to a
    query token (MaxSim, Khattab & Zaharia 2020, ColBERT), and the cosine of the mean query state with windows
    of the segment (the sentence-embedding geometry of the base model).
    """

    def __init__(self, c: NetworkConfig, idf: Tensor) -> None:
        super().__init__()
        self.hidden = c.hidden
        self.register_buffer("idf", idf)

    def forward(self, ids: Tensor, states: Tensor, query: Tensor, segment: Tensor) -> Tensor:
        top = states[..., -self.hidden :]
        q = query[:, None, :] & segment[:, :, None]  # [B, T, T]: row token in segment, column token in query
        same = (ids[:, :, None] == ids[:, None, :]) & q
        exact = same.any(-1)
        pair = F.pad((same[:, :-1, :-1] & same[:, 1:, 1:]).any(-1), (0, 1))
        phrase = (pair | F.pad(pair[:, :-1], (1, 0))).to(top.dtype)
        rare = exact.to(top.dtype) * self.idf[ids].to(top.dtype)
        unit = F.normalize(top, dim=-1)
        cosine = (unit @ unit.transpose(1, 2)).masked_fill(~q, -1.0).amax(-1)
        cosine = torch.where(segment, cosine, torch.zeros_like(cosine)).clamp(min=0.0)
        mean_q = F.normalize((top * query[..., None].to(top.dtype)).sum(1), dim=-1)[:, :, None]
        inside = top * segment[..., None].to(top.dtype)
        near = [F.normalize(window_mean(inside, w), dim=-1) @ mean_q for w in (15, 41)]
        whole = F.normalize(inside.sum(1, keepdim=True), dim=-1) @ mean_q
        line = torch.stack((rare, phrase, cosine), -1)
        wide = [window_mean(line, 9)[..., :1], window_mean(line, 31)]
        columns = [line, *wide, *near, whole.expand(-1, ids.shape[1], -1)]
        return torch.cat(columns, -1) * segment[..., None].to(top.dtype)


class Joint(Protocol):
    """Sizes of joint layers, whichever configuration they stand in."""

    @property
    def joint_hidden(self) -> int: ...
    @property
    def joint_inner(self) -> int: ...
    @property
    def joint_heads(self) -> int: ...


class JointLayer(nn.Module):
    """Pre-norm transformer layer over query and segment together; starts as the identity."""

    def __init__(self, c: Joint) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(c.joint_hidden)
        self.attention = Attention(c.joint_hidden, c.joint_heads)
        self.norm2 = nn.LayerNorm(c.joint_hidden)
        self.up = nn.Linear(c.joint_hidden, c.joint_inner)
        self.down = nn.Linear(c.joint_inner, c.joint_hidden)
        nn.init.zeros_(self.attention.out.weight)
        nn.init.zeros_(self.down.weight)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x), bias)
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Interaction(nn.Module):
    """From tapped states to scores: keep [B, T], agnostic keep [B, T], relevance [B], all logits."""

    def __init__(self, c: NetworkConfig, idf: Tensor) -> None:
        super().__init__()
        self.features = MatchFeatures(c, idf)
        self.scale = nn.BatchNorm1d(FEATURES, affine=False, momentum=0.01)
        self.norm = nn.LayerNorm(c.width)
        self.project = nn.Linear(c.width + FEATURES, c.joint_hidden)
        self.side = nn.Parameter(torch.randn(2, c.joint_hidden) * 0.02)
        self.layers = nn.ModuleList(JointLayer(c) for _ in range(c.joint_layers))
        self.last = nn.LayerNorm(c.joint_hidden)
        self.keep = nn.Linear(c.joint_hidden + FEATURES, 1)
        self.agnostic = nn.Linear(c.joint_hidden, 1)
        self.relevance = nn.Linear(2 * c.joint_hidden + FEATURES, 1)
        nn.init.constant_(self.keep.bias, -2.0)

    def forward(self, ids: Tensor, states: Tensor, query: Tensor, segment: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        raw = self.features(ids, states, query, segment)
        if self.training:
            self.scale(raw[segment])  # running statistics over real tokens only
        spread = (self.scale.running_var + 1e-5).rsqrt()
        f = (raw - self.scale.running_mean) * spread * segment[..., None]
        x = self.project(torch.cat((self.norm(states), f), -1))
        x = x + torch.where(segment[..., None], self.side[1], self.side[0])
        real = query | segment
        bias = bias_of(real[:, None, :].expand(-1, ids.shape[1], -1))
        for layer in self.layers:
            x = layer(x, bias)
        x = self.last(x)
        keep = self.keep(torch.cat((x, f), -1)).squeeze(-1)
        inside = segment[..., None]
        mean = (x * inside).sum(1) / inside.sum(1).clamp(min=1)
        peak = x.masked_fill(~inside, -1e4).amax(1)
        best = f.masked_fill(~inside, -1e4).amax(1)
        relevance = self.relevance(torch.cat((mean, peak, best), -1)).squeeze(-1)
        return keep, self.agnostic(x).squeeze(-1), relevance


class Network(nn.Module):
    """Whole graph as exported: `input_ids` [B, T] and `parts` [B, T] (0 padding, 1 query, 2 segment).

    The query part is `[CLS] query [SEP]`, the segment part `[CLS] segment [SEP]`, query first; without a query
    there is the segment part alone.
    """

    def __init__(self, c: NetworkConfig, idf: Tensor) -> None:
        super().__init__()
        self.config = c
        self.encoder = Encoder(c)
        self.interaction = Interaction(c, idf)

    def encode(self, ids: Tensor, parts: Tensor) -> Tensor:
        same = parts[:, :, None] == parts[:, None, :]
        order = torch.arange(ids.shape[1], device=ids.device)[None]
        start = (parts == 1).sum(1, keepdim=True)
        positions = torch.where(parts == 2, order - start, order).clamp(0, self.config.positions - 1)
        return self.encoder(ids, positions, bias_of(same))

    def forward(self, input_ids: Tensor, parts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        states = self.encode(input_ids, parts)
        keep, agnostic, relevance = self.interaction(input_ids, states, parts == 1, parts == 2)
        return keep, agnostic, relevance


def keep(state: Mapping[str, Tensor], path: Path) -> None:
    """Write weights as `fill` reads them: in half precision, whole numbers left out."""
    save_file({k: v.half().contiguous() for k, v in state.items() if v.is_floating_point()}, str(path))


def fill(module: nn.Module, path: Path) -> None:
    """Load published weights, kept in half precision; raises ValueError where they are another network's."""
    missing, unexpected = module.load_state_dict({k: v.float() for k, v in load_file(str(path)).items()}, strict=False)
    if unexpected or any("num_batches" not in k for k in missing):
        raise ValueError(f"{path} holds another network: {[*missing, *unexpected][:3]}")
