"""Generic soft compressors in torch: a folder as the training command writes it, or the embedded one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, BertConfig, BertModel

from ..bert_names import hf_names, hf_sizes
from ..card import Card
from ..hf import LOCAL
from ..torch_backend import encoder_weights
from .backend import SoftBackend
from .config import SoftConfig
from .generic_layout import POOL
from .network import Pool, SoftNetwork


class GenericNetwork(nn.Module):
    """A `Network` over a SoftNetwork."""

    def __init__(self, network: SoftNetwork) -> None:
        super().__init__()
        self.network, self.vocabulary = network, int(network.encoder.config.vocab_size)

    def count(self, tokens: int, rate: int) -> int:
        return -(-tokens // rate)

    def forward(self, ids: Tensor, lengths: Tensor, rate: int, decoder: str) -> Tensor:
        return self.network(ids, lengths, rate, decoder)


def open_generic(card: Card, folder: Path, device: str, dtype: str) -> SoftBackend:
    """Raises ValueError where the folder does not hold such a model, whole."""
    c = SoftConfig.read(folder)
    encoder = hf_encoder(folder / "encoder") if (folder / "encoder").is_dir() else embedded_encoder(card, folder)
    pool = Pool(c, encoder.config.hidden_size)
    try:
        pool.load_state_dict({k: v.float() for k, v in load_file(str(folder / POOL)).items()})
    except (RuntimeError, SafetensorError) as e:
        raise ValueError(f"{folder / POOL} holds another network: {e}") from None
    network = SoftNetwork(encoder, c)
    network.pool = pool
    made = GenericNetwork(network).to(device, getattr(torch, dtype)).eval().requires_grad_(False)
    return SoftBackend(card, made, device)


def hf_encoder(folder: Path, layers: int = 0) -> Any:
    """The encoder of a Hugging Face folder, without a head; its first `layers`, 0: all. Raises ValueError."""
    try:
        config = AutoConfig.from_pretrained(folder, **LOCAL)
        config._attn_implementation = "sdpa"  # the file may name a hub's kernel there: code that would be fetched
        if layers:
            config.num_hidden_layers = layers
        plain = {"add_pooling_layer": False} if config.model_type in ("bert", "roberta", "xlm-roberta") else {}
        model, found = AutoModel.from_pretrained(
            folder, config=config, use_safetensors=True, output_loading_info=True, **plain, **LOCAL
        )
    except Exception as e:  # a folder can be wrong in any way
        raise ValueError(f"{folder} does not hold an encoder: {e}") from None
    if found["missing_keys"]:
        raise ValueError(f"{folder}: its files lack {', '.join(sorted(found['missing_keys']))}")
    return model


def embedded_encoder(card: Card, folder: Path) -> BertModel:
    """The encoder of an int8 file, scaled back: nothing more travels in the package."""
    own = encoder_weights(folder / card.files["cpu-int8"][0])
    config = BertConfig(**hf_sizes(own))
    model = BertModel(config, add_pooling_layer=False)
    found = model.load_state_dict(hf_names(own, config.num_hidden_layers), strict=False)
    if found.unexpected_keys or found.missing_keys:
        raise ValueError(f"{folder} holds another network: {[*found.missing_keys, *found.unexpected_keys][:3]}")
    return model
