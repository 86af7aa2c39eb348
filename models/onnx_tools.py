"""What every export to ONNX needs: attention without masks, graphs of one unpadded sequence, per-channel int8."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn

from .training.network import Attention

OPSET = 20


class FusedAttention(nn.Module):
    """The attention of one unpadded sequence as ONNX Runtime's fused operator: no mask, no [T, T] matrix in memory."""

    def __init__(self, source: Attention) -> None:
        super().__init__()
        self.qkv, self.out, self.heads = source.qkv, source.out, source.heads

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        return self.out(_MultiHead.apply(q, k, v, self.heads))


class _MultiHead(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int) -> torch.Tensor:
        q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
        return nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)

    @staticmethod
    def symbolic(g: Any, q: Any, k: Any, v: Any, heads: int) -> Any:
        return g.op("com.microsoft::MultiHeadAttention", q, k, v, num_heads_i=heads).setType(q.type())


def fused(module: nn.Module) -> nn.Module:
    """A copy for export, every `Attention` replaced by its fused form."""
    module = copy.deepcopy(module).cpu().eval()
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Attention):
                setattr(parent, name, FusedAttention(child))
    return module


def to_onnx(
    module: nn.Module,
    path: Path,
    inputs: dict[str, torch.Tensor],
    outputs: dict[str, bool],
    more: dict[str, dict[int, str]] | None = None,
) -> None:
    """Write `module(*inputs)` as fp32 ONNX for one unpadded sequence; outputs flagged True have a token axis.

    `more` are axes of other kinds, in the place of these.
    """
    # a query's axis is its own: the two sides of a late head differ in length
    axes = {name: {1: "query" if name.startswith("query_") else "tokens"} for name in inputs}
    axes |= {name: {1: "tokens"} for name, per_token in outputs.items() if per_token} | (more or {})
    with warnings.catch_warnings():
        # the tracing exporter warns of its successor; its plain graphs are what the int8 step was checked on
        warnings.simplefilter("ignore")
        torch.onnx.export(
            fused(module),
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=OPSET,
            custom_opsets={"com.microsoft": 1},
            dynamo=False,
        )


def to_int8(source: Path, target: Path, exclude: list[str] | None = None) -> None:
    """Dynamic per-channel int8 of the constant matrix products; `exclude` names nodes left in fp32."""
    quantize_dynamic(
        source,
        target,
        per_channel=True,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul", "Gemm"],
        nodes_to_exclude=exclude or [],
        extra_options={"MatMulConstBOnly": True},
    )


class Int8Embedding(nn.Module):
    """A word table as int8 rows with one scale each: a quarter of the size, decoded after the lookup."""

    def __init__(self, table: torch.Tensor) -> None:
        super().__init__()
        scale = table.abs().amax(1, keepdim=True).clamp(min=1e-8) / 127
        self.register_buffer("rows", torch.round(table / scale).to(torch.int8))
        self.register_buffer("scale", scale)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.rows[ids].float() * self.scale[ids]
