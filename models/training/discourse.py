"""Training of the finder of discourse units, on GUM (Zeldes 2017) and SciDTB (Yang & Li, ACL 2018).

All of the sentence encoder but its embeddings is trained: on its frozen states a light head stayed two points short
(bench/LOG.md).
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from ..card import Card, EduFacts, digest
from ..export import edu_to_onnx
from ..marks import MARKS, marks
from .data import CLS, SEP, TEXT_TOKENS, read
from .edu import Edu
from .encoder import open_tokenizer
from .fit import RunConfig
from .network import bias_of, keep
from .publish import ran
from .unasked import KINDS, PASSAGES, SENTENCES, draws, examples, keep_loss

SOURCES = {"edu-gum": 1, "edu-scidtb": 3}  # how often a pass goes over each
# chosen on SQuAD training passages: answers to all their questions kept (bench/LOG.md)
DEPTH, KEEP, COHERENCE = 0.25, (1.0, 1.0), 0.0
START = 0.4  # best on the training texts of GUM: they had units too many (`laconic bench edu --start`, bench/LOG.md)


@dataclass(frozen=True, kw_only=True)
class EduConfig(RunConfig):
    """What a run is made of; written into the card."""

    passes: int = 8
    rate: float = 3e-4
    dropout: float = 0.1
    link_weight: float = 0.1
    keep_weight: float = 0.5
    batch: int = 8


class Text(NamedTuple):
    """One annotated text: token ids, marks, the first token of each unit, the unit of each token, and its head."""

    ids: np.ndarray
    marks: np.ndarray
    first: np.ndarray
    unit: np.ndarray
    heads: np.ndarray


def annotated(row: dict[str, Any], tok: Tokenizer) -> Text:
    e = tok.encode(row["text"], add_special_tokens=False)
    spans = np.array(e.offsets, np.int64).reshape(-1, 2)
    first = np.searchsorted(spans[:, 0], [a for a, _ in row["edus"]])
    first = np.minimum(first, len(spans))
    unit = np.maximum(np.searchsorted(first, np.arange(len(spans)), side="right") - 1, 0)
    return Text(np.array(e.ids), marks(row["text"], spans), first, unit, np.array(row["heads"]))


def windows(t: Text, rng: random.Random | None) -> list[tuple[Text, int, int]]:
    """Runs of at most TEXT_TOKENS tokens that begin after a full stop or line break; ends drawn by `rng`, if given."""
    likely = np.flatnonzero((t.marks[:, 3] + t.marks[:, 0] > 0) & (t.marks[:, 1] == 0))
    out, at = [], 0
    while at < len(t.ids):
        limit = at + (rng.randrange(20, TEXT_TOKENS + 1) if rng and at == 0 else TEXT_TOKENS)
        cuts = likely[(likely > at + TEXT_TOKENS // 2 * (rng is None)) & (likely <= limit)]
        stop = len(t.ids) if limit >= len(t.ids) else limit
        if stop < len(t.ids) and len(cuts):
            stop = int(rng.choice(cuts) if rng else cuts[-1])
        out.append((t, at, stop))
        at = stop
    return out


class Row(NamedTuple):
    """One window as tensors: labels are -1 where none is asked for; a head of N means none of the window's N units."""

    ids: Tensor
    marks: Tensor
    label: Tensor
    unit: Tensor
    heads: Tensor


def row(t: Text, at: int, stop: int) -> Row:
    n = stop - at + 2
    seen, label, unit = torch.zeros(n, MARKS), torch.full((n,), -1.0), torch.full((n,), -1)
    seen[1:-1] = torch.from_numpy(t.marks[at:stop])
    label[1:-1] = torch.from_numpy(np.isin(np.arange(at, stop), t.first).astype(np.float32))
    if at == 0:
        label[1] = -1  # where a text begins is no question
    low, high = int(t.unit[at]), int(t.unit[stop - 1]) + 1
    unit[1:-1] = torch.from_numpy(t.unit[at:stop] - low)
    heads = t.heads[low:high] - low
    heads[(heads < 0) | (heads >= high - low)] = high - low
    return Row(torch.tensor([CLS, *t.ids[at:stop], SEP]), seen, label, unit, torch.from_numpy(heads))


