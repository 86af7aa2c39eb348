"""From a torch network to ONNX files: export, per-channel int8, parity against fp32.

`python -m laconic.models.export MODEL_FOLDER TARGET --profile cpu-fp32` makes the files of another profile.
"""

from __future__ import annotations

import argparse
import copy
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from . import hf
from .backend import Backend, ModelInput
from .card import Card, digest
from .marks import MARKS
from .onnx_backend import session
from .onnx_tools import Int8Embedding, to_int8, to_onnx
from .outliers import apart
from .soft.config import FILE as SOFT
from .training.late import Side

SCORES = {"keep": True, "agnostic": True, "relevance": False}
EXAMPLE = {"input_ids": torch.randint(1000, 20000, (1, 60)), "parts": torch.tensor([[1] * 12 + [2] * 48])}


class _Encode(nn.Module):
    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        positions = torch.arange(input_ids.shape[1])[None]
        return self.encoder(input_ids, positions, torch.zeros(1, 1))


class _Interact(nn.Module):
    def __init__(self, interaction: nn.Module) -> None:
        super().__init__()
        self.interaction = interaction

    def forward(self, input_ids: torch.Tensor, parts: torch.Tensor, states: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.interaction(input_ids, states, parts == 1, parts == 2)


def encoder_to_onnx(network: Any, path: Path) -> None:
    """The encoder alone: input_ids [1, T] of a query or of a segment to its tapped states [1, T, D]."""
    to_onnx(_Encode(network.encoder), path, {"input_ids": EXAMPLE["input_ids"]}, {"states": True})


def interaction_to_onnx(network: Any, path: Path) -> None:
    """The interaction alone: input_ids, parts [1, T] and states [1, T, D] to the scores."""
    width = network.config.width
    to_onnx(_Interact(network.interaction), path, {**EXAMPLE, "states": torch.randn(1, 60, width)}, SCORES)


class _Code(nn.Module):
    def __init__(self, coder: nn.Module) -> None:
        super().__init__()
        self.coder = coder

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.coder(states).to(torch.int8)


class _Match(nn.Module):
    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        query, segment = (
            Side(ids, codes.float(), torch.ones_like(ids, dtype=torch.bool)) for ids, codes in (given[:2], given[2:])
        )
        return self.head(query, segment)


def late_to_onnx(late: Any, work: Path, target: Path, profile: str) -> list[str]:
    """The coder (states to int8 codes, fp32 inside) and the head (two sides' ids and codes to scores)."""
    files = ["coder.onnx", f"late.{profile.removeprefix('cpu-')}.onnx"]
    size, width = late.config.code, late.config.states
    to_onnx(_Code(late.coder), target / files[0], {"states": torch.randn(1, 60, width)}, {"codes": True})
    example = {}
    for side, length in (("query", 12), ("segment", 48)):
        example[f"{side}_ids"] = torch.randint(1000, 20000, (1, length))
        example[f"{side}_codes"] = torch.randint(-127, 127, (1, length, size)).to(torch.int8)
    full = (target if profile == "cpu-fp32" else work) / "late.fp32.onnx"
    to_onnx(_Match(late.head), full, example, SCORES)
    if profile == "cpu-int8":
        to_int8(full, target / files[1], exclude=heads_of(full))
    return files


class _Cut(nn.Module):
    def __init__(self, edu: nn.Module) -> None:
        super().__init__()
        self.edu = edu

    def forward(self, input_ids: torch.Tensor, marks: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.edu(input_ids, torch.arange(input_ids.shape[1])[None], torch.zeros(1, 1), marks)


def edu_to_onnx(edu: Any, work: Path, target: Path, profile: str) -> list[str]:
    """The finder of discourse units: input_ids [1, T] and marks [1, T, MARKS] to what an EduOutput is made of."""
    small = copy.deepcopy(edu).cpu().eval()
    if profile == "cpu-int8":
        small.encoder.word = Int8Embedding(edu.encoder.word.weight.detach())
    files = [f"edu.{profile.removeprefix('cpu-')}.onnx"]
    full = (target if profile == "cpu-fp32" else work) / "edu.fp32.onnx"
    example = {"input_ids": EXAMPLE["input_ids"], "marks": torch.zeros(1, 60, MARKS)}
    to_onnx(_Cut(small), full, example, {"start": True, "links": True, "keep": True})
    if profile == "cpu-int8":
        to_int8(full, target / files[0], exclude=heads_of(full, ("marks", "start", "links", "keep")))
    return files


def heads_of(path: Path, names: Iterable[str] = SCORES) -> list[str]:
    """The last products of a scorer's graph, left in fp32."""
    nodes = onnx.load(str(path)).graph.node
    return [n.name for n in nodes if n.name.split("/")[2:3] in [[h] for h in names]]


def encoder_to_int8(network: Any, work: Path, target: Path, examples: Sequence[np.ndarray]) -> None:
    """The encoder in int8, its word table too; `examples` are token ids [T] that show which channels are loud."""
    small = copy.deepcopy(network).cpu().eval()
    small.encoder.word = Int8Embedding(network.encoder.word.weight.detach())
    plain, quiet = work / "encoder.plain.onnx", work / "encoder.quiet.onnx"
    encoder_to_onnx(small, plain)
    to_int8(quiet, target, exclude=apart(plain, quiet, examples))


def int8_encoder(path: Path) -> Any:
    """The encoder of an ONNX file as a callable ids [T] -> float32 states [T, D]."""
    run = session(path).run

    def encode(ids: np.ndarray) -> np.ndarray:
        return run(None, {"input_ids": ids[None]})[0][0]

    return encode


def interaction_to_int8(network: Any, work: Path, target: Path) -> None:
    """The interaction in int8, its heads left in fp32; the fp32 graph stays in `work`."""
    full = work / "interaction.fp32.onnx"
    interaction_to_onnx(network, full)
    to_int8(full, target, exclude=heads_of(full))


def export(network: Any, work: Path, target: Path, encoder: Path) -> dict[str, list[str]]:
    """Write fp32 graphs into `work` and int8 ones into `target`, `encoder` being one; returns the card's `files`."""
    encoder_to_onnx(network, work / "encoder.fp32.onnx")
    if encoder.resolve() != (own := target / "encoder.int8.onnx").resolve():
        shutil.copy(encoder, own)
    interaction_to_int8(network, work, target / "interaction.int8.onnx")
    return {"cpu-int8": ["encoder.int8.onnx", "interaction.int8.onnx"]}


def convert(source: Path, target: Path, profile: str) -> Card:
    """Write the model in `source` to `target` with the ONNX files of `profile`; the two may be one folder.

    For cpu-fp32 the encoder's int8 weights are scaled back; for cpu-int8 its file is kept. Raises ValueError for a
    profile that is not made of ONNX files.
    """
    from .export_classifier import convert_classifier
    from .export_soft import convert_soft
    from .torch_backend import open_edu, open_late, open_network

    if profile not in ("cpu-fp32", "cpu-int8"):
        raise ValueError(f"{profile} is not made of ONNX files; cpu-int8 and cpu-fp32 are")
    if (source / SOFT).is_file():
        return convert_soft(source, target, profile)
    if hf.applies(source):
        return convert_classifier(source, target, profile)
    card = Card.read(source)
    kept = [name for name in card.sha256 if not name.endswith(".fp32.onnx")]
    target.mkdir(parents=True, exist_ok=True)
    if source != target:
        for name in kept:
            shutil.copy(source / name, target / name)
    network = open_network(source, card.files["cpu-int8"][0])
    late, edu = card.late, card.edu
    with TemporaryDirectory() as folder:
        work = Path(folder)
        if profile == "cpu-fp32":
            files = ["encoder.fp32.onnx", "interaction.fp32.onnx"]
            encoder_to_onnx(network, target / files[0])
            interaction_to_onnx(network, target / files[1])
        else:
            files = list(card.files[profile])
            interaction_to_int8(network, work, target / files[1])
        late_files = late_to_onnx(open_late(source), work, target, profile) if late else []
        edu_files = list(edu.files["cpu-int8"]) if edu else []
        if edu and profile == "cpu-fp32":
            edu_files = edu_to_onnx(open_edu(source, edu_files[0]), work, target, profile)
    if late:
        late = replace(late, files={**late.files, profile: late_files})
    if edu:
        edu = replace(edu, files={**edu.files, profile: edu_files})
    sha256 = {name: digest(target / name) for name in dict.fromkeys([*kept, *files, *late_files, *edu_files])}
    made = replace(card, files={**card.files, profile: files}, late=late, edu=edu, sha256={**card.sha256, **sha256})
    made.write(target)
    return made


def parity(full: Backend, small: Backend, inputs: list[ModelInput], rate: float = 0.25) -> dict[str, float]:
    """How far int8 is from fp32: mean and largest difference of keep logits, and flips at `rate`.

    A flip is a text token that one of the two keeps and the other drops when each keeps its best `rate`.
    """
    gaps, flips, total = [], 0, 0
    for a, b in zip(full.run(inputs), small.run(inputs), strict=True):
        k = max(1, int(rate * len(a.keep)))
        flips += len(set(np.argsort(-a.keep)[:k]) ^ set(np.argsort(-b.keep)[:k])) // 2
        total += len(a.keep)
        gaps.append(np.abs(a.keep - b.keep))
    every = np.concatenate(gaps)
    return {
        "mean_difference": round(float(every.mean()), 4),
        "largest_difference": round(float(every.max()), 4),
        "flip_rate": round(flips / total, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m laconic.models.export", description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--profile", choices=["cpu-fp32", "cpu-int8"], default="cpu-fp32")
    a = parser.parse_args()
    print(", ".join(convert(a.source, a.target, a.profile).files[a.profile]))


if __name__ == "__main__":
    main()
