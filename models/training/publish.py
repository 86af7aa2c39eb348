"""From trained weights to a model folder: ONNX files, tokenizer, card with figures and sha256."""

from __future__ import annotations

import json
import platform
import random
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..backend import ModelInput
from ..card import Card, digest
from ..export import encoder_to_int8, export, parity
from ..load import PROFILES
from ..onnx_backend import OnnxBackend
from .batches import Batcher
from .calibrate import choose, collect
from .data import Question, drawn, held_out
from .encoder import Whole, encode_with, examples, prepare, served
from .fit import RunConfig, TrainConfig, better, develop, kept
from .network import Network, keep
from .states import Fresh

SERVED = 240  # text tokens of a segment: stories lose 5 to 8 points of evidence at 128 (bench/LOG.md)
LICENCES = {
    "squad, squad-train": "CC BY-SA 4.0",
    "nq, boolq": "CC BY-SA 3.0",
    "fairytale, twowiki": "Apache-2.0",
    "afriqa, medquad": "CC BY 4.0",
    "evidence-inference": "CC BY, CC0 and public-domain articles",
    "qmsum": "MIT",
    "wikitables": "CC BY-SA 4.0",
    "google-compression": "provided as is, no licence stated",
}


def sample(batcher: Batcher, count: int) -> list[ModelInput]:
    """Held-out inputs as the service would build them."""
    rng = random.Random(3)
    questions: list[Question] = [q for qs in batcher.corpus.questions.values() for q in qs if held_out(q.group)]
    out = []
    for q in rng.sample(questions, min(count, len(questions))):
        n = rng.choice([*q.gold, rng.randrange(len(batcher.corpus.segments))])
        body = tuple(map(int, batcher.corpus.segments[n].ids))
        out.append(ModelInput(query=tuple(map(int, q.ids)), segment=body, skip=1, count=len(body) - 2))
    return out


def publish(c: TrainConfig, target: Path, revision: str) -> dict[str, Any]:
    """Write the model folder and return its card."""
    torch.set_num_threads(c.threads)
    network, batcher = prepare(c, c.begin)
    if c.unfrozen:
        network, weights = together(network, batcher, c)
    else:
        network.interaction, weights = better(network.interaction, c, lambda block: kept(block, batcher, c))
    target.mkdir(parents=True, exist_ok=True)
    profiles = export(network, c.work, target, encoder_file(network, batcher, c))
    cases = collect(network.interaction, batcher, c)
    chosen = choose(cases)
    log = [json.loads(line) for line in (c.work / "log.jsonl").read_text().splitlines()]
    shutil.copy(c.base / "tokenizer.json", target / "tokenizer.json")
    keep(network.interaction.state_dict(), target / "interaction.safetensors")
    (target / "network.json").write_text(network.config.to_json() + "\n")
    torch_files = [profiles["cpu-int8"][0], "interaction.safetensors", "network.json"]
    profiles |= {name: torch_files for name, (runner, *_) in PROFILES.items() if runner == "torch"}
    names = dict.fromkeys([*profiles["cpu-int8"], *torch_files, "tokenizer.json"])
    card = Card(
        name="laconic-mini",
        revision=revision,
        summary="query-aware keep, relevance and query-agnostic keep over a MiniLM encoder",
        licence="Apache-2.0",
        files=profiles,
        sha256={f: digest(target / f) for f in names},
        segment_tokens=SERVED,
        facts={
            "base": base(c),
            "parameters": parameters(network),
            "training": {
                **training_facts(c, log),
                "weights": weights,
                **begun(Card.read(c.begin).facts if c.begin else None),
            },
            "data": {
                "queries_per_set": {k: drawn(k, v) for k, v in batcher.corpus.questions.items()},
                "licences": licences(batcher, c.begin),
            },
            "held_out": {
                "what": "evidence recall of whole sentences over ten segments, groups never trained on",
                "by_set": develop(network.interaction, batcher, c, per_source=60),
                "score_of_chosen_parameters": chosen.pop("held_out_score"),
            },
            "profiles": {"cpu-int8": compared(c.work, target, profiles["cpu-int8"], sample(batcher, 400))},
            "limits": f"English; trained on segments of up to {c.longest} text tokens, served on up to {SERVED}",
        },
        **chosen,  # type: ignore[arg-type]  # numbers by name
    )
    made = with_heads(card, target)
    made.write(target)
    return asdict(made)


