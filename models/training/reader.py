"""The decoder of a soft compressor in training: embeddings in, the states behind which targets are wanted out."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from .losses import part_of
from .reading import Row

SAMPLE = 4096  # of a vocabulary: what stands for the words that no target of the batch is


class Reader(nn.Module):
    """The decoder of a run: rows of latents and ids in, the states behind which targets are wanted out.

    Its output head passes states on, whatever the architecture calls it: a sampled softmax stands in for it.
    """

    def __init__(self, model: Any, spread: bool) -> None:
        super().__init__()
        head = model.get_output_embeddings()
        self.table, self.bias = head.weight, getattr(head, "bias", None)
        head.forward = lambda states: states
        self.model, self.head, self.spread = model, [head], spread  # in a list: it is no module of its own

    def whole(self) -> Any:
        """The decoder with its head at work again."""
        del self.head[0].forward
        return self.model

    def embed(self, ids: Sequence[int]) -> Tensor:
        return self.model.get_input_embeddings()(torch.tensor(ids, dtype=torch.long, device=self.table.device))

    def row(self, start: Sequence[int], latents: Tensor, at: Tensor, row: Row) -> tuple[Tensor, Tensor]:
        """Embeddings [L, H] and positions [L] of one row; `at` [G] is where in the text each latent stands."""
        n, begin = len(row.text), len(start)
        x = torch.cat((self.embed(start), latents, self.embed(row.then)))
        then = torch.arange(len(row.then)) + (begin - 1 if row.same else begin + n)
        return x, torch.cat((torch.arange(begin), begin + at, then))

    def forward(self, rows: Sequence[tuple[Tensor, Tensor]], wanted: Sequence[Sequence[int]]) -> Tensor:
        """States that what is `wanted` of each row is predicted from, [all of them, H]; places count from its end."""
        x = pad_sequence([e for e, _ in rows], batch_first=True)
        lengths = [len(e) for e, _ in rows]
        mask = torch.arange(x.shape[1])[None] < torch.tensor(lengths)[:, None]
        more = (
            {"position_ids": pad_sequence([p for _, p in rows], batch_first=True).to(x.device)} if self.spread else {}
        )
        states = self.model(inputs_embeds=x, attention_mask=mask.long().to(x.device), use_cache=False, **more).logits
        picked = [s[[n - 1 + w for w in places]] for s, n, places in zip(states, lengths, wanted, strict=True)]
        return torch.cat(picked)

    def loss(self, states: Tensor, targets: Tensor, rng: random.Random | None = None) -> Tensor:
        """Mean cross-entropy; with `rng` over the batch's words and a sample of the others that stands for all."""
        if rng is None:
            return F.cross_entropy(F.linear(states, self.table, self.bias).float(), targets)
        size = len(self.table)
        inside = torch.zeros(size, dtype=torch.bool, device=targets.device)
        inside[targets] = True
        rest = (~inside).nonzero()[:, 0]
        drawn = rest[torch.tensor(rng.sample(range(len(rest)), min(SAMPLE, len(rest))), device=rest.device)]
        chosen, raised, place = part_of(size, inside.nonzero()[:, 0], drawn)
        logits = F.linear(states, self.table[chosen], None if self.bias is None else self.bias[chosen]).float() + raised
        return F.cross_entropy(logits, place[targets])
