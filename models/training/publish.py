"""From trained weights to a model folder: ONNX files, tokenizer, card with figures and sha256."""

from __future__ import annotations

import copy
import json
import platform
import random
import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..backend import ModelInput
from ..card import Card, digest
from ..export import export, parity
from ..load import PROFILES
from ..onnx_backend import OnnxBackend
from .batches import Batcher
from .calibrate import choose, collect
from .data import MIX, Question, held_out
from .encoder import Whole, encode_with, prepare
from .fit import RunConfig, TrainConfig, better, develop
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
        network.interaction, weights = better(network.interaction, batcher, c)
    target.mkdir(parents=True, exist_ok=True)
    profiles = export(network, c.work, target)
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
            "training": {**training_facts(c, log), "weights": weights, **begun(c)},
            "data": {"queries_per_set": {k: v[0] for k, v in MIX.items()}, "licences": LICENCES},
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


def together(network: Network, batcher: Batcher, c: TrainConfig) -> tuple[Network, str]:
    """The network trained along with its encoder, the better of last weights and running average as served in int8.

    `batcher` gives that encoder's states from here on.
    """
    saved = torch.load(c.work / "checkpoint.pt", weights_only=True)
    width, found = len(network.config.tapped) * network.config.hidden, {}
    for name in ("network", "mean"):
        block = Whole(copy.deepcopy(network), c.unfrozen)
        block.load_state_dict(saved[name])
        batcher.store = Fresh(batcher.inputs, width, encode_with(block.network, c.device, c.work))
        score = np.mean(list(develop(block.network.interaction, batcher, c).values()))
        found[name] = float(score), block.network.eval(), batcher.store
    name = max(found, key=lambda n: found[n][0])
    batcher.store = found[name][2]
    return found[name][1], name


def begun(c: TrainConfig) -> dict[str, Any]:
    """What the weights that training went on from were trained with."""
    return {"went_on_from": Card.read(c.begin).facts["training"]} if c.begin else {}


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
        },
    }