def encoder_file(network: Network, batcher: Batcher, c: TrainConfig) -> Path:
    """The int8 encoder that gave the states, or one made of `network` where none did."""
    if c.begin and not c.unfrozen:
        return served(c.begin)
    path = c.work / "encoder.int8.onnx"
    if c.device != "cpu":
        encoder_to_int8(network, c.work, path, examples(batcher.inputs))
    return path


def together(network: Network, batcher: Batcher, c: TrainConfig) -> tuple[Network, str]:
    """The network trained along with its encoder, the better of last weights and running average as served in int8.

    `batcher` gives that encoder's states from here on.
    """

    def serve(own: Network) -> Network:
        batcher.store = Fresh(batcher.inputs, own.config.width, encode_with(own, c, batcher.inputs, None))
        return own

    def judge(block: Whole) -> float:
        return kept(serve(block.network).interaction, batcher, c, per_source=24)

    best, name = better(Whole(network, c.unfrozen), c, judge)
    return serve(best.network), name


def begun(before: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the weights that training went on from were trained with, by the facts of those weights."""
    return {"went_on_from": before["training"]} if before else {}


def with_heads(card: Card, target: Path) -> Card:
    """The card with the heads that the folder already has; the late one only if its encoder is the same."""
    if not (target / "card.json").exists():
        return card
    before = Card.read(target)
    encoder = card.files["cpu-int8"][0]
    late = before.late if before.sha256.get(encoder) == card.sha256[encoder] else None
    own = {f for head in (late, before.edu) if head for files in head.files.values() for f in files}
    sha256 = {**card.sha256, **{f: before.sha256[f] for f in sorted(own)}}
    return replace(card, late=late, edu=before.edu, sha256=sha256)


def compared(work: Path, target: Path, files: list[str], inputs: list[ModelInput]) -> dict[str, float]:
    """int8 beside the fp32 files of the same names."""
    card = Card(name="", revision="", summary="", licence="", files={}, sha256={})
    full = OnnxBackend(card, [work / f.replace("int8", "fp32") for f in files])
    return parity(full, OnnxBackend(card, [target / f for f in files]), inputs)


def base(c: TrainConfig) -> str:
    """What the encoder came from, and what became of it."""
    if c.begin and not c.unfrozen:
        return str(Card.read(c.begin).facts["base"])
    became = f"its upper {c.unfrozen} layers trained along" if c.unfrozen else "frozen"
    return f"sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), {became}"


def parameters(network: Network) -> dict[str, int]:
    held = [p for p in network.encoder.parameters() if not p.requires_grad]
    frozen = sum(p.numel() for p in held)
    return {"frozen": frozen, "trained": sum(p.numel() for p in network.parameters()) - frozen}


def ran(c: RunConfig) -> dict[str, Any]:
    """Where and how any run was made."""
    return {
        "rate": c.rate,
        "seed": c.seed,
        "device": f"{c.device}, {c.threads} threads, {platform.machine()}, torch {torch.__version__}",
        "date": time.strftime("%Y-%m-%d"),
    }


def licences(batcher: Batcher, begin: Path | None) -> dict[str, str]:
    """Those of our sets that were trained on, in this run and before; of others we know none."""
    segments = [*batcher.corpus.segments, *(d.segment for d in batcher.deletions)]
    sources = {s.source for s in segments}
    before = Card.read(begin).facts["data"]["licences"] if begin else {}
    return {k: v for k, v in LICENCES.items() if k in before or not sources.isdisjoint(k.split(", "))}


def training_facts(c: TrainConfig, log: list[dict[str, Any]]) -> dict[str, Any]:
    """What the run was, from its own log."""
    return {
        "steps": c.steps,
        "queries_per_step": c.queries,
        "segments_per_query": c.segments,
        **({"unfrozen_layers": c.unfrozen, "their_rate": c.slow} if c.unfrozen else {}),
        **ran(c),
        "last_losses": {
            k: round(float(np.mean([r[k] for r in log[-100:]])), 4)
            for k in ("token", "sentence", "relevance", "agnostic")
            if k in log[-1]
        },
    }