def run(network: Edu, rows: Sequence[Row], device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Start logits and links of a padded batch, and its labels."""
    ids, seen = (pad_sequence([r[i] for r in rows], batch_first=True).to(device) for i in (0, 1))
    label = pad_sequence([r.label for r in rows], batch_first=True, padding_value=-1.0).to(device)
    real = ids > 0
    positions = torch.arange(ids.shape[1], device=device)[None]
    start, links, _ = network(ids, positions, bias_of(real[:, None].expand(-1, ids.shape[1], -1)), seen)
    return start, links, label


def link_loss(network: Edu, rows: Sequence[Row], links: Tensor) -> Tensor:
    each = [
        F.cross_entropy(
            network.arcs(x[: len(r.unit)], r.unit.to(x.device), len(r.heads)), r.heads.to(x.device), reduction="sum"
        )
        for r, x in zip(rows, links, strict=True)
    ]
    return torch.stack(each).sum() / sum(len(r.heads) for r in rows)


def batches(rows: list[tuple[Text, int, int]], size: int, rng: random.Random) -> list[list[tuple[Text, int, int]]]:
    """Windows of like length together, in random order."""
    rng.shuffle(rows)
    rows.sort(key=lambda w: (w[2] - w[1]) // 32)
    out = [rows[i : i + size] for i in range(0, len(rows), size)]
    rng.shuffle(out)
    return out


def train(c: EduConfig) -> tuple[Edu, dict[str, Any]]:
    """The trained network, and the facts of the run."""
    c.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(c.seed)
    torch.set_num_threads(c.threads)
    rng = random.Random(c.seed)
    tok = open_tokenizer(c.base)
    found = {s: [annotated(r, tok) for r in read(c.data / f"{s}.jsonl.xz")] for s in SOURCES}
    texts = [t for s, ts in found.items() for t in ts * SOURCES[s]]
    network = Edu()
    network.encoder.load_minilm(c.base)
    network = network.to(c.device).train()
    for part in (network.encoder.word, network.encoder.position, network.encoder.norm):
        part.requires_grad_(False)
    network.encoder.segment_type.requires_grad_(False)
    for layer in network.encoder.layers:
        layer.register_forward_pre_hook(lambda m, args: (F.dropout(args[0], c.dropout, m.training), *args[1:]))
    base = [p for p in network.encoder.parameters() if p.requires_grad]
    new = [p for n, p in network.named_parameters() if not n.startswith("encoder.")]
    optimizer = torch.optim.AdamW([{"params": base}, {"params": new}], weight_decay=0.01)
    plain = examples(c.data, tok)
    deleted, asked = (draws(r, n, rng) for r, n in zip(plain, (SENTENCES, PASSAGES), strict=True))
    steps = c.passes * sum(len(windows(t, None)) for t in texts) // c.batch
    start, step, log = time.time(), 0, (c.work / "edu.jsonl").open("w")
    for number in range(c.passes):
        drawn = batches([w for t in texts for w in windows(t, rng)], c.batch, rng)
        for batch in tqdm(drawn, desc=f"pass {number + 1} of {c.passes}"):
            for group, rate in zip(optimizer.param_groups, (c.rate, 1e-3), strict=True):
                group["lr"] = rate * min(1.0, (step + 1) / 60) * max(0.02, 1 - step / steps)
            rows = [row(*w) for w in batch]
            with torch.autocast(c.device, torch.bfloat16, enabled=c.device != "cpu"):
                begins, links, label = run(network, rows, c.device)
                kept = [keep_loss(network, next(draw), c.device) for draw in (deleted, asked)]
            on = label >= 0
            parts = F.binary_cross_entropy_with_logits(begins.float()[on], label[on]), link_loss(network, rows, links)
            optimizer.zero_grad()
            (parts[0] + c.link_weight * parts[1] + c.keep_weight * (kept[0] + kept[1])).backward()
            torch.nn.utils.clip_grad_norm_([*base, *new], 1.0)
            optimizer.step()
            step += 1
            line = dict(zip(("start", "link", *KINDS), (float(x.detach()) for x in (*parts, *kept)), strict=True))
            line["step"] = step
            log.write(json.dumps({**line, "seconds": round(time.time() - start, 1)}) + "\n")
        log.flush()
    facts = {
        "base": "sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), its embeddings frozen",
        "data": {**{s: len(t) for s, t in found.items()}, **dict(zip(KINDS, map(len, plain), strict=True))},
        "licences": "GUM: annotations CC BY 4.0, texts CC BY, CC BY-SA and open; SciDTB: abstracts CC BY 4.0; "
        "deletion: google-compression, as is; asked: SQuAD, CC BY-SA 4.0",
        "passes": c.passes,
        "steps": step,
        **ran(c),
    }
    return network.cpu().eval(), facts


def publish(network: Edu, facts: dict[str, Any], work: Path, target: Path) -> Card:
    """Write the network into the model folder `target` and onto its card."""
    card = Card.read(target)
    files = edu_to_onnx(network, work, target, "cpu-int8")
    own = {k: v for k, v in network.state_dict().items() if not k.startswith("encoder.")}
    keep(own, target / "edu.safetensors")  # what the int8 file does not hold in a form to load from
    distance = [round(x, 4) for x in network.distance.detach().tolist()]
    named = {p: files if p == "cpu-int8" else [*files, "edu.safetensors"] for p in card.files if p != "cpu-fp32"}
    edu = EduFacts(
        files=named, distance=distance, start=START, depth=DEPTH, keep=KEEP, coherence=COHERENCE, facts=facts
    )
    sha256 = {**card.sha256, **{f: digest(target / f) for f in (*files, "edu.safetensors")}}
    made = replace(card, edu=edu, sha256=sha256)
    made.write(target)
    return made
