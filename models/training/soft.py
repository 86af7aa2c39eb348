"""Training of soft compressors: `python -m laconic.models.training soft`, for our own decoder or for anyone's.

A decoder may be frozen (then its users need nothing but the latents) or learn to read along; an encoder is trained
whole, or by low-rank adapters that are merged in the end. Latents stand where the text they replace stood: their
positions are spread over its own where `spread` is on (EPL, Zhao et al. 2024, "Position IDs Matter"), which only
decoders that are told their positions can follow.
"""

from __future__ import annotations

import json
import math
import random
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from .. import hf
from ..soft.config import Pooling, SoftConfig
from ..soft.network import Projector, SoftNetwork, is_encoder
from . import lora
from .encoder import open_tokenizer
from .fit import RunConfig
from .publish import ran
from .reader import Reader
from .reading import APART, Passage, Prompts, Row, Rows, passages, texts

TASKS = ("again", "answer", "plain")
LENGTHS = (32, 48, 64, 96)  # tokens of a text to be said again


@dataclass(frozen=True, kw_only=True)
class SoftRun(RunConfig):
    """What a run is made of; written into the card. `encoder` and `decoder` are Hugging Face folders."""

    encoder: Path
    decoder: Path
    layers: int = 0  # of the encoder that are kept; 0: all
    rates: tuple[int, ...] = (2, 4, 8, 16)
    window: int = 96
    context: int = 192
    pooling: Pooling = "mean"
    gather: tuple[int, ...] = (-1,)
    align: int = 0
    adapters: int = 0  # rank of low-rank adapters in place of training the encoder whole
    decoder_too: bool = False
    spread: bool = False
    skip: bool = False
    shares: tuple[float, ...] = (0.6, 0.3, 0.1)  # of the tasks
    batch: int = 1536  # tokens of text in a step
    steps: int = 2000
    warmup: int = 60
    every: int = 200
    shards: tuple[int, ...] = (0,)
    prompts: Prompts = field(default_factory=Prompts)


