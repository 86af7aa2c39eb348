"""Opening models: the only place that reads weights from disk. Every file of a card is verified.

Nothing is fetched but by `resolve`, which is for programs that name a model themselves, never for a request's names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import hf
from .backend import Forward
from .card import Card, CardError
from .scheduler import Scheduler
from .soft.config import SoftConfig
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
        card = hf.read_card(folder)
        if not hf.applies(folder):
            card.verify(folder, [hf.tokenizer(folder)])
    except CardError as e:
        raise ModelError(str(e)) from None
    return _tokenizer(folder)


def _tokenizer(folder: Path) -> TextTokenizer:
    path = folder / hf.tokenizer(folder)
    try:
        return TextTokenizer(path)
    except Exception as e:  # tokenizers raises bare Exception on a malformed file
        raise ModelError(f"{path} is not a tokenizer: {e}") from None


def load_model(folder: Path, profile: str = "cpu-int8", workers: int | None = None) -> Model:
    """Verify and open the model in `folder`; raises ModelError.

    A Hugging Face folder has no ONNX files: it runs as torch-fp32 where a CPU profile is asked for.
    """
    try:
        if foreign := hf.applies(folder):
            profile = hf.INSTEAD.get(profile, profile)
        card = hf.digested(folder) if foreign else Card.read(folder)
        if card.kind == "ranker":
            raise ModelError(f"{card.name} ranks documents: name it as the ranker, not as the model")
        if profile not in card.files or profile not in PROFILES:
            raise ModelError(f"{card.name} has no profile {profile}; there are {', '.join(card.files)}")
        weights = card.files[profile]
        late, edu = (head.files.get(profile, ()) if head else () for head in (card.late, card.edu))
        card.verify(folder, [*weights, *late, *edu, hf.tokenizer(folder)])
    except CardError as e:
        raise ModelError(str(e)) from None
    runner, device, dtype = PROFILES[profile]
    tokenizer = _tokenizer(folder)
    if runner == "torch":
        forward, side_by_side = _torch(card, folder, device, dtype)
    else:
        forward, side_by_side = _onnx(card, folder, weights, late, edu)
    backend = Scheduler(forward, workers or side_by_side, forks=runner != "torch")
    return Model(card=card, tokenizer=tokenizer, backend=backend, profile=profile)


def _onnx(card: Card, folder: Path, *files: Sequence[str]) -> tuple[Forward, int]:
    """`files`: the scorer's, the late head's, the discourse head's."""
    try:
        from .cores import usable_cores
        from .onnx_backend import OnnxBackend
        from .onnx_lm import OnnxLM
        from .onnx_soft import OnnxSoft
    except ImportError:
        raise ModelError("models need onnxruntime: pip install 'laconic[cpu]'") from None
    cores = usable_cores()
    weights, late, edu = ([folder / n for n in names] for names in files)
    if card.kind == "causal":
        return OnnxLM(card, weights[0], cores), cores
    if card.kind == "soft":
        around = SoftConfig.read(folder)
        return OnnxSoft(card, weights[0], cores, (around.prefix, around.suffix)), cores
    return OnnxBackend(card, weights, cores, late, edu), cores


def _torch(card: Card, folder: Path, device: str, dtype: str) -> tuple[Forward, int]:
    """On a GPU two workers: one prepares a batch while the other's runs."""
    try:
        opener = _opener(card, hf.applies(folder))
    except ImportError as e:
        extra = "hf" if card.kind in ("causal", "soft") else "gpu"
        raise ModelError(f"this profile needs {e.name}: pip install 'laconic[{extra}]'") from None
    try:
        return opener(card, folder, device, dtype), 2 if device == "cuda" else 1
    except (RuntimeError, ValueError, ImportError) as e:
        raise ModelError(f"{card.name} cannot run on {device}: {e}") from None


def _opener(card: Card, foreign: bool) -> Callable[[Card, Path, str, str], Forward]:
    """What opens models of the card's kind in torch; raises ImportError where torch is not installed."""
    if card.kind == "soft":
        from .soft.backend import open_soft

        return open_soft
    if card.kind == "classifier":
        from .classifier import open_classifier

        return open_classifier
    if card.kind == "causal" and foreign:
        from .causal import open_causal

        return open_causal
    if card.kind == "causal":
        from .lm_hf import open_lm

        return open_lm
    from .torch_backend import open_backend

    return open_backend


def load_ranker(folder: Path, profile: str = "cpu-int8") -> Callable[[str, Sequence[str]], list[float]]:
    """The ranker in `folder`: a query and texts to a score for each. Raises ModelError."""
    try:
        card = hf.read_card(folder)
        from .ranker import open_ranker
    except CardError as e:
        raise ModelError(str(e)) from None
    except ImportError as e:
        raise ModelError(f"rankers need {e.name}: pip install 'laconic[rank]'") from None
    if card.kind != "ranker":
        raise ModelError(f"{card.name} is a {card.kind}, not a ranker of documents")
    try:
        return open_ranker(folder, PROFILES[profile][1])
    except (RuntimeError, ValueError) as e:  # a CardError among them
        raise ModelError(f"{card.name} cannot rank: {e}") from None


def resolve(name: str | Path) -> Path:
    """The folder of a model named by its folder, or by its id at Hugging Face, fetched once; raises ModelError."""
    if Path(name).is_dir():
        return Path(name)
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        what = f"{name} is no folder; fetching it needs huggingface_hub"
        raise ModelError(f"{what}: pip install 'laconic[hf]'") from None
    try:
        return Path(snapshot_download(str(name), allow_patterns=[*hf.PATTERNS], ignore_patterns=[*hf.NEVER]))
    except (OSError, ValueError) as e:  # ids that cannot be, repositories that are not there, no network
        raise ModelError(f"{name} is no folder, and Hugging Face did not answer with it: {e}") from None
