"""The network in torch: packed batches without padding, in half precision on a GPU, in fp32 on any CPU.

The encoder's weights are those of the int8 file, scaled back: nothing more travels in the package, and what the
scaling loses is on the card. Attention runs over packed sequences (Dao 2023, "FlashAttention-2") with its splits fixed,
so that a segment's result does not depend on how many share the batch.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.utils.rnn import pad_sequence

from .backend import Coded, CodeInput, EduInput, EduOutput, Input, LateInput, ModelInput, ModelOutput
from .card import Card
from .training.edu import Edu
from .training.late import Late, LateConfig, Side
from .training.network import Attention, Encoder, Network, NetworkConfig, fill

log = logging.getLogger("laconic.engine")
LEAST, MOST = 2_048, 131_072  # tokens of a batch tried when warming up
WORTH = 1.05  # how much faster twice the tokens must be to be worth waiting for
CPU_BUDGET = 1_024


@dataclass(frozen=True)
class Layout:
    """Where each of the packed sequences begins and ends: int32 [N + 1], and the longest."""

    ends: Tensor
    lengths: tuple[int, ...]

    @staticmethod
    def of(lengths: Sequence[int], device: torch.device) -> Layout:
        ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        return Layout(torch.from_numpy(ends).to(device), tuple(lengths))


class PackedAttention(nn.Module):
    """`Attention` over packed tokens [T, D]; in the place of a bias it takes their Layout."""

    def __init__(self, source: Attention) -> None:
        super().__init__()
        self.qkv, self.out, self.heads = source.qkv, source.out, source.heads

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        t, d = x.shape
        q, k, v = self.qkv(x).view(t, 3, self.heads, d // self.heads).unbind(1)
        if x.is_cuda and x.dtype != torch.float32:
            from torch.nn.attention.varlen import varlen_attn

            longest = max(layout.lengths)
            y = varlen_attn(q, k, v, layout.ends, layout.ends, longest, longest, num_splits=1)
        else:
            parts = zip(*(z.transpose(0, 1).split(layout.lengths, 1) for z in (q, k, v)), strict=True)
            y = torch.cat([scaled_dot_product_attention(*(z[None] for z in p))[0].transpose(0, 1) for p in parts])
        return self.out(y.reshape(t, d))


def packed(encoder: Encoder) -> Encoder:
    """The encoder, its attention over packed tokens."""
    for layer in encoder.layers:
        layer.attention = PackedAttention(layer.attention)
    return encoder


def encoder_weights(path: Path, under: str = "encoder.") -> dict[str, Tensor]:
    """The encoder's parameters by name, int8 matrices scaled back to fp32, from the ONNX file they are served from."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    held = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    out = {k.removeprefix(under): v for k, v in held.items() if k.startswith(under)}
    out["word.weight"] = out.pop("word.rows").astype(np.float32) * out.pop("word.scale")
    for node in graph.node:
        if node.op_type == "MatMulInteger":
            name = node.name.removeprefix(f"/{under.replace('.', '/')}").split("/MatMul")[0].replace("/", ".")
            stem = node.input[1].removesuffix("_quantized")
            whole = held[node.input[1]].astype(np.float32) - held[f"{stem}_zero_point"].astype(np.float32)
            out[f"{name}.weight"] = (whole * held[f"{stem}_scale"]).T
    return {k: torch.tensor(v) for k, v in out.items()}


def open_network(folder: Path, encoder: str) -> Network:
    """The network of a model folder, with the encoder of its file `encoder`; fp32, on the CPU."""
    config = json.loads((folder / "network.json").read_text())
    config["tapped"] = tuple(config["tapped"])
    network = Network(NetworkConfig(**config), torch.zeros(config["vocab_size"]))
    network.encoder.load_state_dict(encoder_weights(folder / encoder))
    fill(network.interaction, folder / "interaction.safetensors")
    return network.eval().requires_grad_(False)