class Trainer:
    """The two networks and how a batch goes through them; `rate` 1 is the text itself."""

    def __init__(self, c: SoftRun, network: SoftNetwork, reader: Reader, rows: Rows) -> None:
        self.c, self.network, self.reader, self.rows = c, network, reader, rows

    def compress(self, batch: Sequence[Row], rate: int) -> list[tuple[Tensor, Tensor]]:
        """Each row's latents [G, H] and where they stand [G]; at rate 1 the decoder's own embeddings of the text."""
        if rate == 1:
            return [(self.reader.embed(r.text), torch.arange(len(r.text))) for r in batch]
        w = self.c.window
        parts = [r.text[a : a + w] for r in batch for a in range(0, len(r.text), w)]
        if not parts:
            return [(self.reader.embed([]), torch.arange(0)) for _ in batch]
        device = self.reader.table.device
        ids = pad_sequence([torch.tensor(p) for p in parts], batch_first=True).to(device)
        latents = iter(self.network(ids, torch.tensor([len(p) for p in parts], device=device), rate))
        out = []
        for r in batch:
            starts = range(0, len(r.text), w)
            made = [next(latents)[: -(-min(w, len(r.text) - a) // rate)] for a in starts]
            at = [
                (a + torch.arange(len(m)) * rate + (rate - 1) // 2).clamp(max=len(r.text) - 1)
                for a, m in zip(starts, made, strict=True)
            ]
            out.append((torch.cat(made), torch.cat(at)) if made else (self.reader.embed([]), torch.arange(0)))
        return out

    def states(self, batch: Sequence[Row], rate: int) -> tuple[Tensor, Tensor]:
        """What targets are predicted from, [N, H], and the targets [N]."""
        rows = [
            self.reader.row(self.rows.start, latents, at, r)
            for (latents, at), r in zip(self.compress(batch, rate), batch, strict=True)
        ]
        targets = torch.tensor([r.then[n] for r in batch for n in r.wanted], device=self.reader.table.device)
        return self.reader(rows, [[n - len(r.then) for n in r.wanted] for r in batch]), targets


def build(c: SoftRun) -> Trainer:
    """Open both models; freeze and adapt them as the run says. Raises ValueError or OSError where one cannot be,
    CardError for a folder that would have code run.
    """
    from transformers import AutoModelForCausalLM

    from ..soft.generic import hf_encoder

    for folder in (c.encoder, c.decoder):
        hf.config(folder)  # which names no code of a hub
    encoder = hf_encoder(c.encoder, c.layers)
    config = encoder.config
    model = AutoModelForCausalLM.from_pretrained(c.decoder, use_safetensors=True, **hf.LOCAL)
    reader = Reader(model, c.spread)
    rows = Rows(open_tokenizer(c.encoder), open_tokenizer(c.decoder), c.prompts)
    around = rows.encoder.encode("").ids
    soft = SoftConfig(
        rates=c.rates,
        window=c.window,
        decoders={c.decoder.name: reader.table.shape[1]},
        pooling=c.pooling,
        gather=c.gather,
        align=c.align,
        projector=2 * config.hidden_size,
        skip=c.skip,
        prefix=around[: len(around) // 2],
        suffix=around[len(around) // 2 :],
        causal=not is_encoder(encoder) and c.pooling in ("memory", "last"),
    )
    soft.check()
    network = SoftNetwork(encoder, soft)
    if c.adapters:
        lora.adapt(encoder, c.adapters)
    encoder.get_input_embeddings().requires_grad_(False)
    if c.skip:
        encoder.set_input_embeddings(model.get_input_embeddings())
    reader.requires_grad_(c.decoder_too)
    for projector in network.pool.projectors.values():
        begin(projector, reader.table)
    return Trainer(c, network.to(c.device), reader.to(c.device), rows)


@torch.no_grad()
def begin(projector: Projector, table: Tensor) -> None:
    """Scale the projector so that latents are as long as the decoder's embeddings: positions are added to both."""
    found = projector(torch.randn(256, projector.norm.normalized_shape[0]))
    projector.steps[-1].weight *= table.std() / found.std()
    projector.steps[-1].bias.zero_()


def draw(c: SoftRun, rows: Rows, articles: Sequence[str], asked: Sequence[Passage], step: int) -> tuple[list[Row], int]:
    """The batch of one step and its rate, by the step's number: a run resumes where it stopped."""
    rng = random.Random(c.seed * 1_000_003 + step)
    task = rng.choices(TASKS, c.shares)[0]
    rate = rng.choice((1, *c.rates))
    if task == "answer":
        batch = [rows.answer(rng.choice(asked), c.context, rng) for _ in range(max(1, 2 * c.batch // c.context))]
        return batch, rate
    make = rows.again if task == "again" else rows.plain
    longest = rng.choice([n for n in LENGTHS if n <= c.window] or [c.window])
    if task == "plain":
        longest = 2 * c.context
    batch = []
    while len(batch) < max(1, c.batch // longest):
        if (row := make(rng.choice(articles), longest, rng)) is not None:
            batch.append(row)
    return batch, rate


@torch.no_grad()
def develop(t: Trainer, articles: Sequence[str], asked: Sequence[Passage]) -> dict[str, float]:
    """Share of tokens said again and of answers' tokens predicted, by rate, of texts left out; what is before given."""
    rng = random.Random(5)
    again = [r for a in articles if (r := t.rows.again(a, min(64, t.c.window), rng))]
    answers = [t.rows.answer(p, t.c.context, rng) for p in rng.sample(list(asked), min(64, len(asked)))]
    out = {}
    t.network.eval(), t.reader.eval()
    for name, batch in (("again", again), ("answer", answers)):
        for rate in (1, *t.c.rates) if batch else ():
            states, targets = t.states(batch, rate)
            logits = F.linear(states, t.reader.table, t.reader.bias)
            out[f"{name}@{rate}"] = round(float((logits.argmax(1) == targets).float().mean()), 4)
    t.network.train(), t.reader.train()
    return out


def train(c: SoftRun) -> Trainer:
    """The trained pair; steps already done in `work` are not done again."""
    c.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(c.seed)
    torch.set_num_threads(c.threads)
    t = build(c)
    trained = {id(p): p for m in (t.network, t.reader) for p in m.parameters() if p.requires_grad}.values()
    optimizer = torch.optim.AdamW(trained, lr=c.rate, betas=(0.9, 0.98), weight_decay=0.01)
    checkpoint, first = c.work / "soft.pt", 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        t.network.load_state_dict(saved["network"])
        t.reader.load_state_dict(saved["reader"])
        optimizer.load_state_dict(saved["optimizer"])
        first = saved["step"]
    with (c.work / "soft.jsonl").open("a") as log:
        for record in steps(c, t, optimizer, first):
            if "dev" in record:
                tqdm.write(json.dumps(record))
                state = {"network": t.network.state_dict(), "reader": t.reader.state_dict(), "step": record["step"] + 1}
                torch.save({**state, "optimizer": optimizer.state_dict()}, checkpoint)
            log.write(json.dumps(record) + "\n")
            log.flush()
    t.network.eval(), t.reader.eval()
    return t


def steps(c: SoftRun, t: Trainer, optimizer: torch.optim.Optimizer, first: int) -> Iterator[dict[str, Any]]:
    articles = texts(c.data, c.shards)
    asked, left_out = passages(c.data)
    apart = articles[:APART], left_out
    bar = tqdm(range(first, c.steps), initial=first, total=c.steps, desc="train")
    start = time.time()
    trained = [p for g in optimizer.param_groups for p in g["params"]]
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = c.rate * schedule(step, c)
        batch, rate = draw(c, t.rows, articles[APART:], asked, step)
        with torch.autocast(c.device, torch.bfloat16, enabled=c.device != "cpu"):
            states, targets = t.states(batch, rate)
            loss = t.reader.loss(states, targets, random.Random(step))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        record: dict[str, Any] = {"step": step, "rate": rate, "task": kind(batch[0]), "loss": float(loss.detach())}
        record["seconds"] = round(time.time() - start, 1)
        if (step + 1) % c.every == 0 or step + 1 == c.steps:
            record["dev"] = develop(t, *apart)
        bar.set_postfix(loss=f"{record['loss']:.3f}", refresh=False)
        yield record


def save(t: Trainer, target: Path) -> None:
    """Write the generic layout of soft compressors, adapters merged; and the decoder, where it learned too."""
    c = t.c
    encoder = t.network.encoder
    lora.merge(encoder)
    target.mkdir(parents=True, exist_ok=True)
    encoder.save_pretrained(target / "encoder")
    save_file({k: v.contiguous() for k, v in t.network.pool.state_dict().items()}, str(target / "pool.safetensors"))
    replace(t.network.config, before=c.prompts.start, after="", spread=c.spread).write(target)
    shutil.copy(c.encoder / "tokenizer.json", target / "tokenizer.json")
    if c.decoder_too:
        t.reader.whole().save_pretrained(target / "decoder")
        shutil.copy(c.decoder / "tokenizer.json", target / "decoder" / "tokenizer.json")
    log = [json.loads(line) for line in (c.work / "soft.jsonl").read_text().splitlines()]
    facts = {
        "training": {
            **{f: getattr(c, f) for f in ("steps", "batch", "window", "context", "shares", "layers", "adapters")},
            "decoder": f"{c.decoder.name}, {'trained along' if c.decoder_too else 'frozen'}",
            "tokens_read": c.steps * c.batch,
            **ran(c),
        },
        "curve": [[r["step"] + 1, r["dev"]] for r in log if "dev" in r],
        "prompts": asdict(c.prompts),
    }
    (target / "training.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def kind(row: Row) -> str:
    return "again" if row.same else "answer" if row.text else "plain"


def schedule(step: int, c: SoftRun) -> float:
    return min(1.0, (step + 1) / c.warmup) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / c.steps)))
