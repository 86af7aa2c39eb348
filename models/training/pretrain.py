"""Training of `laconic-lm` on next-token prediction: Wikipedia, meetings, medicine, and Python's own library."""

from __future__ import annotations

import json
import math
import random
import shutil
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from ..card import Card, digest
from ..export_lm import lm_to_onnx
from ..load import PROFILES
from ..onnx_lm import OnnxLM
from .data import CLS, SEP, held_out, read
from .encoder import open_tokenizer
from .fit import RunConfig
from .lm import CausalLM, config_of
from .losses import part_of
from .pilot import cases, evaluators
from .publish import ran

SHARDS = 5
OTHERS = ("qmsum", "medquad", "fairytale")  # passages; never more than OTHER_SHARE of the tokens, code another as much
OTHER_SHARE = 0.06
SERVED = 384  # text tokens of a segment: with title, question and what methods add it fills the positions
PILOT = 300  # questions that choose the evaluator heads
LICENCES = {
    "wikipedia": "CC BY-SA 3.0",
    "qmsum": "MIT",
    "medquad": "CC BY 4.0",
    "fairytale": "Apache-2.0",
    "Python standard library": "PSF-2.0",
}


@dataclass(frozen=True, kw_only=True)
class LmConfig(RunConfig):
    """What a run is made of; written into the card."""

    steps: int = 3000
    rate: float = 5e-4
    window: int = 512
    batch: int = 6
    warmup: int = 150
    decay: float = 0.05
    every: int = 200


def articles(folder: Path) -> list[str]:
    rows = [r for n in range(SHARDS) for r in read(folder / f"wikipedia-{n}.jsonl.xz")]
    return [f"{r['title']}. {r['text']}" for r in rows if not held_out(r["id"])]


def left_out(folder: Path, count: int = 60) -> list[str]:
    """Articles of the first shard that are never trained on, for the curve."""
    rows = [r for r in read(folder / "wikipedia-0.jsonl.xz") if held_out(r["id"])]
    return [f"{r['title']}. {r['text']}" for r in rows[:count]]


def others(folder: Path) -> list[str]:
    paths = [p for s in OTHERS if (p := folder / f"{s}.passages.jsonl.xz").exists()]
    return [row["text"] for p in paths for row in read(p) if not held_out(row["group"])]


def code() -> list[str]:
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    return [f.read_text(encoding="utf-8", errors="replace") for f in files]


def tokens(c: LmConfig) -> np.ndarray:
    """Token ids of all texts drawn for the run, one after the other, each ended by SEP; uint16, kept in `work`."""
    path, wanted = c.work / "tokens.u16", c.steps * c.batch * c.window
    if not path.exists():
        tok, rng = open_tokenizer(c.base), random.Random(c.seed)
        with path.with_suffix(".part").open("wb") as file:
            for texts, share in ((others(c.data), OTHER_SHARE), (code(), OTHER_SHARE), (articles(c.data), 1.0)):
                rng.shuffle(texts)
                left = int(wanted * share)
                for i in tqdm(range(0, len(texts), 64), desc="tokens", leave=False):
                    for e in tok.encode_batch(texts[i : i + 64], add_special_tokens=False):
                        np.array([*e.ids[:20_000], SEP], np.uint16).tofile(file)
                        left -= len(e.ids)
                    if left < 0:
                        break
        path.with_suffix(".part").rename(path)
    return np.memmap(path, np.uint16, mode="r")


def windows(stream: np.ndarray, c: LmConfig, step: int) -> Tensor:
    """The batch of one step [batch, window + 1], drawn by the step's number: a run resumes where it stopped."""
    rng = np.random.default_rng((c.seed, step))
    starts = rng.integers(0, len(stream) - c.window, c.batch)
    out = np.stack([np.append(CLS, stream[s : s + c.window]) for s in starts])
    return torch.from_numpy(out.astype(np.int64))


