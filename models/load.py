"""Opening models: the only place that reads weights from disk. Nothing is fetched; every file is verified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .backend import Forward
from .card import Card, CardError
from .scheduler import Scheduler
from .tokenizer import TextTokenizer


class ModelError(RuntimeError):
    """A model that cannot be opened; the message says why and what to do."""


# Numeric profiles: who runs them, on what, in which precision
PROFILES = {
    "cpu-int8": ("onnx", "cpu", "int8"),
    "cpu-fp32": ("onnx", "cpu", "float32"),
    "torch-fp32": ("torch", "cpu", "float32"),
    "gpu-fp16": ("torch", "cuda", "float16"),
    "gpu-bf16": ("torch", "cuda", "bfloat16"),
}


@dataclass(frozen=True, kw_only=True)
class Model:
    """A lane with the tokenizer and card it goes with, and the numeric profile it runs under."""

    card: Card
    tokenizer: TextTokenizer
    backend: Scheduler
    profile: str


def load_tokenizer(folder: Path) -> TextTokenizer:
    """The verified tokenizer of the model in `folder`, without its weights; raises ModelError."""
    try:
        Card.read(folder).verify(folder, ["tokenizer.json"])
    except CardError as e:
        raise ModelError(str(e)) from None
    return TextTokenizer(folder / "tokenizer.json")


def load_model(folder: Path, profile: str = "cpu-int8", workers: int | None = None) -> Model:
    """Verify and open the model in `folder`; raises ModelError."""
    try:
        card = Card.read(folder)
        if profile not in card.files or profile not in PROFILES:
            raise ModelError(f"{card.name} has no profile {profile}; there are {', '.join(card.files)}")
        weights = card.files[profile]
        late, edu = (head.files.get(profile, ()) if head else () for head in (card.late, card.edu))
        card.verify(folder, [*weights, *late, *edu, "tokenizer.json"])
    except CardError as e:
        raise ModelError(str(e)) from None
    runner, device, dtype = PROFILES[profile]
    if runner == "torch":
        forward, side_by_side = _torch(card, folder, device, dtype)
    else:
        forward, side_by_side = _onnx(card, folder, weights, late, edu)
    backend = Scheduler(forward, workers or side_by_side)
    return Model(card=card, tokenizer=TextTokenizer(folder / "tokenizer.json"), backend=backend, profile=profile)


def _onnx(card: Card, folder: Path, *files: Sequence[str]) -> tuple[Forward, int]:
    """`files`: the scorer's, the late head's, the discourse head's."""
    try:
        from .onnx_backend import OnnxBackend, usable_cores
    except ImportError:
        raise ModelError("models need onnxruntime: pip install 'laconic[cpu]'") from None
    cores = usable_cores()
    weights, late, edu = ([folder / n for n in names] for names in files)
    return OnnxBackend(card, weights, cores, late, edu), cores


def _torch(card: Card, folder: Path, device: str, dtype: str) -> tuple[Forward, int]:
    """On a GPU two workers: one prepares a batch while the other's runs."""
    try:
        from .torch_backend import open_backend
    except ImportError as e:
        raise ModelError(f"this profile needs {e.name}: pip install 'laconic[gpu]'") from None
    try:
        return open_backend(card, folder, device, dtype), 2 if device == "cuda" else 1
    except (RuntimeError, ValueError, ImportError) as e:
        raise ModelError(f"{card.name} cannot run on {device}: {e}") from None
