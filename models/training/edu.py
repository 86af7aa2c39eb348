"""The network that finds discourse units: where they begin, and what each depends on."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..marks import MARKS
from .network import Encoder, NetworkConfig

LINK, REACH = 128, 20  # dimensions in which units are compared; units of distance told apart


class Edu(nn.Module):
    """Where units begin, logits [B, T]; what `heads` needs to link them, [B, T, 2 * LINK + 2]; keep logits [B, T, 2].

    Links are each token's dependent and head vectors, its bias as a head and as a unit without one: linear, so that
    a unit's are the mean of its tokens'.
    """

    def __init__(self) -> None:
        super().__init__()
        c = NetworkConfig(tapped=(6,))
        self.encoder = Encoder(c)
        self.marks = nn.Linear(MARKS, c.hidden, bias=False)
        self.start = nn.Linear(c.hidden, 1)
        self.links = nn.Linear(c.hidden, 2 * LINK + 2)
        self.keep = nn.Linear(c.hidden, 2)
        self.distance = nn.Parameter(torch.zeros(2 * REACH + 1))
        nn.init.zeros_(self.marks.weight)

    def forward(self, ids: Tensor, positions: Tensor, bias: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.encoder(ids, positions, bias, self.marks(seen))
        return self.start(x)[..., 0], self.links(x), self.keep(x)

    def arcs(self, links: Tensor, unit: Tensor, count: int) -> Tensor:
        """Scores [N, N + 1] of every unit's head, the last column for none; `unit` [T] is -1 outside the text."""
        member = F.one_hot(unit.clamp(min=0), count).float() * (unit >= 0)[:, None]
        mean = (member / member.sum(0).clamp(min=1)).T @ links.float()
        dependent, head, bias, alone = mean.split([LINK, LINK, 1, 1], 1)
        i = torch.arange(count, device=links.device)
        apart = self.distance[(i[None] - i[:, None]).clamp(-REACH, REACH) + REACH]
        score = dependent @ head.T / math.sqrt(LINK) + bias.T + apart
        return torch.cat((score.masked_fill(torch.eye(count, dtype=torch.bool, device=links.device), -1e4), alone), 1)
