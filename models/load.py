"""Opening models: the only place that reads weights from disk. Nothing is fetched; every file is verified."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .card import Card, CardError
from .scheduler import Scheduler
from .tokenizer import TextTokenizer


class ModelError(RuntimeError):
    """A model that cannot be opened; the message says why and what to do."""


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
        if profile not in card.files:
            raise ModelError(f"{card.name} has no profile {profile}; there are {', '.join(card.files)}")
        weights = card.files[profile]
        card.verify(folder, [*weights, "tokenizer.json"])
    except CardError as e:
        raise ModelError(str(e)) from None
    try:
        from .onnx_backend import OnnxBackend, usable_cores
    except ImportError:
        raise ModelError("models need onnxruntime: pip install 'laconic[cpu]'") from None
    tokenizer = TextTokenizer(folder / "tokenizer.json")
    cores = usable_cores()
    forward = OnnxBackend(card, [folder / name for name in weights], cores)
    backend = Scheduler(forward, workers or cores)
    return Model(card=card, tokenizer=tokenizer, backend=backend, profile=profile)
