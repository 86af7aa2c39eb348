"""A decoder that learned to read latents, put back where it came from: the next revision of `laconic-lm`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from ..card import Card, digest
from ..export_lm import lm_to_onnx
from ..onnx_lm import OnnxLM
from .encoder import open_tokenizer
from .fit import RunConfig
from .lm import CausalLM, config_of
from .network import bert_weights
from .pilot import cases, evaluators
from .pretrain import PILOT


def own(theirs: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """BertLMHeadModel's parameters under the names of CausalLM; the inverse of `lm_hf.renamed`."""
    h = "cls.predictions."
    out = {f"encoder.{k}": v for k, v in bert_weights(theirs, layers).items()}
    out["bias"] = theirs[f"{h}bias"]
    for ours, name in (("head.0", "transform.dense"), ("head.2", "transform.LayerNorm")):
        out |= {f"{ours}.{k}": theirs[f"{h}{name}.{k}"] for k in ("weight", "bias")}
    return out


def open_decoder(folder: Path) -> CausalLM:
    """The decoder that a run wrote, in our own network."""
    model = CausalLM(config_of())
    model.load_state_dict(own(load_file(str(folder / "model.safetensors")), model.config.layers))
    return model.eval()


def publish(c: RunConfig, trained: Path, target: Path) -> Card:
    """Write the decoder of the soft compressor in `trained` over the `laconic-lm` in `target`, one revision up.

    Its evaluator heads are found anew; what was measured of the revision before is taken off the card.
    """
    model, card = open_decoder(trained / "decoder"), Card.read(target)
    lm_to_onnx(model, c.work, c.work, "cpu-fp32")
    files = lm_to_onnx(model, c.work, target, "cpu-int8")
    pilot = cases(c.data, open_tokenizer(c.base), PILOT, c.seed)
    heads, found = evaluators(OnnxLM(card, target / files[0], c.threads), pilot)
    run = json.loads((trained / "training.json").read_text(encoding="utf-8"))["training"]
    facts = {k: v for k, v in card.facts.items() if k != "measured"}
    made = replace(
        card,
        revision=str(int(card.revision) + 1),
        summary="a small causal language model over the encoder's vocabulary, for perplexity and to read latents",
        sha256={f: digest(target / f) for f in card.sha256},
        evaluators=heads,
        facts={**facts, "along": run, "evaluators": found},
    )
    made.write(target)
    return made
