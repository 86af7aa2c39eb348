"""The torch network behind `late.v1`: states of a segment as small cached codes, and a light head over them.

A segment is encoded alone and its token states are kept as int8 codes, so a new question costs one short forward of
the question and the head (late interaction: Khattab & Zaharia 2020, ColBERT; compressed states: Santhanam et al.
2022, ColBERTv2; cached states under a joint head: MacAvaney et al. 2020, PreTTR). Trained to agree with
`Interaction` over the full states.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .network import FEATURES, JointLayer, bias_of, window_mean

LEVELS = 32  # code levels per standard deviation: int8 reaches four of them to either side


@dataclass(frozen=True, kw_only=True)
class LateConfig:
    """Sizes of the coder and the head; written beside the weights."""

    states: int = 768
    code: int = 112  # bytes of a token's code
    match: int = 64  # dimensions in which query and segment tokens are compared
    joint_hidden: int = 192
    joint_inner: int = 384
    joint_heads: int = 4
    joint_layers: int = 2

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)


class Side(NamedTuple):
    """One side of a pair: token ids [B, T], codes [B, T, C] and which positions are real, bool [B, T]."""

    ids: Tensor
    codes: Tensor
    real: Tensor


class Coder(nn.Module):
    """States [B, T, D] to whole numbers within int8, float [B, T, C]; gradients pass the rounding unchanged."""

    def __init__(self, c: LateConfig) -> None:
        super().__init__()
        self.project = nn.Linear(c.states, c.code)

    def forward(self, states: Tensor) -> Tensor:
        x = self.project(F.layer_norm(states, (self.project.in_features,))) * LEVELS
        x = x.clamp(-127.0, 127.0)
        return x + (x.round() - x).detach() if self.training else x.round()

    def start(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Begin as whitened principal components of `states` [N, D]; returns their directions and spreads."""
        x = F.layer_norm(states, states.shape[-1:]).double()
        mean = x.mean(0)
        spread, directions = torch.linalg.eigh((x - mean).T @ (x - mean) / len(x))
        count = self.project.out_features
        w = directions[:, -count:].flip(1)
        s = spread[-count:].flip(0).sqrt()
        weight = (w / s).T
        with torch.no_grad():
            self.project.weight.copy_(weight)
            self.project.bias.copy_(-weight @ mean)
        return (w * s).float(), mean.float()


class LateMatch(nn.Module):
    """`MatchFeatures` between two sides, cosines taken in a small learned space; [B, S, FEATURES]."""

    def __init__(self, c: LateConfig, idf: Tensor) -> None:
        super().__init__()
        self.space = nn.Linear(c.code, c.match)
        self.register_buffer("idf", idf)

    def start(self, directions: Tensor, mean: Tensor) -> None:
        """Begin with the cosines of the last layer's own states, as far as the codes hold them."""
        top = len(mean) // 2
        w, m = directions[-top:], mean[-top:]
        u = torch.linalg.svd(torch.cat((w, m[:, None]), 1), full_matrices=False).U[:, : self.space.out_features]
        with torch.no_grad():
            self.space.weight.copy_(u.T @ w)
            self.space.bias.copy_(u.T @ m)

    def forward(self, query: Side, segment: Side) -> Tensor:
        q = self.space(query.codes) * query.real[..., None]
        s = self.space(segment.codes) * segment.real[..., None]
        same = (segment.ids[:, :, None] == query.ids[:, None, :]) & query.real[:, None, :]
        same = F.pad(same.to(s.dtype), (1, 1))  # never empty, whatever the query
        exact = same.amax(-1)
        pair = F.pad((same[:, :-1, :-1] * same[:, 1:, 1:]).amax(-1), (0, 1))
        phrase = torch.maximum(pair, F.pad(pair[:, :-1], (1, 0)))
        rare = exact * self.idf[segment.ids]
        cosine = F.pad(F.normalize(s, dim=-1) @ F.normalize(q, dim=-1).transpose(1, 2), (1, 0)).amax(-1)
        mean_q = F.normalize(q.sum(1), dim=-1)[:, :, None]
        near = [F.normalize(window_mean(s, w), dim=-1) @ mean_q for w in (15, 41)]
        whole = F.normalize(s.sum(1, keepdim=True), dim=-1) @ mean_q
        line = torch.stack((rare, phrase, cosine), -1)
        wide = [window_mean(line, 9)[..., :1], window_mean(line, 31)]
        columns = [line, *wide, *near, whole.expand(-1, s.shape[1], -1)]
        return torch.cat(columns, -1) * segment.real[..., None]


class LateHead(nn.Module):
    """From two sides' codes to logits: keep [B, S], agnostic keep [B, S], relevance [B]. The query may be empty."""

    def __init__(self, c: LateConfig, idf: Tensor) -> None:
        super().__init__()
        self.features = LateMatch(c, idf)
        self.scale = nn.BatchNorm1d(FEATURES, affine=False, momentum=0.01)
        self.of_query = nn.Linear(c.code, c.joint_hidden)
        self.of_segment = nn.Linear(c.code + FEATURES, c.joint_hidden)
        self.layers = nn.ModuleList(JointLayer(c) for _ in range(c.joint_layers))
        self.last = nn.LayerNorm(c.joint_hidden)
        self.keep = nn.Linear(c.joint_hidden + FEATURES, 1)
        self.agnostic = nn.Linear(c.joint_hidden, 1)
        self.relevance = nn.Linear(2 * c.joint_hidden + FEATURES, 1)
        nn.init.constant_(self.keep.bias, -2.0)

    def forward(self, query: Side, segment: Side) -> tuple[Tensor, Tensor, Tensor]:
        query, segment = (x._replace(codes=x.codes / LEVELS) for x in (query, segment))
        raw = self.features(query, segment)
        if self.training:
            self.scale(raw[segment.real].float())  # running statistics over real tokens only
        inside = segment.real[..., None]
        f = (raw - self.scale.running_mean) * (self.scale.running_var + 1e-5).rsqrt() * inside
        x = torch.cat((self.of_query(query.codes), self.of_segment(torch.cat((segment.codes, f), -1))), 1)
        real = torch.cat((query.real, segment.real), 1)
        bias = bias_of(real[:, None, :].expand(-1, real.shape[1], -1))
        for layer in self.layers:
            x = layer(x, bias)
        x = self.last(x)[:, query.ids.shape[1] :]
        keep = self.keep(torch.cat((x, f), -1)).squeeze(-1)
        mean = (x * inside).sum(1) / inside.sum(1).clamp(min=1)
        peak = x.masked_fill(~inside, -1e4).amax(1)
        best = f.masked_fill(~inside, -1e4).amax(1)
        relevance = self.relevance(torch.cat((mean, peak, best), -1)).squeeze(-1)
        return keep, self.agnostic(x).squeeze(-1), relevance


class Late(nn.Module):
    """Coder and head together, over the rows of a training batch: query first, then segment, then padding."""

    def __init__(self, c: LateConfig, idf: Tensor) -> None:
        super().__init__()
        self.config = c
        self.coder, self.head = Coder(c), LateHead(c, idf)

    def start(self, states: Tensor) -> None:
        """Give coder and features the geometry of the encoder, from a sample of its states [N, D]."""
        self.head.features.start(*self.coder.start(states))

    def forward(self, ids: Tensor, states: Tensor, query: Tensor, segment: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        codes = self.coder(states)
        n = int(query.sum(1).max())
        return self.head(Side(ids[:, :n], codes[:, :n], query[:, :n]), Side(ids, codes, segment))
