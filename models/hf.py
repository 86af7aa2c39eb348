"""Hugging Face folders as models: a card made of what their `config.json` declares.

Such a folder has `config.json`, `tokenizer.json` and `*.safetensors`, and no `card.json`. Nothing else of it is read:
no code that came with it runs and no pickle is opened. Soft compressors have layouts of their own, see `soft.layout`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .card import Card, CardError, digest

if TYPE_CHECKING:
    from .soft.layout import Family

PROFILES = ("torch-fp32", "gpu-fp16", "gpu-bf16")
INSTEAD = {"cpu-int8": "torch-fp32", "cpu-fp32": "torch-fp32"}  # of the profiles that need ONNX files
LOCAL = {"local_files_only": True, "trust_remote_code": False}  # how whatever opens a folder is to open it
WINDOW = 512  # of a classifier, special tokens included
LONGEST = 2048  # tokens a causal model reads at once, whatever it could
AROUND = 128  # of them for title, question and what methods add to it
PATTERNS = (  # all that is ever read
    *("config.json", "tokenizer.json", "*.safetensors", "*.safetensors.index.json"),
    *("modules.json", "*/config.json", "sentence_*.json", "config_*.json"),  # of rankers
    *("model_config.json", "encoder/*.json", "decoder/config.json", "soft.json"),  # of soft compressors
)
NEVER = ("decoder/*.safetensors",)  # of them: whoever reads the latents has those
INDEX = "model.safetensors.index.json"


def applies(folder: Path) -> bool:
    """Whether this is a model in Hugging Face's layout, whole or not; a `card.json` goes before."""
    return not (folder / "card.json").exists() and ((folder / "config.json").is_file() or _soft(folder) is not None)


def _soft(folder: Path) -> Family | None:
    """The family of soft compressors that a folder is laid out as."""
    from .soft.layout import family  # which reads files as this one does

    return family(folder)


def tokenizer(folder: Path) -> str:
    """The name of a folder's tokenizer, which one family has in a folder of its own."""
    found = _soft(folder)
    return found.tokenizer if found else "tokenizer.json"


def config(folder: Path) -> dict[str, Any]:
    """`config.json`; raises CardError."""
    path = folder / "config.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise CardError(f"{path} cannot be read: {e}") from None
    if not isinstance(found, dict):
        raise CardError(f"{path} is not a model's configuration")
    for key in ("attn_implementation", "_attn_implementation"):
        if "/" in str(found.get(key, "")):  # a hub's kernel: code that the library would fetch and run
            raise CardError(f"{path}: {key} {found[key]!r} names code of a hub, which does not run here")
    return found


def kind_of(folder: Path, architectures: list[str]) -> Literal["classifier", "causal", "ranker"]:
    """Raises CardError for what is none of them."""
    if (folder / "modules.json").is_file():  # of sentence-transformers
        return "ranker"
    for name in architectures:
        if name.endswith("ForSequenceClassification"):
            return "ranker"
        if name.endswith("ForTokenClassification"):
            return "classifier"
        if name.endswith(("ForCausalLM", "LMHeadModel")):
            return "causal"
    known = "token classifier, causal language model, ranker or soft compressor"
    raise CardError(f"no {known}: {', '.join(architectures) or 'unnamed'}")


def weights(folder: Path) -> list[str]:
    """Names of the files that hold the weights; raises CardError where they are not safetensors."""
    if (folder / INDEX).is_file():
        try:
            found = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()
            names = sorted({Path(n).name for n in found})  # none from another folder
        except (AttributeError, KeyError, TypeError, ValueError) as e:
            raise CardError(f"{folder / INDEX} is not an index of weights: {e!r}") from None
    else:
        names = ["model.safetensors"]
    missing = [n for n in names if not (folder / n).is_file()]
    if not missing:
        return names
    if any(folder.glob("*.bin")):
        raise CardError(f"{folder} has its weights as pickle, which is not opened: save them as safetensors")
    raise CardError(f"{folder / missing[0]} does not exist")


def card(folder: Path) -> Card:
    """What a folder's files declare, its weights unread; raises CardError with what is missing or not supported."""
    name, revision = folder.name, "unnamed"
    if folder.parent.name == "snapshots":  # huggingface_hub's cache: models--OWNER--NAME/snapshots/COMMIT
        name, revision = folder.parent.parent.name.removeprefix("models--").replace("--", "/"), folder.name
    if family := _soft(folder):
        return family.card(folder, name, revision, PROFILES)
    found = config(folder)
    names = found.get("architectures") or []
    kind = kind_of(folder, names)
    weights(folder)
    if not (folder / "tokenizer.json").is_file():
        raise CardError(f"{folder / 'tokenizer.json'} does not exist: save the model's fast tokenizer there")
    positions = int(found.get("max_position_embeddings") or found.get("n_positions") or LONGEST)
    return Card(
        name=name,
        revision=revision,
        summary=f"{names[0] if names else kind}, a Hugging Face folder",
        licence="see where it came from",
        files={p: [] for p in PROFILES},
        sha256={},
        kind=kind,
        segment_tokens=min(positions, WINDOW) - 2 if kind == "classifier" else min(positions, LONGEST) - AROUND,
    )


def digested(folder: Path) -> Card:
    """`card` with the sha256 of all that is read, which names what a cache keeps; raises CardError."""
    found = card(folder)
    family = _soft(folder)
    names = family.files(folder) if family else ("config.json", "tokenizer.json", *weights(folder))
    return replace(found, sha256={n: digest(folder / n) for n in names})


def read_card(folder: Path) -> Card:
    """The card of a model folder in either layout; raises CardError."""
    return card(folder) if applies(folder) else Card.read(folder)
