"""Loud channels apart: the same function in fp32, nearer to it in int8; graphs without any stay as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from .needs import TORCH

pytest.importorskip("torch", reason=TORCH)

import onnx
import torch
from torch import nn

from laconic.models.onnx_backend import session
from laconic.models.onnx_tools import to_int8, to_onnx
from laconic.models.outliers import LOUD, apart

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's exporter warns of its own future
WIDTH, TOKENS = 64, 30


class Net(nn.Module):
    """A table whose first channels are `louder` times the others, and one product over it."""

    def __init__(self, louder: float) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.table, self.mix = nn.Embedding(TOKENS, WIDTH), nn.Linear(WIDTH, 48)
        with torch.no_grad():
            self.table.weight.clamp_(-2, 2)[:, :3] *= louder

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.mix(self.table(input_ids))


def graph(folder: Path, louder: float) -> Path:
    path = folder / "net.onnx"
    to_onnx(Net(louder), path, {"input_ids": torch.arange(TOKENS)[None]}, {"states": True})
    return path


def states(path: Path) -> np.ndarray:
    return session(path).run(None, {"input_ids": np.arange(TOKENS)[None]})[0]


def test_loud_channels_stay_precise(tmp_path: Path) -> None:
    full = graph(tmp_path, 30.0)
    seen = [np.arange(TOKENS // 2)]  # the rest reaches further than what was seen
    kept = apart(full, tmp_path / "apart.onnx", seen)
    assert kept == ["/mix/MatMul/beyond"]
    rows = [i for i in onnx.load(str(tmp_path / "apart.onnx")).graph.initializer if i.name.endswith("/rows")]
    assert [list(i.dims) for i in rows] == [[LOUD, 48]]
    exact = states(full)
    seen_exact, seen_apart = exact[:, : TOKENS // 2], states(tmp_path / "apart.onnx")[:, : TOKENS // 2]
    np.testing.assert_allclose(seen_apart, seen_exact, rtol=1e-4, atol=1e-4)
    to_int8(full, tmp_path / "plain.int8.onnx")
    to_int8(tmp_path / "apart.onnx", tmp_path / "apart.int8.onnx", exclude=kept)
    plain, better = (np.abs(states(tmp_path / f"{n}.int8.onnx") - exact).mean() for n in ("plain", "apart"))
    assert better < plain / 2


def test_a_graph_without_loud_channels_stays(tmp_path: Path) -> None:
    full = graph(tmp_path, 1.0)
    assert apart(full, tmp_path / "apart.onnx", [np.arange(TOKENS)]) == []
    assert onnx.load(str(tmp_path / "apart.onnx")).graph == onnx.load(str(full)).graph
