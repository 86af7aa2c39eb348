"""From a token classifier in Hugging Face's layout (LLMLingua-2's) to a model folder with ONNX files for the CPU.

`python -m laconic.models.export FOLDER TARGET --profile cpu-int8` comes here for such folders.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from .card import Card, digest
from .classifier import ROBERTA, padding_of, read_network
from .export import EXAMPLE, SCORES, heads_of
from .hf import card as declared
from .hf import config
from .onnx_tools import Int8Embedding, to_int8, to_onnx


class _Classify(nn.Module):
    """As every one-file model: ids and parts to keep, agnostic keep and relevance; positions begin at `first`."""

    def __init__(self, encoder: nn.Module, keep: nn.Linear, first: int) -> None:
        super().__init__()
        self.encoder, self.keep, self.first = encoder, keep, first

    def forward(self, input_ids: Tensor, parts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        # one unpadded segment needs no parts; the sum keeps them an input of the graph
        positions = torch.arange(input_ids.shape[1])[None] + self.first + (parts.sum() * 0)
        logits = self.keep(self.encoder(input_ids, positions, torch.zeros(1, 1)))
        keep = logits[..., 1] - logits[..., 0]
        return keep, keep * 1, keep.mean(1)


def convert_classifier(source: Path, target: Path, profile: str) -> Card:
    """Write `target` with a card, the tokenizer and the graph of `profile`; raises CardError or ValueError."""
    facts = config(source)
    encoder, head = read_network(source, facts)
    first = padding_of(facts) + 1 if ROBERTA[facts["model_type"]] else 0
    target.mkdir(parents=True, exist_ok=True)
    name = f"model.{profile.removeprefix('cpu-')}.onnx"
    if profile == "cpu-int8":
        encoder.word = Int8Embedding(encoder.word.weight.detach())
    with TemporaryDirectory() as folder:
        full = Path(folder) / "model.onnx" if profile == "cpu-int8" else target / name
        to_onnx(_Classify(encoder, head, first), full, EXAMPLE, SCORES)
        if profile == "cpu-int8":
            to_int8(full, target / name, exclude=heads_of(full))
    shutil.copy(source / "tokenizer.json", target / "tokenizer.json")
    known = Card.read(target) if (target / "card.json").exists() else replace(declared(source), files={})
    sha256 = {**known.sha256, **{n: digest(target / n) for n in (name, "tokenizer.json")}}
    made = replace(known, files={**known.files, profile: [name]}, sha256=sha256)
    made.write(target)
    return made
