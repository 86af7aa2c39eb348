"""ARC-Encoder's files (https://github.com/kyutai-labs/ARC-Encoder): `config.json` and `model.safetensors`.

The folder is what a model of theirs writes when it is saved for the hub: `config.json` has the arguments it was made
with, the tensors are named by its modules. The tokenizer is that of Llama 3 and does not come with it.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from ..card import CardError, LatentFacts
from .checks import DEEPEST, ONE, choice, compare, facts, held, number, part, plain, size

PARTS = ("bridge_args", "embedder_args", "model_args")
BRIDGES = ("mlp", "rms", "linear", "multi_module")
SEGMENT = 256  # tokens of a text in training: their configurations say so, the checkpoints do not
THETA = 1e6  # of rotary positions, where none is given


def applies(folder: Path) -> bool:
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and all(isinstance(found.get(p), dict) for p in PARTS)


@dataclass(frozen=True, kw_only=True)
class Arc:
    """What an ARC-Encoder's folder declares.

    `pools`: tokens to a group before each of the last layers, as many as there are. `bridge` is none, one for all
    (`mlp`, `rms`, `linear`) or one `mlp` for each of `decoders` (`multi_module`); `ends` says that a learned vector of
    each decoder's own follows the latents.
    """

    dim: int
    layers: int
    heads: int
    shared: int  # heads of keys and values
    head: int
    inner: int
    eps: float
    vocabulary: int
    theta: float
    pools: tuple[int, ...]
    ends: bool
    decoders: int
    bridge: str | None
    middle: int
    out: int
    files: tuple[str, ...] = ("config.json", ONE)

    @property
    def rate(self) -> int:
        return math.prod(self.pools)

    @property
    def window(self) -> int:
        return SEGMENT

    @property
    def latent(self) -> LatentFacts:
        """Decoders have no names in the files: they are numbered in the order of training where there are several."""
        names = ["decoder"] if self.decoders == 1 else [f"decoder{n}" for n in range(self.decoders)]
        return LatentFacts(rates=[self.rate], decoders=dict.fromkeys(names, self.out))

    @staticmethod
    def read(folder: Path) -> Arc:
        """All checked, tensors by the file's header; raises CardError."""
        path = folder / "config.json"
        found = facts(path)
        model, embedder, bridge = (part(found, p, path) for p in ("model_args", "embedder_args", "bridge_args"))
        if model.get("non_parametric_norm") or embedder.get("causal_embedder") or embedder.get("memory_tokens"):
            raise CardError(f"{path}: only bidirectional encoders without memory tokens and with norms are supported")
        pooling = part(embedder, "pooling_module", path)
        choice(pooling, "pool_type", path, ("mean_pooled_queries",))
        choice(pooling, "where", path, ("before",))
        kind = choice(bridge, "bridge_type", path, BRIDGES) if bridge.get("bridge_type") is not None else None
        depth = size(model, "n_layers", path, DEEPEST)
        dim, pools = size(model, "dim", path), _pools(embedder.get("compress_rates"), path)
        layers = depth - size({"n_truncated_layers": 16, **embedder}, "n_truncated_layers", path, depth, least=0)
        if layers < len(pools):
            raise CardError(f"{path}: {layers} layers are left of {depth}, fewer than pool")
        out = dim if kind is None else size(bridge, "out_dim", path)
        made = Arc(
            dim=dim,
            layers=layers,
            heads=size(model, "n_heads", path),
            shared=size(model, "n_kv_heads", path),
            head=size(model, "head_dim", path),
            inner=size(model, "hidden_dim", path),
            eps=number(model, "norm_eps", path, 1e-5),
            vocabulary=size(model, "vocab_size", path),
            theta=number(model, "rope_theta", path, THETA),
            pools=pools,
            ends=embedder.get("cont_tok") is True,
            decoders=size({**found, "empty_init": found.get("empty_init") or 1}, "empty_init", path, DEEPEST),
            bridge=kind,
            middle=size({"hidden_dim": bridge.get("hidden_dim") or out}, "hidden_dim", path),
            out=out,
        )
        made.check(bridge.get("in_dim", 4096), path)
        compare(made.tensors(), held(plain(folder / ONE)), folder / ONE)
        return made

    def check(self, width: object, path: Path) -> None:
        """Raises CardError for sizes that do not go together; `width` is the bridge's input."""
        if self.heads % self.shared or self.head % 2:
            raise CardError(f"{path}: {self.heads} heads of {self.head}, keys of {self.shared}, do not go together")
        if self.bridge is not None and width != self.dim:
            raise CardError(f"{path}: a bridge from {width!r} does not follow an encoder of {self.dim}")

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Every tensor that is used, by its name in the file."""
        d, q, k = self.dim, self.heads * self.head, self.shared * self.head
        layer = {
            **{"attention.wq": (q, d), "attention.wk": (k, d), "attention.wv": (k, d), "attention.wo": (d, q)},
            **{"feed_forward.w1": (self.inner, d), "feed_forward.w2": (d, self.inner)},
            **{"feed_forward.w3": (self.inner, d), "attention_norm": (d,), "ffn_norm": (d,)},
        }
        out: dict[str, tuple[int, ...]] = {"embedder.tok_embeddings.weight": (self.vocabulary, d)}
        out |= {f"embedder.layers.{i}.{n}.weight": s for i in range(self.layers) for n, s in layer.items()}
        if self.ends:
            out |= {f"embedder.cont_tok.{n}.weight": (1, d) for n in range(self.decoders)}
        bridge: dict[str, tuple[int, ...]] = {"layer1": (self.middle, d), "layer2": (self.out, self.middle)}
        if self.bridge == "linear":
            bridge = {"layer1": (self.out, d)}
        elif self.bridge == "rms":
            bridge["norm"] = (d,)
        places = {None: [], "multi_module": [f"{n}." for n in range(self.decoders)]}.get(self.bridge, [""])
        return out | {f"bridge_module.{p}{n}.weight": s for p in places for n, s in bridge.items()}


def _pools(given: object, path: Path) -> tuple[int, ...]:
    """Tokens to a group, from `compress_rates`: -8 is eight tokens, -1 none pooled; a positive one is no rate at all
    but a fixed number of latents for every text, however long."""
    if not isinstance(given, list) or not given or not all(type(n) is int and -4096 <= n < 0 for n in given):
        raise CardError(f"{path}: compress_rates is {given!r}; supported are lists of tokens to a group, as [-8]")
    return tuple(-n for n in given)
