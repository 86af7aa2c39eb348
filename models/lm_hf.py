"""`laconic-lm` in the classes of `transformers`: BERT as a decoder, its weights those of the int8 file, scaled back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor
from transformers import BertConfig, BertLMHeadModel

from .bert_names import hf_names, hf_sizes
from .card import Card
from .causal import LAST_ROW, CausalBackend


def lm_weights(path: Path) -> dict[str, Tensor]:
    """Parameters by the names of `training.lm.CausalLM`, fp32, from the ONNX file that serves them."""
    graph = onnx.load(str(path)).graph
    held = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    made = {o: n for n in graph.node for o in n.output}
    out = {k: v for k, v in held.items() if k.startswith(("encoder.", "head.")) or k == "bias"}
    out["encoder.word.weight"] = held["table.rows"].astype(np.float32) * held["table.scale"]
    for node in graph.node:
        bias = next((i for i in node.input if i.endswith(".bias") and node.op_type == "Add"), None)
        product = bias and source(made, node, "MatMulInteger")
        if bias and product is not None:
            stem = product.input[1].removesuffix("_quantized")
            whole = held[product.input[1]].astype(np.float32) - held[f"{stem}_zero_point"].astype(np.float32)
            out[f"{bias.removesuffix('.bias')}.weight"] = (whole * held[f"{stem}_scale"]).T
    return {k: torch.tensor(v) for k, v in out.items()}


def source(made: dict[str, Any], node: Any, kind: str) -> Any | None:
    """The node of a kind that a sum's other side comes from, through casts and scales."""
    todo = [made[i] for i in node.input if i in made]
    while todo:
        found = todo.pop()
        if found.op_type == kind:
            return found
        if found.op_type in ("Cast", "Mul"):
            todo += [made[i] for i in found.input if i in made]
    return None


def within(own: dict[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's parameters, by its own names."""
    return {k.removeprefix("encoder."): v for k, v in own.items() if k.startswith("encoder.")}


def renamed(own: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """The same parameters under the names of BertLMHeadModel."""
    encoder = within(own)
    h = "cls.predictions."
    out = {f"{h}bias": own["bias"], f"{h}decoder.bias": own["bias"], f"{h}decoder.weight": encoder["word.weight"]}
    for ours, theirs in (("head.0", "transform.dense"), ("head.2", "transform.LayerNorm")):
        out |= {f"{h}{theirs}.{k}": own[f"{ours}.{k}"] for k in ("weight", "bias")}
    return out | {f"bert.{k}": v for k, v in hf_names(encoder, layers).items()}


def hf_model(path: Path) -> BertLMHeadModel:
    """The model of an int8 file, on the CPU in fp32; `save_pretrained` makes a Hugging Face folder of it."""
    own = lm_weights(path)
    config = BertConfig(
        **hf_sizes(within(own)),
        is_decoder=True,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation=LAST_ROW,
    )
    model = BertLMHeadModel(config)
    missing, unexpected = model.load_state_dict(renamed(own, config.num_hidden_layers), strict=False)
    if unexpected or [k for k in missing if not k.endswith("position_ids")]:
        raise ValueError(f"{path} holds another network: {[*missing, *unexpected][:3]}")
    return model.eval()


def open_lm(card: Card, folder: Path, device: str, dtype: str) -> CausalBackend:
    """`laconic-lm` on a device; raises RuntimeError where there is none."""
    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("torch sees no GPU; the profiles cpu-int8 and torch-fp32 need none")
    return CausalBackend(card, hf_model(folder / card.files["cpu-int8"][0]).to(device, getattr(torch, dtype)))
