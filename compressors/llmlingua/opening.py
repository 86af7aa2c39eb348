"""What the constructor's arguments name: a model, what it runs on, and the recipe that goes with it."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from laconic.models import Model, ModelError
from laconic.models.card import CardError
from laconic.models.hf import read_card
from laconic.models.load import resolve

from ..compressor import DEFAULT_MODEL, Compressor
from ..recipes import DEFAULT, MODELS, RECIPES
from ..types import InvalidRequest, UnknownName

PACKAGE_MODEL = "NousResearch/Llama-2-7b-hf"  # the package's default: ours are embedded models instead
BY_KIND = {"scorer": DEFAULT, "classifier": "llmlingua2.v1", "causal": "llmlingua.v1"}
# Profiles on a CPU and on a GPU by the package's `torch_dtype`
DTYPES = {
    "auto": ("cpu-int8", "gpu-fp16"),
    "float16": ("cpu-int8", "gpu-fp16"),
    "bfloat16": ("cpu-int8", "gpu-bf16"),
    "float32": ("torch-fp32", "torch-fp32"),
}
ON_GPU = ("cuda", "auto", "balanced", "mps", "sequential")  # what `device_map` begins with
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A compressor, its model by name (None: the recipe's own) and kind, and the recipe if one was named."""

    compressor: Compressor
    model: str | None
    kind: str
    recipe: str | None

    def recipe_for(self, given: Mapping[str, Any]) -> str:
        """The recipe of a call; a causal model's depends on how the call ranks and compares."""
        asking = given.get("rank_method") == "longllmlingua" or bool(given.get("condition_compare"))
        if self.recipe is None and self.kind == "causal" and asking:
            return "longllmlingua.v1"
        return self.recipe or BY_KIND[self.kind]

    def folder(self, name: str) -> Path:
        try:
            return self.compressor.catalogue.folder(name)
        except LookupError as e:
            raise UnknownName(str(e), param="model_name") from None

    def classic(self, use_llmlingua2: bool) -> tuple[Model, Path]:
        """The model of the package's own algorithms, opened, and its folder."""
        kind = "classifier" if use_llmlingua2 else "causal"
        name = self.model or MODELS.get(kind)
        if name is None or (self.model and self.kind != kind):
            raise InvalidRequest(f"mode='legacy' needs a {kind} model here: name one", param="model_name")
        return self.compressor.model(name), self.folder(name)


def opened(
    name: str, device: str, config: Mapping[str, Any], *, use_llmlingua2: bool = False, recipe: str | None = None
) -> Opened:
    """A compressor for the model of that name, folder or id; raises LaconicError, ModelError."""
    if recipe is not None and recipe not in RECIPES:
        raise UnknownName(f"no recipe {recipe[:80]!r}; there are {', '.join(RECIPES)}", param="recipe")
    on_cpu, on_gpu = profiles(config)
    placed = None if name == PACKAGE_MODEL else place(name)
    models_dir = placed.parent if placed else None
    model = placed.name if placed else None
    kind = kind_of(placed) if placed else "scorer"
    if kind not in BY_KIND:
        raise InvalidRequest(f"{name} is a {kind}: no recipe compresses with it", param="model_name")
    if use_llmlingua2 and kind == "causal":
        raise InvalidRequest(f"use_llmlingua2 needs a token classifier; {name} is a causal model", param="model_name")

    def made(profile: str) -> Opened:
        compressor = Compressor(model=model or DEFAULT_MODEL, profile=profile, models_dir=models_dir)
        return Opened(compressor=compressor, model=model, kind=kind, recipe=recipe)

    if not wants_gpu(device) or on_gpu == on_cpu:
        return made(on_cpu)
    if has_gpu():
        found = made(on_gpu)
        try:
            found.compressor.model_of(found.recipe_for({}), model)
            return found
        except ModelError as e:
            log.warning("device_map=%r: %s", device, e)
    log.warning("device_map=%r: running on the CPU instead", device)
    return made(on_cpu)


def place(name: str) -> Path:
    """The folder of a model: embedded, local, or fetched by its id."""
    known = Compressor().catalogue.folders()
    return known[name] if name in known else resolve(name).resolve()


def kind_of(folder: Path) -> str:
    try:
        return read_card(folder).kind
    except CardError as e:
        raise ModelError(str(e)) from None


def profiles(config: Mapping[str, Any]) -> tuple[str, str]:
    """Profiles on a CPU and on a GPU; raises InvalidRequest for what of `model_config` means nothing."""
    rest = {k: v for k, v in config.items() if k != "torch_dtype" and (k, v) != ("trust_remote_code", False)}
    if "trust_remote_code" in rest:
        raise InvalidRequest("no code that comes with a model runs", param="model_config.trust_remote_code")
    for key in rest:
        raise InvalidRequest(f"model_config[{key!r}] means nothing here", param=f"model_config.{key}")
    dtype = str(config.get("torch_dtype", "auto")).removeprefix("torch.")
    if dtype not in DTYPES:
        raise InvalidRequest(f"torch_dtype must be one of {', '.join(DTYPES)}", param="model_config.torch_dtype")
    return DTYPES[dtype]


def wants_gpu(device: str) -> bool:
    """Raises InvalidRequest for a device that is neither."""
    if device.startswith(ON_GPU):
        return True
    if device == "cpu":
        return False
    raise InvalidRequest("device_map must be cpu, cuda, mps or auto", param="device_map")


def has_gpu() -> bool:
    """Whether NVIDIA's driver is there: asking torch would take seconds to import it."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
