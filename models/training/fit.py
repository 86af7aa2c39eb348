"""The training loop that every block over stored states shares: draw, step, average, check, save, resume."""

from __future__ import annotations

import copy
import json
import math
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from . import losses
from .batches import Batch, Batcher
from .data import Corpus, Question, drawn, held_out

Block = TypeVar("Block", bound=nn.Module)
Loss = Callable[[Batch, Batch | None], tuple[Tensor, dict[str, float]]]  # with a query, without one if there are any


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What every training run is made of; written into the card."""

    data: Path
    work: Path
    base: Path
    rate: float = 8e-4
    seed: int = 17
    device: str = "cpu"
    threads: int = 2


@dataclass(frozen=True, kw_only=True)
class TrainConfig(RunConfig):
    """A run over stored states."""

    steps: int = 3000
    queries: int = 8
    segments: int = 6
    agnostic: int = 12
    longest: int = 112
    warmup: int = 200
    decay: float = 0.02
    average: float = 0.998
    limit: int | None = None
    every: int = 500
    begin: Path | None = None  # model folder whose weights are trained on
    unfrozen: int = 0  # upper layers of the encoder that are trained along
    slow: float = 0.3  # their learning rate, in those of the rest


def to_device(b: Batch, device: str) -> Batch:
    return Batch(**{k: v.to(device, non_blocking=True) for k, v in vars(b).items()})


def scores(block: nn.Module, b: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of keep [B, T], agnostic keep [B, T] and relevance [B] of an `Interaction` or a `Late`."""
    return block(b.ids, b.states, b.parts == 1, b.parts == 2)


def label_losses(keep: Tensor, relevance: Tensor, asked: Batch) -> dict[str, Tensor]:
    """The losses of groups with a query against their labels, by name."""
    return {
        "token": losses.token_loss(keep, asked),
        "sentence": losses.sentence_loss(keep, asked),
        "relevance": 0.5 * losses.relevance_loss(relevance, asked),
    }


def agnostic_loss(agnostic: Tensor, unasked: Batch) -> Tensor:
    """That of segments without a query."""
    return 0.5 * losses.agnostic_loss(agnostic, unasked)


def block_losses(block: nn.Module, asked: Batch, unasked: Batch | None) -> dict[str, Tensor]:
    """The losses of a scorer against labels, by name."""
    keep, _, relevance = scores(block, asked)
    found = label_losses(keep, relevance, asked)
    return found | ({"agnostic": agnostic_loss(scores(block, unasked)[1], unasked)} if unasked else {})


def total(parts: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
    return torch.stack(list(parts.values())).sum(), {k: float(v.detach()) for k, v in parts.items()}


def schedule(step: int, c: TrainConfig) -> float:
    warm = min(1.0, (step + 1) / c.warmup)
    return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / c.steps))))


def draw(corpus: Corpus, rng: random.Random) -> list[Question]:
    """One pass over the mix, small sets repeated, held-out groups left out."""
    out: list[Question] = []
    for source, questions in corpus.questions.items():
        usable = [q for q in questions if not held_out(q.group)]
        times = max(1, round(drawn(source, questions) / max(1, len(questions))))
        out += usable * times
    rng.shuffle(out)
    return out


@torch.no_grad()
def develop(block: nn.Module, batcher: Batcher, c: TrainConfig, per_source: int = 24) -> dict[str, float]:
    """Evidence recall at rate 0.25 and 0.1 of whole sentences on held-out groups, by source."""
    block.eval()
    rng = random.Random(5)
    out = {}
    for source, questions in batcher.corpus.questions.items():
        rows = [q for q in questions if held_out(q.group) and any(e for e, _ in q.gold.values())][:per_source]
        got: dict[float, list[float]] = {0.1: [], 0.25: []}
        for q in rows:
            b = to_device(batcher.pack(batcher.group(q, 0, 10, 240, rng)), c.device)
            keep = scores(block, b)[0]
            score, label, _, count = losses.sentence_scores(keep, b)
            order = score.argsort(descending=True)
            spent, held = count[order].cumsum(0), (label.clamp(min=0) * count)[order]
            for r, v in got.items():
                v.append(float(held[spent <= r * count.sum()].sum() / held.sum().clamp(min=1e-6)))
        if rows:
            out[source] = round(float(np.mean(got[0.25])), 3)
            out[f"{source}@0.1"] = round(float(np.mean(got[0.1])), 3)
    block.train()
    return out


def by_pace(block: nn.Module, slow: float) -> list[dict[str, Any]]:
    """What is trained of a block, for an optimizer: the encoder's parameters, if any, at `slow` times the rate."""
    named = [(n, p) for n, p in block.named_parameters() if p.requires_grad]
    paces = {1.0: [p for n, p in named if "encoder." not in n], slow: [p for n, p in named if "encoder." in n]}
    return [{"params": p, "pace": pace} for pace, p in paces.items() if p]


