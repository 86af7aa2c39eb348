"""Folders with a `soft.json`: the generic soft compressor as the training command writes it.

`soft.json`, `tokenizer.json`, `encoder/` in Hugging Face's layout, and `pool.safetensors`, all behind the encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..card import CardError, LatentFacts
from .checks import compare, facts, held, plain, shards, size
from .config import FILE, SoftConfig

POOL = "pool.safetensors"


def applies(folder: Path) -> bool:
    return (folder / FILE).is_file()


@dataclass(frozen=True)
class Generic:
    """What `soft.json` says, its weights' headers compared with it."""

    config: SoftConfig
    files: Sequence[str]

    @property
    def latent(self) -> LatentFacts:
        c = self.config
        return LatentFacts(rates=c.rates, decoders=c.decoders, before=c.before, after=c.after, spread=c.spread)

    @property
    def window(self) -> int:
        return self.config.window

    @staticmethod
    def read(folder: Path) -> Generic:
        """Raises CardError with the file and tensor that are wrong."""
        c = SoftConfig.read(folder)
        path = folder / "encoder" / "config.json"
        found = facts(path)
        width = size(found, "hidden_size", path)
        around = len(c.prefix) + len(c.suffix) + (c.slots if c.pooling == "memory" else 0)
        positions = found.get("max_position_embeddings")
        if positions is not None and size(found, "max_position_embeddings", path, 2**30) < c.window + around:
            raise CardError(
                f"{path}: {positions} positions are fewer than a window of {c.window} and {around} around it"
            )
        names = [f"encoder/{n}" for n in ("config.json", *shards(folder / "encoder"))]
        for name in names[1:]:
            held(folder / name)
        compare(pool_shapes(c, width), held(plain(folder / POOL)), folder / POOL)
        return Generic(c, (FILE, POOL, *names))


def pool_shapes(c: SoftConfig, width: int) -> dict[str, tuple[int, ...]]:
    """Every tensor of `pool.safetensors` for an encoder of this width."""
    out: dict[str, tuple[int, ...]] = {"layers": (len(c.gather),)}
    if c.pooling in ("memory", "query"):
        out["slots"] = (c.slots, width)
    attention = {"in_proj_weight": (3 * width, width), "in_proj_bias": (3 * width,)}
    attention |= {"out_proj.weight": (width, width), "out_proj.bias": (width,)}
    if c.pooling == "query":
        out |= {f"attention.{k}": v for k, v in attention.items()}
    for n in range(c.align):
        at = f"align.layers.{n}."
        out |= {f"{at}self_attn.{k}": v for k, v in attention.items()}
        out |= {f"{at}linear1.weight": (4 * width, width), f"{at}linear1.bias": (4 * width,)}
        out |= {f"{at}linear2.weight": (width, 4 * width), f"{at}linear2.bias": (width,)}
        out |= {f"{at}norm{i}.{k}": (width,) for i in (1, 2) for k in ("weight", "bias")}
    for name, decoder in c.decoders.items():
        at = f"projectors.{name.replace('.', '_')}."
        sizes = (width, c.projector, decoder) if c.projector else (width, decoder)
        out |= {f"{at}norm.{k}": (width,) for k in ("weight", "bias")}
        for n in range(len(sizes) - 1):
            out |= {f"{at}steps.{n}.weight": (sizes[n + 1], sizes[n]), f"{at}steps.{n}.bias": (sizes[n + 1],)}
    return out
