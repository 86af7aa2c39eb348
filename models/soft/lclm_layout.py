"""LCLM's files (https://github.com/LeonLixyz/LCLM): `encoder/`, `adapter/`, `decoder/` and `model_config.json`.

Of `decoder/` only the configuration is read: its owner runs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..card import CardError, LatentFacts
from .checks import DEEPEST, Held, choice, compare, facts, held, plain, shards, size

CONFIG = "model_config.json"
ADAPTER = "adapter/adapter.safetensors"
POOLINGS = ("mean", "concat", "eos")
ADAPTERS = ("mlp", "attn_mlp", "mlp_attn")
MASKS = ("causal", "bidirectional")
BEFORE, AFTER = "<|memory_start|>", "<|memory_end|>"  # around the latents, in the decoder's chat
NEVER = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")  # low-rank adapters, unmerged


def applies(folder: Path) -> bool:
    return (folder / CONFIG).is_file() and (folder / "encoder").is_dir() and (folder / "adapter").is_dir()


@dataclass(frozen=True, kw_only=True)
class Lclm:
    """What an LCLM folder declares.

    `inner` is the adapter's input width, `marker` the id that `eos` pooling puts behind the text.
    """

    rate: int
    window: int
    pooling: str
    adapter: str
    layers: int  # of attention in the adapter
    causal: bool
    hidden: int
    positions: int  # of text that the encoder reads at once
    inner: int
    decoder: int
    marker: int
    files: tuple[str, ...]

    @property
    def latent(self) -> LatentFacts:
        """The decoder travels in the folder, so its name is the folder's name for it."""
        return LatentFacts(rates=[self.rate], decoders={"decoder": self.decoder}, before=BEFORE, after=AFTER)

    @staticmethod
    def read(folder: Path) -> Lclm:
        """All checked but which tensors the encoder needs, which its class knows; raises CardError."""
        path = folder / CONFIG
        found = facts(path)
        rate = size(found, "compression_ratio", path)
        window = size(found, "encoder_window_size", path)
        size({"boundary_overlap": 0, **found}, "boundary_overlap", path, least=0)
        pooling, adapter = choice(found, "pooling", path, POOLINGS), choice(found, "adapter_type", path, ADAPTERS)
        if window % rate:
            raise CardError(f"{path}: encoder_window_size {window} is no multiple of compression_ratio {rate}")
        if (pooling, adapter) == ("concat", "attn_mlp"):
            raise CardError(f"{path}: attn_mlp attends in the encoder's width, which concatenated states do not have")
        layers = size({"num_adapter_layers": 1, **found}, "num_adapter_layers", path, DEEPEST)
        encoder = _encoder(folder, window + (window // rate if pooling == "eos" else 0))  # markers too
        hidden = encoder["hidden_size"]
        out = Lclm(
            rate=rate,
            window=window,
            pooling=pooling,
            adapter=adapter,
            layers=0 if adapter == "mlp" else layers,
            causal=choice(found, "encoder_mask_type", path, MASKS) == "causal",
            hidden=hidden,
            positions=_positions(encoder, rate if pooling == "eos" else 0),
            inner=hidden * rate if pooling == "concat" else hidden,
            decoder=_decoder(folder),
            marker=_marker(folder / "encoder", encoder) if pooling == "eos" else 0,
            files=_files(folder),
        )
        _adapter(folder, out, encoder)
        encoder_held(folder)
        return out


def _files(folder: Path) -> tuple[str, ...]:
    """All that is read, from the folder."""
    names = [f"encoder/{n}" for n in ("config.json", *shards(folder / "encoder"))]
    maybe = [f"encoder/{n}" for n in ("model.safetensors.index.json", "tokenizer_config.json")]
    there = [n for n in (*maybe, "decoder/config.json") if (folder / n).is_file()]
    return (CONFIG, *names, *there, ADAPTER)


def _encoder(folder: Path, longest: int) -> dict[str, Any]:
    """The encoder's configuration, its sizes within reason; `longest` is how many positions a window takes."""
    path = folder / "encoder" / "config.json"
    found = facts(path)
    for name in ("hidden_size", "num_attention_heads", "vocab_size"):
        size(found, name, path)
    size(found, "num_hidden_layers", path, DEEPEST)
    positions = found.get("max_position_embeddings")
    if positions is not None and size(found, "max_position_embeddings", path, 2**30) < longest:
        raise CardError(f"{path}: {positions} positions are fewer than the {longest} of a window")
    if found.get("quantization_config"):
        raise CardError(f"{path}: quantized weights are not supported")
    for name in NEVER:
        if (path.parent / name).exists():
            raise CardError(f"{path.parent / name}: low-rank adapters beside the weights; merge them first")
    return found


def _positions(encoder: Mapping[str, Any], rate: int) -> int:
    """Tokens of text that fit, with a marker for every `rate` of them."""
    most: int = encoder.get("max_position_embeddings") or 2**30
    return most * rate // (rate + 1) if rate else most


def _decoder(folder: Path) -> int:
    """Width of the decoder's embeddings: what `decoder/config.json` says if it is there, else the adapter's output."""
    path = plain(folder / ADAPTER)
    last = held(path).get("fc2.weight")
    if last is None or len(last.shape) != 2:
        raise CardError(f"{path} lacks the tensor fc2.weight [decoder, decoder]")
    declared = folder / "decoder" / "config.json"
    if not declared.is_file():
        return size({"fc2.weight": last.shape[0]}, "fc2.weight", path)
    return size(facts(declared), "hidden_size", declared)


def _adapter(folder: Path, c: Lclm, encoder: Mapping[str, Any]) -> None:
    """Raises CardError unless the adapter's file holds just the tensors that its kind has."""
    path = folder / ADAPTER
    wanted: dict[str, tuple[int, ...]] = {
        "norm.weight": (c.inner,),
        "fc1.weight": (c.decoder, c.inner),
        "fc1.bias": (c.decoder,),
        "fc2.weight": (c.decoder, c.decoder),
        "fc2.bias": (c.decoder,),
    }
    if c.adapter == "attn_mlp":
        wanted |= _attention(encoder, c.layers, folder / "encoder" / "config.json")
    elif c.adapter == "mlp_attn":
        declared = folder / "decoder" / "config.json"
        wanted |= _attention(facts(declared), c.layers, declared)
    found = held(path)
    compare(wanted, found, path)
    if more := sorted(set(found) - set(wanted)):
        raise CardError(f"{path} holds another adapter: no {c.adapter} has {more[0][:200]}")


def _attention(found: Mapping[str, Any], layers: int, path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the adapter's layers, each one of Qwen3's with the sizes of a model's own."""
    if found.get("model_type") != "qwen3":
        raise CardError(f"{path}: attention in an adapter has Qwen3's layers, not those of {found.get('model_type')}")
    names = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "head_dim")
    h, inner, heads, shared, d = (size(found, n, path) for n in names)
    if layers > size(found, "num_hidden_layers", path, DEEPEST):
        raise CardError(f"{path}: the adapter has {layers} layers of attention, more than the model")
    one: dict[str, tuple[int, ...]] = {
        "self_attn.q_proj.weight": (heads * d, h),
        "self_attn.k_proj.weight": (shared * d, h),
        "self_attn.v_proj.weight": (shared * d, h),
        "self_attn.o_proj.weight": (h, heads * d),
        "self_attn.q_norm.weight": (d,),
        "self_attn.k_norm.weight": (d,),
        "mlp.gate_proj.weight": (inner, h),
        "mlp.up_proj.weight": (inner, h),
        "mlp.down_proj.weight": (h, inner),
        "input_layernorm.weight": (h,),
        "post_attention_layernorm.weight": (h,),
    }
    if found.get("attention_bias"):
        one |= {n.replace(".weight", ".bias"): s[:1] for n, s in one.items() if "_proj" in n and "attn" in n}
    return {f"attention_layers.{i}.decoder_layer.{n}": s for i in range(layers) for n, s in one.items()}


def _marker(folder: Path, encoder: Mapping[str, Any]) -> int:
    """The id of the tokenizer's padding, which `eos` pooling puts behind the text once for each latent."""
    path = folder / "tokenizer_config.json"
    token = facts(path).get("pad_token") if path.is_file() else None
    token = token.get("content") if isinstance(token, dict) else token
    found = _id(facts(folder / "tokenizer.json"), token) if isinstance(token, str) else encoder.get("pad_token_id")
    if type(found) is not int or not 0 <= found < encoder["vocab_size"]:
        raise CardError(f"{path}: eos pooling needs the id of padding, a pad_token that tokenizer.json has")
    return found


def _id(tokenizer: Mapping[str, Any], token: str) -> Any:
    """A token's id in a `tokenizer.json`, None where it has no such token."""
    added, model = tokenizer.get("added_tokens"), tokenizer.get("model")
    for one in added if isinstance(added, list) else ():
        if isinstance(one, dict) and one.get("content") == token:
            return one.get("id")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    return vocabulary.get(token) if isinstance(vocabulary, dict) else None


def encoder_held(folder: Path) -> dict[str, Held]:
    """The tensors of all of the encoder's files."""
    found: dict[str, Held] = {}
    for name in shards(folder / "encoder"):
        found |= held(folder / "encoder" / name)
    return found