def open_late(folder: Path) -> Late:
    """Coder and head of a model folder; fp32, on the CPU."""
    config = LateConfig(**json.loads((folder / "late.json").read_text()))
    vocabulary = json.loads((folder / "network.json").read_text())["vocab_size"]
    late = Late(config, torch.zeros(vocabulary))
    fill(late, folder / "late.safetensors")
    return late.eval().requires_grad_(False)


def open_edu(folder: Path, encoder: str) -> Edu:
    """The discourse head of a model folder, with its encoder from the file `encoder`; fp32, on the CPU."""
    own = {k: v.float() for k, v in load_file(str(folder / "edu.safetensors")).items()}
    found = encoder_weights(folder / encoder, "edu.encoder.")
    edu = Edu()
    edu.load_state_dict({**own, **{f"encoder.{k}": v for k, v in found.items()}})
    return edu.eval().requires_grad_(False)


def open_backend(card: Card, folder: Path, device: str, dtype: str) -> TorchBackend:
    """The model of a folder on a device; raises RuntimeError where there is none."""
    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("torch sees no GPU; the profiles cpu-int8 and torch-fp32 need none")
    network = open_network(folder, card.files["cpu-int8"][0])
    late = open_late(folder) if card.late else None
    edu = open_edu(folder, card.edu.files["cpu-int8"][0]) if card.edu else None
    return TorchBackend(card, network, device, getattr(torch, dtype), late, edu)