class Sampled:
    """Cross-entropy over part of the vocabulary: what is frequent, what the batch wants, and a sample of the rest.

    The sample stands for all of its stratum (see `part_of`), at a sixth of the head's work.
    """

    def __init__(
        self, stream: np.ndarray, vocabulary: int, seed: int, frequent: int = 2048, sample: int = 2048
    ) -> None:
        self.counts = np.bincount(stream, minlength=vocabulary)
        self.common = np.argsort(-self.counts, kind="stable")[:frequent]
        self.sample, self.rng = sample, np.random.default_rng(seed)

    def unigram(self) -> Tensor:
        """Logarithms of how often each token is seen: where the output bias begins."""
        return torch.from_numpy(np.log((self.counts + 0.1) / self.counts.sum())).float()

    def loss(self, table: Tensor, bias: Tensor | None, states: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy of `targets` [N] after states [N, H]; `table` [V, H] and `bias` [V] are the head's."""
        size = len(self.counts)
        certain = np.union1d(self.common, targets.cpu().numpy())
        rest = np.setdiff1d(np.arange(size), certain, assume_unique=True)
        drawn = self.rng.choice(rest, min(self.sample, len(rest)), replace=False)
        device = states.device
        chosen, raised, place = part_of(size, torch.from_numpy(certain).to(device), torch.from_numpy(drawn).to(device))
        logits = F.linear(states, table[chosen], raised if bias is None else bias[chosen] + raised)
        return F.cross_entropy(logits.float(), place[targets])


def mean_loss(model: CausalLM, ids: Tensor, device: str, sampled: Sampled | None = None) -> Tensor:
    ids = ids.to(device)
    positions = torch.arange(ids.shape[1] - 1, device=device)[None]
    states, targets = model(ids[:, :-1], positions).flatten(0, 1), ids[:, 1:].flatten()
    if sampled is None:
        return model.losses(states, targets).mean()
    return sampled.loss(model.encoder.word.weight, model.bias, states, targets)


@torch.no_grad()
def develop(model: CausalLM, c: LmConfig) -> float:
    """Mean surprisal per token, in nats, of articles left out."""
    tok = open_tokenizer(c.base)
    found = [e.ids[: c.window] for e in tok.encode_batch(left_out(c.data), add_special_tokens=False)]
    rows = [torch.tensor([[CLS, *ids]]) for ids in found if len(ids) == c.window]
    return float(np.mean([float(mean_loss(model, r, c.device)) for r in rows]))


def publish(model: CausalLM, c: LmConfig, target: Path, revision: str) -> dict[str, Any]:
    """Write the model folder and return its card; the fp32 graph stays in `work`."""
    target.mkdir(parents=True, exist_ok=True)
    lm_to_onnx(model, c.work, c.work, "cpu-fp32")
    files = lm_to_onnx(model, c.work, target, "cpu-int8")
    shutil.copy(c.base / "tokenizer.json", target / "tokenizer.json")
    log = [json.loads(line) for line in (c.work / "lm.jsonl").read_text().splitlines()]
    card = Card(
        name="laconic-lm",
        revision=revision,
        summary="a small causal language model over the encoder's vocabulary, for perplexity",
        licence="Apache-2.0",
        files={"cpu-int8": files, **{p: files for p, (runner, *_) in PROFILES.items() if runner == "torch"}},
        sha256={f: digest(target / f) for f in (*files, "tokenizer.json")},
        kind="causal",
        segment_tokens=SERVED,
        facts={
            "base": "sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), where all but the output head began",
            "parameters": sum(p.numel() for p in model.parameters()),
            "training": {
                **{f: getattr(c, f) for f in ("steps", "batch", "window", "warmup", "decay")},
                "tokens": len(tokens(c)),
                "tokens_drawn": c.steps * c.batch * c.window,
                "seconds": round(sum(seconds(log))),
                **ran(c),
            },
            "curve": [[r["step"] + 1, round(r["dev"], 3)] for r in log if "dev" in r],
            "data": {"licences": LICENCES},
            "limits": "English; far smaller and trained on far less than the models its methods were published with",
        },
    )
    pilot, backend = cases(c.data, open_tokenizer(c.base), PILOT, c.seed), OnnxLM(card, target / files[0], c.threads)
    heads, found = evaluators(backend, pilot)
    card = replace(card, evaluators=heads, facts={**card.facts, "evaluators": found})
    card.write(target)
    return asdict(card)


def seconds(log: list[dict[str, float]]) -> list[float]:
    """How long each stretch of a run took that may have been taken up again."""
    last = [a["seconds"] for a, b in pairwise(log) if b["seconds"] < a["seconds"]]
    return [*last, log[-1]["seconds"]]


def schedule(step: int, c: LmConfig) -> float:
    return min(1.0, (step + 1) / c.warmup) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / c.steps)))


def train(c: LmConfig) -> CausalLM:
    """The trained model; steps already done in `work` are not done again."""
    c.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(c.seed)
    torch.set_num_threads(c.threads)
    stream = tokens(c)
    model = warm(c, stream).to(c.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=c.rate, betas=(0.9, 0.95), weight_decay=c.decay)
    checkpoint, first = c.work / "lm.pt", 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        first = saved["step"]
    with (c.work / "lm.jsonl").open("a") as log:
        for record in steps(c, model, optimizer, stream, first):
            if "dev" in record:
                torch.save(
                    {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": record["step"] + 1},
                    checkpoint,
                )
            log.write(json.dumps(record) + "\n")
            log.flush()
    return model.cpu().eval()


def warm(c: LmConfig, stream: np.ndarray) -> CausalLM:
    """The encoder's weights, and an output that knows how often each token is seen."""
    model = CausalLM(config_of())
    model.encoder.load_minilm(c.base)
    with torch.no_grad():
        model.bias.copy_(Sampled(stream, model.config.vocab_size, c.seed).unigram())
    return model


def steps(
    c: LmConfig, model: CausalLM, optimizer: torch.optim.Optimizer, stream: np.ndarray, first: int
) -> Iterator[dict[str, float]]:
    start = time.time()
    sampled = Sampled(stream, model.config.vocab_size, c.seed + first)
    bar = tqdm(range(first, c.steps), initial=first, total=c.steps, desc="train")
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = c.rate * schedule(step, c)
        with torch.autocast(c.device, torch.bfloat16, enabled=c.device != "cpu"):
            loss = mean_loss(model, windows(stream, c, step), c.device, sampled)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        record = {"step": step, "loss": float(loss.detach()), "seconds": round(time.time() - start, 1)}
        if (step + 1) % c.every == 0 or step + 1 == c.steps:
            record["dev"] = develop(model, c)
        bar.set_postfix(loss=f"{record['loss']:.3f}", refresh=False)
        yield record
