"""Train `laconic-mini`: `python -m laconic.models.training encoder --data DIR --out DIR` (see `__main__`)."""

from __future__ import annotations

import copy
import json
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from tqdm import tqdm

from . import losses
from .batches import Batch, Batcher
from .data import MIX, Corpus, Question, deletions, held_out, load
from .network import Network, NetworkConfig
from .states import Encode, StateStore


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What a run is made of; written into the card."""

    data: Path
    work: Path
    base: Path
    steps: int = 3000
    queries: int = 8
    segments: int = 6
    agnostic: int = 12
    longest: int = 112
    rate: float = 8e-4
    warmup: int = 200
    decay: float = 0.02
    average: float = 0.998
    seed: int = 17
    device: str = "cpu"
    threads: int = 2
    limit: int | None = None
    every: int = 500


def open_tokenizer(base: Path) -> Tokenizer:
    tok = Tokenizer.from_file(str(base / "tokenizer.json"))
    tok.no_truncation()
    tok.no_padding()
    return tok


def frequencies(corpus: Corpus, size: int) -> Tensor:
    """Inverse document frequency of every token id over the training segments, scaled to at most 1."""
    seen = np.zeros(size)
    for s in corpus.segments:
        seen[np.unique(s.ids)] += 1
    n = len(corpus.segments)
    return torch.tensor(np.log((n + 1) / (seen + 1)) / math.log(n + 1), dtype=torch.float32)


def encode_with(network: Network, device: str, work: Path) -> Encode:
    """How training inputs are encoded: int8 ONNX as served on a CPU, the network itself elsewhere."""
    if device == "cpu":
        from ..export import int8_encoder

        return int8_encoder(network, work)
    encoder = network.to(device).eval()

    @torch.no_grad()
    def run(ids: np.ndarray) -> np.ndarray:
        t = torch.from_numpy(ids)[None].to(device)
        with torch.autocast(device, torch.float16):
            return encoder.encode(t, torch.full_like(t, 2))[0].float().cpu().numpy()

    return run


def to_device(b: Batch, device: str) -> Batch:
    return Batch(**{k: v.to(device, non_blocking=True) for k, v in vars(b).items()})


def scores(network: Network, b: Batch) -> tuple[Tensor, Tensor, Tensor]:
    return network.interaction(b.ids, b.states, b.parts == 1, b.parts == 2)


def step_loss(network: Network, asked: Batch, unasked: Batch) -> tuple[Tensor, dict[str, float]]:
    """Sum of the losses over groups with a query and over segments without one, and each by name."""
    keep, _, relevance = scores(network, asked)
    parts = {
        "token": losses.token_loss(keep, asked),
        "sentence": losses.sentence_loss(keep, asked),
        "relevance": 0.5 * losses.relevance_loss(relevance, asked),
        "agnostic": 0.5 * losses.agnostic_loss(scores(network, unasked)[1], unasked),
    }
    return torch.stack(list(parts.values())).sum(), {k: float(v.detach()) for k, v in parts.items()}


def schedule(step: int, c: TrainConfig) -> float:
    warm = min(1.0, (step + 1) / c.warmup)
    return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / c.steps))))


def draw(corpus: Corpus, rng: random.Random) -> list[Question]:
    """One pass over the mix, small sets repeated, held-out groups left out."""
    out: list[Question] = []
    for source, questions in corpus.questions.items():
        usable = [q for q in questions if not held_out(q.group)]
        times = max(1, round(MIX[source][0] / max(1, len(questions))))
        out += usable * times
    rng.shuffle(out)
    return out


@torch.no_grad()
def develop(network: Network, batcher: Batcher, c: TrainConfig, per_source: int = 24) -> dict[str, float]:
    """Evidence recall at rate 0.25 and 0.1 of whole sentences on held-out groups, by source."""
    network.eval()
    rng = random.Random(5)
    out = {}
    for source, questions in batcher.corpus.questions.items():
        rows = [q for q in questions if held_out(q.group) and any(e for e, _ in q.gold.values())][:per_source]
        got: dict[float, list[float]] = {0.1: [], 0.25: []}
        for q in rows:
            b = to_device(batcher.pack(batcher.group(q, 0, 10, 240, rng)), c.device)
            keep = scores(network, b)[0]
            score, label, _, count = losses.sentence_scores(keep, b)
            order = score.argsort(descending=True)
            spent, held = count[order].cumsum(0), (label.clamp(min=0) * count)[order]
            for r, v in got.items():
                v.append(float(held[spent <= r * count.sum()].sum() / held.sum().clamp(min=1e-6)))
        if rows:
            out[source] = round(float(np.mean(got[0.25])), 3)
            out[f"{source}@0.1"] = round(float(np.mean(got[0.1])), 3)
    network.train()
    return out


def prepare(c: TrainConfig) -> tuple[Network, Batcher]:
    """Read the data, build the network on its base weights, encode every input once."""
    tok = open_tokenizer(c.base)
    corpus = load(c.data, tok, seed=c.seed, limit=c.limit)
    dels = deletions(c.data, tok, corpus, c.limit)
    config = NetworkConfig()
    network = Network(config, frequencies(corpus, config.vocab_size))
    network.encoder.load_minilm(c.base)
    network.encoder.requires_grad_(False)
    inputs = [s.ids for s in corpus.segments]
    inputs += [q.ids for qs in corpus.questions.values() for q in qs]
    inputs += [d.segment.ids for d in dels]
    c.work.mkdir(parents=True, exist_ok=True)
    store = StateStore(c.work / "states.f16", inputs, len(config.tapped) * config.hidden)
    store.fill(inputs, encode_with(network, c.device, c.work), c.threads)
    return network, Batcher(corpus, dels, store, inputs)


def train(c: TrainConfig) -> Path:
    """Train the interaction block; returns the path of the checkpoint (last weights and their running average)."""
    checkpoint = c.work / "checkpoint.pt"
    saved = torch.load(checkpoint, weights_only=True) if checkpoint.exists() else None
    if saved and saved["step"] >= c.steps:
        return checkpoint
    torch.manual_seed(c.seed)
    torch.set_num_threads(c.threads)
    network, batcher = prepare(c)
    network = network.to(c.device).train()
    mean = copy.deepcopy(network.interaction)
    trained = [p for p in network.interaction.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=c.rate, weight_decay=c.decay)
    log = (c.work / "log.jsonl").open("a")
    first = 0
    if saved:
        network.interaction.load_state_dict(saved["network"])
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
        bare = [batcher.agnostic(rng.choice(training), c.longest, rng) for _ in range(c.agnostic)]
        for group in optimizer.param_groups:
            group["lr"] = c.rate * schedule(step, c)
        with torch.autocast(c.device, torch.bfloat16, enabled=c.device != "cpu"):
            asked, unasked = (to_device(batcher.pack(x), c.device) for x in (items, bare))
            loss, parts = step_loss(network, asked, unasked)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        with torch.no_grad():
            for a, p in zip(mean.state_dict().values(), network.interaction.state_dict().values(), strict=True):
                a.lerp_(p, 1 - c.average) if a.is_floating_point() else a.copy_(p)
        record = {"step": step, "loss": float(loss.detach()), **parts, "seconds": round(time.time() - start, 1)}
        if (step + 1) % c.every == 0 or step + 1 == c.steps:
            held = copy.deepcopy(network)
            held.interaction = mean
            record["dev"] = develop(held, batcher, c)
            tqdm.write(json.dumps(record))
            saved = {"network": network.interaction.state_dict(), "mean": mean.state_dict(), "step": step + 1}
            torch.save({**saved, "optimizer": optimizer.state_dict()}, checkpoint)
        log.write(json.dumps(record) + "\n")
        log.flush()
        bar.set_postfix(loss=f"{record['loss']:.3f}", refresh=False)
    return checkpoint
