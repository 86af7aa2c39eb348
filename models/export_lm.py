"""From a trained `CausalLM` to one ONNX graph with a key-value cache: fp32, or int8 with the word table held once."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import helper
from torch import Tensor, nn
from torch.nn import functional as F

from .onnx_tools import OPSET, Int8Embedding, to_int8
from .training.lm import CausalAttention, CausalLM

# Inputs and outputs of layer n
PAST, PRESENT = ("past_key_{}", "past_value_{}"), ("key_{}", "value_{}")


def none(g: Any) -> Any:
    """An operator's input that is left out."""
    made = g.op("prim::Constant")
    made.setType(torch._C.NoneType.get())
    return made


class _Causal(torch.autograd.Function):
    """Causal attention over past and own keys, as ONNX Runtime's fused operator; also the keys and values of both."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, pk: Tensor, pv: Tensor, heads: int) -> tuple[Tensor, ...]:
        q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
        k, v = torch.cat((pk, k), 2), torch.cat((pv, v), 2)
        seen = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool).tril(k.shape[2] - q.shape[2])
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        return y.transpose(1, 2).flatten(2), k, v

    @staticmethod
    def symbolic(g: Any, q: Any, k: Any, v: Any, pk: Any, pv: Any, heads: int) -> Any:
        found = g.op(
            "com.microsoft::MultiHeadAttention",
            *(q, k, v, *[none(g)] * 3, pk, pv),
            num_heads_i=heads,
            unidirectional_i=1,
            outputs=3,
        )
        for out, like in zip(found, (q, pk, pv), strict=True):
            out.setType(like.type())
        return found


class _Logits(torch.autograd.Function):
    """States times the transposed int8 word table, and a bias: its rows are in the file once, for input and output.

    One operator: written out as ONNX Runtime's quantizer does, each step passes over every word of every token.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, rows: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        return states @ (rows.float() * scale).T + bias

    @staticmethod
    def symbolic(g: Any, states: Any, rows: Any, scale: Any, bias: Any) -> Any:
        shape = g.op("Constant", value_t=torch.tensor([-1]))
        table, sizes = g.op("Transpose", rows, perm_i=[1, 0]), g.op("Reshape", scale, shape)
        found = g.op("com.microsoft::DynamicQuantizeMatMul", states, table, sizes, none(g), bias)
        return found.setType(states.type().with_sizes([None, None]))


class Losses(nn.Module):
    """`input_ids` [1, T] after the past to the surprisal of each but the first, [T - 1], and what goes on from there.

    Second output [layers, heads, P + T]: the attention of the last token. Then keys and values, layer by layer.
    """

    def __init__(self, model: CausalLM, small: bool) -> None:
        super().__init__()
        model = copy.deepcopy(model).cpu().eval()
        self.encoder, self.head, self.bias = model.encoder, model.head, model.bias
        self.heads = model.config.heads
        self.table = Int8Embedding(self.encoder.word.weight.detach()) if small else self.encoder.word
        self.small = small

    def forward(self, input_ids: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        e = self.encoder
        seen = past[0].shape[2]
        positions = torch.arange(input_ids.shape[1])[None] + seen
        x = e.norm(self.table(input_ids) + e.position(positions) + e.segment_type)
        paid, present = [], []
        for i, layer in enumerate(e.layers):
            y, k, v, row = self.attend(layer.attention, x, *past[2 * i : 2 * i + 2])
            x = layer.norm1(x + y)
            x = layer.norm2(x + layer.down(F.gelu(layer.up(x))))
            paid.append(row)
            present += [k, v]
        return self.surprisal(self.head(x)[0, :-1], input_ids[0, 1:]), torch.stack(paid), *present

    def attend(self, a: CausalAttention, x: Tensor, pk: Tensor, pv: Tensor) -> tuple[Tensor, ...]:
        q, k, v = a.qkv(x).chunk(3, -1)
        y, k, v = _Causal.apply(q, k, v, pk, pv, self.heads)
        last = q[:, -1:].unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [1, heads, 1, D]
        row = F.softmax(last @ k.transpose(2, 3) / last.shape[-1] ** 0.5, -1)[0, :, 0]
        return a.out(y), k, v, row

    def surprisal(self, states: Tensor, targets: Tensor) -> Tensor:
        if self.small:
            logits = _Logits.apply(states, self.table.rows, self.table.scale, self.bias)
        else:
            logits = states @ self.table.weight.T + self.bias
        # vectorized by ONNX Runtime; as a sum of exponentials it takes ten times as long
        return -F.log_softmax(logits, 1).gather(1, targets[:, None])[:, 0]


def lm_to_onnx(model: CausalLM, work: Path, target: Path, profile: str) -> list[str]:
    """Write the graph of `profile` (cpu-fp32 or cpu-int8) into `target`; intermediate files go to `work`."""
    small = profile == "cpu-int8"
    name = f"lm.{profile.removeprefix('cpu-')}.onnx"
    full = work / "lm.plain.onnx" if small else target / name
    config = model.config
    shape = (1, config.heads, 5, config.hidden // config.heads)
    past = {n.format(i): torch.randn(shape) for i in range(config.layers) for n in PAST}
    present = [n.format(i) for i in range(config.layers) for n in PRESENT]
    axes = {"input_ids": {1: "tokens"}, "loss": {0: "losses"}, "attention": {2: "seen"}}
    axes |= {n: {2: "past"} for n in past} | {n: {2: "seen"} for n in present}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracing exporter: see to_onnx
        torch.onnx.export(
            Losses(model, small),
            (torch.randint(1000, 20000, (1, 7)), *past.values()),
            str(full),
            input_names=["input_ids", *past],
            output_names=["loss", "attention", *present],
            dynamic_axes=axes,
            opset_version=OPSET,
            custom_opsets={"com.microsoft": 1},
            dynamo=False,
        )
    if small:
        to_int8(full, target / name)
        share_table(target / name, config.vocab_size, config.hidden)
    return [name]


def share_table(path: Path, rows: int, columns: int) -> None:
    """Take out the transposed word table that the exporter folded: it is made from the other when the model opens."""
    model = onnx.load(str(path))
    held = {tuple(i.dims): i for i in model.graph.initializer}
    table, folded = held[rows, columns], held[columns, rows]
    model.graph.initializer.remove(folded)
    model.graph.node.insert(0, helper.make_node("Transpose", [table.name], [folded.name], perm=[1, 0]))
    onnx.save(model, str(path))
