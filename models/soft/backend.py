"""Soft compressors of every family as a `Forward`: segments in, latents out.

On a CPU every segment has a forward of its own, so that its latents are the same to the bit in any company; on a GPU
segments of similar length share one, padded behind. Latents of a segment depend on nothing outside it.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..backend import Input, LatentInput, as_latent
from ..batching import batches
from ..card import Card, CardError
from ..torch_backend import CPU_BUDGET
from .layout import family

GPU_BUDGET = 16_384
LONGER = 2  # times the card's longest: what was cut within a word may have more tokens by itself


class Network(Protocol):
    """What a family runs; `vocabulary` is how many ids its encoder knows."""

    vocabulary: int

    def count(self, tokens: int, rate: int) -> int:
        """Latents of a segment of so many tokens, at least one."""
        ...

    def __call__(self, ids: Tensor, lengths: Tensor, rate: int, decoder: str) -> Tensor:
        """`ids` [B, T], padded behind with zeros, `lengths` [B] of text, none of them 0; latents [B, G, width], of a
        row those past its count without meaning."""
        ...


def open_soft(card: Card, folder: Path, device: str, dtype: str) -> SoftBackend:
    """The soft compressor of a folder on a device, whichever its family.

    Raises RuntimeError where there is no such device, ValueError where the folder does not hold such a model, whole.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("torch sees no GPU; the profile torch-fp32 needs none")
    found = family(folder)
    if found is None:
        raise CardError(f"{folder} is laid out as no soft compressor that is known")
    opener = getattr(importlib.import_module(f".{found.module}", __package__), found.opener)
    return opener(card, folder, device, dtype)


class SoftBackend:
    """A `Forward` over a family's network; thread-safe. Takes `LatentInput`s."""

    def __init__(self, card: Card, network: Network, device: str = "cpu") -> None:
        if card.latent is None:
            raise CardError(f"{card.name} has no rates and decoders on its card")
        self.card, self.latent, self.network = card, card.latent, network
        self.device = torch.device(device)
        self.together = self.device.type != "cpu"
        self.budget = GPU_BUDGET if self.together else CPU_BUDGET

    def forward(self, inputs: Sequence[Input], alone: bool) -> list[np.ndarray]:
        """Raises ValueError for a rate or decoder that is not on the card, and for ids that the encoder cannot read."""
        asked = [self._asked(i) for i in inputs]
        out = [np.zeros((0, self.latent.decoders[i.decoder]), np.float32) for i in asked]
        kinds: dict[tuple[int, str], list[int]] = {}
        for n, i in enumerate(asked):
            if i.ids:
                kinds.setdefault((i.rate, i.decoder), []).append(n)
        try:
            with torch.inference_mode():
                for these in kinds.values():
                    for batch in batches(asked, these, self.together):
                        for n, found in zip(batch, self._encode([asked[n] for n in batch]), strict=True):
                            out[n] = found
            return out
        except torch.OutOfMemoryError as e:
            torch.cuda.empty_cache()
            raise MemoryError(str(e)) from None

    def _asked(self, given: Any) -> LatentInput:
        """The input as the card's model takes it, short enough and in the encoder's own ids."""
        i = as_latent(given, self.card)
        if len(i.ids) > (most := LONGER * self.card.segment_tokens):
            raise ValueError(f"{len(i.ids)} tokens are more than the {most} that {self.card.name} reads at once")
        if i.ids and not 0 <= min(i.ids) <= max(i.ids) < self.network.vocabulary:
            raise ValueError(f"ids are not all among the {self.network.vocabulary} that {self.card.name} knows")
        return i

    def _encode(self, batch: Sequence[LatentInput]) -> list[np.ndarray]:
        """One forward over segments of one rate, for one decoder."""
        rate, decoder = batch[0].rate, batch[0].decoder
        lengths = [i.tokens for i in batch]
        ids = torch.tensor([i.ids + (0,) * (max(lengths) - n) for i, n in zip(batch, lengths, strict=True)])
        found = self.network(ids.to(self.device), torch.tensor(lengths).to(self.device), rate, decoder)
        latents = found.float().cpu().numpy()
        return [row[: self.network.count(n, rate)].copy() for row, n in zip(latents, lengths, strict=True)]
