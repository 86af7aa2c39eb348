"""From a torch network to ONNX files: export, per-channel int8, parity against fp32."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn

OPSET = 20


def session(path: Path) -> ort.InferenceSession:
    """A one-thread CPU session, safe to call from several threads at once."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def to_onnx(module: nn.Module, path: Path, outputs: dict[str, dict[int, str]]) -> None:
    """Write `module(input_ids, parts)` as fp32 ONNX with free batch and token axes."""
    ids = torch.randint(1000, 20000, (2, 60))
    parts = torch.full((2, 60), 2)
    parts[:, :12], parts[1, 50:] = 1, 0
    axes = {"input_ids": {0: "batch", 1: "tokens"}, "parts": {0: "batch", 1: "tokens"}, **outputs}
    with warnings.catch_warnings():
        # the tracing exporter warns of its successor; its plain graphs are what the int8 step was checked on
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            (ids, parts),
            str(path),
            input_names=["input_ids", "parts"],
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=OPSET,
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


class _StatesOnly(nn.Module):
    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: torch.Tensor, parts: torch.Tensor) -> torch.Tensor:
        return self.network.encode(input_ids, parts)


def encoder_to_onnx(network: Any, path: Path) -> None:
    """The encoder alone: (input_ids, parts) to its tapped states [B, T, D]."""
    to_onnx(_StatesOnly(network), path, {"states": {0: "batch", 1: "tokens"}})


def int8_encoder(network: Any, work: Path) -> Any:
    """The encoder alone as a callable ids [T] -> float32 states [T, D], numerically as served in int8."""
    full, small = work / "encoder.onnx", work / "encoder.int8.onnx"
    encoder_to_onnx(network, full)
    to_int8(full, small)
    run = session(small).run

    def encode(ids: np.ndarray) -> np.ndarray:
        return run(None, {"input_ids": ids[None], "parts": np.full((1, len(ids)), 2)})[0][0]

    return encode


SCORES = {
    "keep": {0: "batch", 1: "tokens"},
    "agnostic": {0: "batch", 1: "tokens"},
    "relevance": {0: "batch"},
}


def export(network: Any, work: Path, target: Path) -> Path:
    """Write `target/model.int8.onnx`, and the fp32 graph it is compared with into `work`; returns the latter."""
    network = copy.deepcopy(network).cpu().eval()
    full, plain = work / "model.fp32.onnx", work / "model.plain.onnx"
    to_onnx(network, full, SCORES)
    network.encoder.word = Int8Embedding(network.encoder.word.weight.detach())
    to_onnx(network, plain, SCORES)
    heads = [n.name for n in onnx.load(str(plain)).graph.node if n.name.split("/")[2:3] in ([h] for h in SCORES)]
    to_int8(plain, target / "model.int8.onnx", exclude=heads)
    return full


def parity(
    full: Path, small: Path, inputs: list[tuple[np.ndarray, np.ndarray]], rate: float = 0.25
) -> dict[str, float]:
    """How far int8 is from fp32 on (ids, parts) inputs: mean and largest keep difference, and flips at `rate`.

    A flip is a text token that one of the two keeps and the other drops when each keeps its best `rate`.
    """
    a, b = session(full), session(small)
    gaps, flips, total = [], 0, 0
    for ids, parts in inputs:
        feed = {"input_ids": ids[None], "parts": parts[None]}
        on = parts == 2
        x, y = a.run(["keep"], feed)[0][0][on], b.run(["keep"], feed)[0][0][on]
        k = max(1, int(rate * len(x)))
        flips += len(set(np.argsort(-x)[:k]) ^ set(np.argsort(-y)[:k])) // 2
        total += len(x)
        gaps.append(np.abs(x - y))
    every = np.concatenate(gaps)
    return {
        "mean_difference": round(float(every.mean()), 4),
        "largest_difference": round(float(every.max()), 4),
        "flip_rate": round(flips / total, 4),
    }