class TorchBackend:
    """A `Forward` over a `Network`; thread-safe. On a GPU the budget is found by trying (`warm_up`)."""

    def __init__(
        self,
        card: Card,
        network: Network,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        late: Late | None = None,
        edu: Edu | None = None,
    ) -> None:
        self.card, self.device, self.dtype = card, torch.device(device), dtype
        self.encoder = packed(network.encoder).to(self.device, dtype)
        self.interaction = network.interaction.to(self.device)  # fp32: its running sums need the digits
        self.late = late.to(self.device) if late else None
        self.edu = edu.to(self.device) if edu else None
        if self.edu:
            self.edu.encoder = packed(self.edu.encoder).to(self.device, dtype)
        self.budget = CPU_BUDGET if self.device.type == "cpu" else self.warm_up()

    def run(self, inputs: Sequence[Input]) -> list[Any]:
        """Every input, in batches of the budget."""
        out: list[Any] = []
        batch: list[Input] = []
        for i in inputs:
            if batch and sum(b.tokens for b in batch) + i.tokens > self.budget:
                out += self.forward(batch, False)
                batch = []
            batch.append(i)
        return out + (self.forward(batch, False) if batch else [])

    @torch.inference_mode()
    def forward(self, inputs: Sequence[Input], alone: bool) -> list[Any]:
        try:
            out: dict[int, Any] = {}
            kinds = (ModelInput, self._score), (CodeInput, self._code), (LateInput, self._match), (EduInput, self._cut)
            for kind, work in kinds:
                these: list[Any] = [n for n, i in enumerate(inputs) if isinstance(i, kind)]
                if these:
                    out |= zip(these, work([inputs[n] for n in these]), strict=True)
            return [out[n] for n in range(len(inputs))]
        except torch.OutOfMemoryError as e:
            torch.cuda.empty_cache()
            raise MemoryError(str(e)) from None

    def _score(self, inputs: Sequence[Any]) -> list[ModelOutput]:
        distinct = dict.fromkeys(s for i in inputs for s in (i.query, i.segment) if s)
        states = dict(zip(distinct, self._encode(list(distinct)), strict=True))
        rows = [torch.cat([states[s] for s in (i.query, i.segment) if s]) for i in inputs]
        ids = self._padded([torch.tensor((*i.query, *i.segment)) for i in inputs])
        parts = self._padded([torch.tensor([1] * len(i.query) + [2] * len(i.segment)) for i in inputs])
        found = self.interaction(ids, pad_sequence(rows, batch_first=True), parts == 1, parts == 2)
        return outputs(found, [slice(len(i.query) + i.skip, len(i.query) + i.skip + i.count) for i in inputs])

    def _code(self, inputs: Sequence[Any]) -> list[Coded]:
        assert self.late is not None
        states = self._encode([i.ids for i in inputs])
        codes = self.late.coder(torch.cat(states)).to(torch.int8).cpu().split([len(i.ids) for i in inputs])
        return [Coded(ids=np.array(i.ids, np.int64), codes=c.numpy()) for i, c in zip(inputs, codes, strict=True)]

    def _match(self, inputs: Sequence[Any]) -> list[ModelOutput]:
        assert self.late is not None
        found = self.late.head(self._side([i.query for i in inputs]), self._side([i.segment for i in inputs]))
        return outputs(found, [slice(i.skip, i.skip + i.count) for i in inputs])

    def _cut(self, inputs: Sequence[Any]) -> list[EduOutput]:
        assert self.edu is not None
        lengths = [len(i.ids) for i in inputs]
        ids, positions, layout = self._pack([i.ids for i in inputs])
        seen = np.concatenate([np.pad(i.marks, ((1, 1), (0, 0))) for i in inputs])
        more = self.edu.marks(torch.from_numpy(seen).to(self.device)).to(self.dtype)
        states = self.edu.encoder(ids, positions, layout, more).float()
        found = self.edu.start(states)[:, 0], self.edu.links(states), self.edu.keep(states)
        parts = zip(*(x.cpu().split(lengths) for x in found), strict=True)
        return [EduOutput(start=s, links=x, keep=k) for s, x, k in (tuple(y[1:-1].numpy() for y in p) for p in parts)]

    def _side(self, coded: Sequence[Coded]) -> Side:
        ids = self._padded([torch.from_numpy(c.ids) for c in coded])
        codes = self._padded([torch.from_numpy(c.codes) for c in coded]).float()
        return Side(ids, codes, self._padded([torch.ones(len(c.ids), dtype=torch.bool) for c in coded]))

    def _padded(self, rows: Sequence[Tensor]) -> Tensor:
        return pad_sequence(list(rows), batch_first=True).to(self.device)

    def _encode(self, sequences: Sequence[tuple[int, ...]]) -> Sequence[Tensor]:
        """States [T, D] of each sequence, all packed into one forward."""
        states: Tensor = self.encoder(*self._pack(sequences))
        return states.float().split([len(s) for s in sequences])

    def _pack(self, sequences: Sequence[tuple[int, ...]]) -> tuple[Tensor, Tensor, Layout]:
        """Token ids and positions of all sequences one after the other, and where each lies."""
        lengths = [len(s) for s in sequences]
        ids = torch.tensor([i for s in sequences for i in s]).to(self.device)
        positions = torch.cat([torch.arange(n) for n in lengths]).to(self.device)
        return ids, positions, Layout.of(lengths, self.device)

    def warm_up(self) -> int:
        """Tokens of a batch beyond which tokens per second stop rising, or memory ends."""
        best, budget, tokens = 0.0, LEAST, LEAST
        one = ModelInput(query=tuple(range(1000, 1012)), segment=tuple(range(1000, 1254)), skip=1, count=252)
        while tokens <= MOST:
            batch = [one] * (tokens // len(one.segment))
            try:
                self.forward(batch, False)
                start = time.perf_counter()
                self.forward(batch, False)
            except MemoryError:
                break
            speed = tokens / (time.perf_counter() - start)
            log.info("%d tokens a batch: %.0f tokens/s", tokens, speed)
            if speed < WORTH * best:
                break
            best, budget, tokens = speed, tokens, tokens * 2
        return budget


def outputs(found: Sequence[Tensor], at: Sequence[slice]) -> list[ModelOutput]:
    """Rows of keep [B, T], agnostic [B, T] and relevance [B], each cut to its text's tokens."""
    keep, agnostic, relevance = (x.float().cpu().numpy() for x in found)
    rows = zip(keep, agnostic, relevance, at, strict=True)
    return [ModelOutput(keep=k[s], agnostic=a[s], relevance=float(r)) for k, a, r, s in rows]
