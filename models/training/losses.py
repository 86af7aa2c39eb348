"""The four training losses, one function each, all over the logits of one batch; the words of a sampled softmax."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .batches import Batch


def token_loss(logits: Tensor, b: Batch) -> Tensor:
    """Weighted binary cross-entropy of query-aware keep over labelled text tokens (as Provence, 2025)."""
    on = b.label >= 0
    return F.binary_cross_entropy_with_logits(logits[on], b.label[on], b.weight[on])


def agnostic_loss(logits: Tensor, b: Batch) -> Tensor:
    """Binary cross-entropy of query-agnostic keep over rows without a query (as LLMLingua-2, 2024)."""
    on = b.label >= 0
    return F.binary_cross_entropy_with_logits(logits[on], b.label[on])


def sentence_scores(logits: Tensor, b: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean logit, mean label, group and token count of every sentence; each [S]."""
    on = b.sentence >= 0
    row = torch.arange(len(b.group), device=logits.device)[:, None].expand_as(b.sentence)[on]
    key = row * 100_000 + b.sentence[on]
    _, which, count = key.unique(return_inverse=True, return_counts=True)
    zero = torch.zeros(len(count), device=logits.device)
    score = zero.index_add(0, which, logits[on].float()) / count
    label = zero.index_add(0, which, b.label[on]) / count
    group = zero.long().index_put((which,), b.group[row])
    return score, label, group, count


def sentence_loss(logits: Tensor, b: Batch) -> Tensor:
    """Listwise: each evidence sentence against all sentences of its query's passages that are not evidence."""
    score, label, group, count = sentence_scores(logits, b)
    good, bad = label >= 0.5, (label >= 0) & (label < 0.2) & (count >= 3)
    return against(score, group, good, bad)


def relevance_loss(logits: Tensor, b: Batch) -> Tensor:
    """Listwise over the segments of a query, plus the plain binary loss that keeps it a probability."""
    plain = F.binary_cross_entropy_with_logits(logits, b.relevant)
    return plain + against(logits, b.group, b.relevant > 0, b.relevant == 0)


def against(score: Tensor, group: Tensor, good: Tensor, bad: Tensor) -> Tensor:
    """Mean over `good` of -log softmax(own score, scores of `bad` in the same group)."""
    rival = (group[good][:, None] == group[bad][None]) if good.any() else None
    if rival is None or not rival.any():
        return score.sum() * 0
    others = score[bad][None].expand_as(rival).masked_fill(~rival, -1e4)
    everything = torch.cat((score[good][:, None], others), 1)
    return (torch.logsumexp(everything, 1) - score[good]).mean()


def part_of(size: int, certain: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A softmax over part of `size` words: those `certain`, and some `drawn` from all others that stand for them.

    The words, what each one's logit is raised by, and where among them each of all words stands, [size]. Raised by
    how many each stands for, the sum is unbiased (importance sampling as in Jean et al., ACL 2015, section 3).
    """
    chosen = torch.cat((certain, drawn))
    raised = torch.zeros(len(chosen), device=chosen.device)
    if len(drawn):
        raised[len(certain) :] = math.log((size - len(certain)) / len(drawn))
    place = torch.zeros(size, dtype=torch.long, device=chosen.device)
    place[chosen] = torch.arange(len(chosen), device=chosen.device)
    return chosen, raised, place