class RunError(ValueError):
    """A work folder in which another run was begun."""


def finished(c: TrainConfig, what: str) -> bool:
    """Whether the run in the work folder is done; raises RunError if one was begun that is not this one."""
    told = {k: str(v) for k, v in asdict(c).items() if k not in ("work", "steps", "every", "threads", "device")}
    told |= {"what": what, "files": str([(p.name, p.stat().st_size) for p in sorted(c.data.glob("*.jsonl*"))])}
    noted, path = c.work / "run.json", c.work / "checkpoint.pt"
    begun = json.loads(noted.read_text()) if noted.exists() and path.exists() else told
    other = ", ".join(k for k, v in told.items() if begun.get(k) != v)
    if other:
        raise RunError(f"{c.work} holds a run that differs in: {other}. Give --work another folder, or remove it")
    c.work.mkdir(parents=True, exist_ok=True)
    noted.write_text(json.dumps(told, indent=1))
    return path.exists() and torch.load(path, weights_only=True)["step"] >= c.steps


def fit(c: TrainConfig, block: nn.Module, batcher: Batcher, loss: Loss) -> Path:
    """Train `block` in place; returns the path of the checkpoint (last weights and their running average)."""
    checkpoint = c.work / "checkpoint.pt"
    saved = torch.load(checkpoint, weights_only=True) if checkpoint.exists() else None
    block = block.to(c.device).train()
    mean = copy.deepcopy(block)
    groups = by_pace(block, c.slow)
    trained = [p for g in groups for p in g["params"]]
    optimizer = torch.optim.AdamW(groups, lr=c.rate, weight_decay=c.decay)
    log = (c.work / "log.jsonl").open("a")
    first = 0
    if saved:
        block.load_state_dict(saved["network"])
        mean.load_state_dict(saved["mean"])
        optimizer.load_state_dict(saved["optimizer"])
        first = saved["step"]
    training = [i for i, d in enumerate(batcher.deletions) if not held_out(d.segment.group)]
    queue: list[Question] = []
    bar = tqdm(range(first, c.steps), initial=first, total=c.steps, desc="train")
    start = time.time()
    for step in bar:
        rng = random.Random(c.seed * 1_000_003 + step)
        if len(queue) < c.queries:
            queue = draw(batcher.corpus, rng)
        items = []
        for g in range(c.queries):
            items += batcher.group(queue.pop(), g, c.segments, c.longest, rng)
        bare = [batcher.agnostic(rng.choice(training), c.longest, rng) for _ in range(c.agnostic if training else 0)]
        for group in optimizer.param_groups:
            group["lr"] = group["pace"] * c.rate * schedule(step, c)
        with torch.autocast(c.device, torch.bfloat16, enabled=c.device != "cpu"):
            asked = to_device(batcher.pack(items), c.device)
            value, parts = loss(asked, to_device(batcher.pack(bare), c.device) if bare else None)
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        with torch.no_grad():
            for a, p in zip(mean.state_dict().values(), block.state_dict().values(), strict=True):
                a.lerp_(p, 1 - c.average) if a.is_floating_point() else a.copy_(p)
        record = {"step": step, "loss": float(value.detach()), **parts, "seconds": round(time.time() - start, 1)}
        if (step + 1) % c.every == 0 or step + 1 == c.steps:
            record["dev"] = develop(mean, batcher, c)
            tqdm.write(json.dumps(record))
            saved = {"network": block.state_dict(), "mean": mean.state_dict(), "step": step + 1}
            torch.save({**saved, "optimizer": optimizer.state_dict()}, checkpoint)
        log.write(json.dumps(record) + "\n")
        log.flush()
        bar.set_postfix(loss=f"{record['loss']:.3f}", refresh=False)
    return checkpoint


def kept(block: nn.Module, batcher: Batcher, c: TrainConfig, per_source: int = 60) -> float:
    """The mean of what `develop` finds."""
    return float(np.mean(list(develop(block, batcher, c, per_source).values())))


def better(block: Block, c: TrainConfig, judge: Callable[[Block], float]) -> tuple[Block, str]:
    """The last weights or their running average, whichever `judge` puts higher."""
    saved = torch.load(c.work / "checkpoint.pt", weights_only=True)
    found = {}
    for name in ("network", "mean"):
        trial = copy.deepcopy(block)
        trial.load_state_dict(saved[name])
        found[name] = judge(trial), trial.eval()
    name = max(found, key=lambda n: found[n][0])
    return found[name][1], name
