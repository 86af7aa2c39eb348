"""LCLM (https://github.com/LeonLixyz/LCLM): an encoder's last states, pooled in groups, through an adapter.

A segment is one window: ids without special tokens from position 0 on, at most `encoder_window_size` of them. What
`boundary_overlap` of their training let a window see of its neighbours is left out, as is what attention in an adapter
saw of other windows: latents of a segment depend on nothing outside it. So texts of one window are encoded as theirs
are, and longer ones as if each window were a text.

Two roundings of their code are not repeated: the adapter's attention is fed bfloat16 even in fp32, and frequencies of
positions are cast with the weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel
from transformers.models.auto.modeling_auto import MODEL_MAPPING
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer, Qwen3RotaryEmbedding

from ..card import Card
from ..hf import LOCAL
from .backend import SoftBackend
from .checks import compare
from .lclm_layout import ADAPTER, Lclm, encoder_held

ATTENTION = "sdpa"  # what takes masks of ours as they are


def open_lclm(card: Card, folder: Path, device: str, dtype: str) -> SoftBackend:
    """The encoder and adapter of a folder on a device; raises ValueError where the folder does not hold them, whole."""
    c = Lclm.read(folder)
    encoder = open_encoder(folder, c, getattr(torch, dtype)).to(device)
    decoder = configuration(folder / "decoder") if c.adapter == "mlp_attn" else None
    adapter = open_adapter(folder / ADAPTER, c, encoder.config if decoder is None else decoder, getattr(torch, dtype))
    return SoftBackend(card, LclmNetwork(c, encoder, adapter.to(device)).eval().requires_grad_(False), device)


def configuration(folder: Path) -> Any:
    """A model's configuration in its library's class; raises ValueError."""
    try:
        found = AutoConfig.from_pretrained(folder, **LOCAL)
    except Exception as e:  # a configuration can be wrong in any way
        raise ValueError(f"{folder / 'config.json'} is not the configuration of a model: {e}") from None
    found._attn_implementation = ATTENTION  # the file may name a hub's kernel there: code that would be fetched and run
    kinds = set(getattr(found, "layer_types", None) or ())
    if found.is_encoder_decoder or kinds - {"full_attention"}:
        raise ValueError(f"{folder / 'config.json'}: {found.model_type} with layers that do not see the whole window")
    return found


def open_encoder(folder: Path, c: Lclm, dtype: torch.dtype) -> Any:
    """The encoder on the CPU; its tensors are compared with what its class asks for before any is read."""
    path = folder / "encoder"
    config = configuration(path)
    network = MODEL_MAPPING.get(type(config), None)
    if network is None or not (network._supports_sdpa and network._supports_attention_backend):
        raise ValueError(f"{config.model_type} is not an encoder whose attention takes a mask of ours")
    with torch.device("meta"):
        wanted = AutoModel.from_config(config)
    prefix = f"{wanted.base_model_prefix}."  # of what was saved with a head
    found = {name.removeprefix(prefix): one for name, one in encoder_held(folder).items()}
    compare({name: tuple(p.shape) for name, p in wanted.state_dict().items()}, found, path)
    try:
        model = AutoModel.from_pretrained(
            path, config=config, dtype=dtype, attn_implementation=ATTENTION, use_safetensors=True, **LOCAL
        )
    except (OSError, SafetensorError) as e:
        raise ValueError(f"{path} cannot be read: {e}") from None
    return model


def open_adapter(path: Path, c: Lclm, config: Any, dtype: torch.dtype) -> Adapter:
    """The adapter of a file; `config` is of the model whose layers its attention has."""
    with torch.device("meta"):  # sizes only
        adapter = Adapter(c, config)
    if c.layers:
        adapter.rotary = Qwen3RotaryEmbedding(config)
    try:
        own = {name: tensor.to(dtype) for name, tensor in load_file(str(path)).items()}
    except SafetensorError as e:
        raise ValueError(f"{path} cannot be read: {e}") from None
    adapter.load_state_dict(own, assign=True)
    return adapter


class Adapter(nn.Module):
    """Pooled states [B, G, inner] to latents [B, G, decoder]; its modules are named as checkpoints name them."""

    def __init__(self, c: Lclm, config: Any) -> None:
        super().__init__()
        self.kind = c.adapter
        self.norm = nn.RMSNorm(c.inner, eps=1e-6)
        self.fc1, self.fc2 = nn.Linear(c.inner, c.decoder), nn.Linear(c.decoder, c.decoder)
        layers = [nn.ModuleDict({"decoder_layer": Qwen3DecoderLayer(config, i)}) for i in range(c.layers)]
        self.attention_layers = nn.ModuleList(layers)
        self.rotary: Any = None

    def forward(self, x: Tensor, inside: Tensor) -> Tensor:
        """`inside` bool [B, G]: which latents are there."""
        if self.kind == "attn_mlp":
            x = self.attend(x, inside)
        x = self.fc2(F.gelu(self.fc1(self.norm(x))))
        return self.attend(x, inside) if self.kind == "mlp_attn" else x

    def attend(self, x: Tensor, inside: Tensor) -> Tensor:
        """Each latent to all of its segment, at positions from 0 on."""
        seen = inside[:, None, None].expand(-1, 1, x.shape[1], -1)
        turns = self.rotary(x, torch.arange(x.shape[1], device=x.device)[None])
        for layer in self.attention_layers:
            x = layer["decoder_layer"](x, attention_mask=seen, position_embeddings=turns)
        return x


class LclmNetwork(nn.Module):
    """A `Network`: the encoder, the pooling, the adapter."""

    def __init__(self, c: Lclm, encoder: Any, adapter: Adapter) -> None:
        super().__init__()
        self.config, self.encoder, self.adapter = c, encoder, adapter
        self.vocabulary: int = encoder.config.vocab_size

    def count(self, tokens: int, rate: int) -> int:
        return -(-tokens // rate)

    def forward(self, ids: Tensor, lengths: Tensor, rate: int, decoder: str) -> Tensor:
        """See `Network`; `rate` is the one it was trained with and the decoder the only one."""
        if ids.shape[1] > self.config.positions:
            raise ValueError(f"{ids.shape[1]} tokens are more than the {self.config.positions} that the encoder reads")
        groups = (lengths + rate - 1) // rate
        most = self.count(ids.shape[1], rate)
        at = torch.arange(most, device=ids.device)
        inside = at < groups[:, None]
        if self.config.pooling == "eos":  # markers stand behind each row's own text, its padding behind them
            whole = F.pad(ids, (0, most))
            text = torch.arange(whole.shape[1], device=ids.device) < lengths[:, None]
            states = self.encode(whole.where(text, self.config.marker), lengths + groups)
            place = lengths[:, None] + at
            x = states.gather(1, place[..., None].expand(-1, -1, states.shape[2]))
        else:
            x = self.pool(self.encode(ids, lengths), lengths, rate)
        return self.adapter(x, inside)

    def encode(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Last states [B, T, H]; the mask is as configured, whichever way the encoder's class looks by itself."""
        at = torch.arange(ids.shape[1], device=ids.device)
        seen = (at < lengths[:, None])[:, None, None].expand(-1, 1, len(at), -1)
        if self.config.causal:
            seen = seen & (at <= at[:, None])
        return self.encoder(ids, attention_mask=seen, use_cache=False).last_hidden_state

    def pool(self, states: Tensor, lengths: Tensor, rate: int) -> Tensor:
        """Groups of `rate` states side by side, zeros after the last, or their mean."""
        inside = torch.arange(states.shape[1], device=states.device) < lengths[:, None]
        rows = F.pad(states * inside[..., None], (0, 0, 0, -states.shape[1] % rate)).unflatten(1, (-1, rate))
        if self.config.pooling == "concat":
            return rows.flatten(2)
        count = F.pad(inside, (0, -inside.shape[1] % rate)).unflatten(1, (-1, rate)).sum(2)
        return (rows.float().sum(2) / count.clamp(min=1)[..., None]).to(states.dtype)
