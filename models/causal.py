"""Causal language models of Hugging Face's library, from local folders: surprisal of tokens, and attention to them.

Any architecture that `transformers` itself holds and that keeps keys and values; no code that came with a model runs.
A `before` that several texts share is read once. On a CPU every text has a forward of its own, so that its numbers
are the same to the bit in any company; on a GPU texts of similar length share one, padded on the left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import AttentionInterface, AttentionMaskInterface, AutoConfig, AutoModelForCausalLM, DynamicCache
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from .backend import Input, LossInput, LossOutput, as_loss
from .batching import batches
from .card import Card
from .hf import LOCAL
from .torch_backend import CPU_BUDGET

LAST_ROW = "sdpa_last_row"
SHORT = 32  # tokens: a `before` of fewer is read again with each text, one forward instead of two
GPU_BUDGET = 16_384
LOGITS = 2**30  # values of one batch's logits at most


def last_row(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **more: Any,
) -> tuple[Tensor, Tensor]:
    """Attention as "sdpa" does it, with the weights of the last query alone: [B, heads, 1, T]."""
    more.pop("output_attentions", None)
    out, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **more)
    b, heads, _, d = query.shape
    last = query[:, :, -1].reshape(b, key.shape[1], -1, d)  # the heads that share keys side by side
    scores = (last @ key.transpose(-1, -2)).reshape(b, heads, 1, -1).float() * (scaling or 1 / math.sqrt(d))
    if attention_mask is not None:
        seen = attention_mask[:, :, -1:, : key.shape[2]]
        scores = scores.masked_fill(~seen, -torch.inf) if seen.dtype == torch.bool else scores + seen
    return out, scores.softmax(-1)


AttentionInterface.register(LAST_ROW, last_row)
AttentionMaskInterface.register(LAST_ROW, sdpa_mask)


def open_causal(card: Card, folder: Path, device: str, dtype: str) -> CausalBackend:
    """The causal model of a Hugging Face folder on a device.

    Raises RuntimeError where there is no such device, ValueError where the folder does not hold such a model, whole.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("torch sees no GPU; the profile torch-fp32 needs none")
    try:
        config = AutoConfig.from_pretrained(folder, **LOCAL)
        network = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
        if network is None or network._is_stateful:
            raise ValueError(f"{config.model_type} is not a causal language model that keeps keys and values")
        quick = network._supports_sdpa and network._supports_attention_backend
        model, found = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=getattr(torch, dtype),
            attn_implementation=LAST_ROW if quick else "eager",
            use_safetensors=True,
            output_loading_info=True,
            **LOCAL,
        )
    except OSError as e:
        raise ValueError(str(e)) from None
    if found["missing_keys"]:
        raise ValueError(f"its files lack {', '.join(sorted(found['missing_keys']))}")
    return CausalBackend(card, model.to(device))


@dataclass(frozen=True)
class Past:
    """What a `before` leaves: each layer's keys and values, [1, heads, P, D], and logits of what comes next, [V]."""

    layers: Sequence[tuple[Tensor, Tensor]]
    logits: Tensor
    tokens: int

    def cache(self, rows: int) -> DynamicCache:
        """A cache of its own for a batch; forwards add to it."""
        made = DynamicCache()
        for n, (k, v) in enumerate(self.layers):
            made.update(k.expand(rows, *k.shape[1:]), v.expand(rows, *v.shape[1:]), n)
        return made


class CausalBackend:
    """A `Forward` over a causal model; thread-safe. Takes `LossInput`s."""

    def __init__(self, card: Card, model: Any) -> None:
        self.card, self.model, self.device = card, model.eval(), model.device
        config = model.config.get_text_config(decoder=True)
        # transformers 5.24 calls it `cache`, and what it was called until then goes with 5.40
        self.cached = "cache" if "cache" in signature(self.model.forward).parameters else "past_key_values"
        self.positions: int | None = getattr(config, "max_position_embeddings", None)
        self.shape = config.num_hidden_layers, config.num_attention_heads
        self.together = self.device.type != "cpu"
        self.budget = min(GPU_BUDGET, max(CPU_BUDGET, LOGITS // config.vocab_size)) if self.together else CPU_BUDGET

    def forward(self, inputs: Sequence[Input], alone: bool) -> list[LossOutput]:
        """Raises ValueError for what the model cannot read at once."""
        asked = [as_loss(i) for i in inputs]
        shared: dict[tuple[int, ...], list[int]] = {}
        out = [self._nothing()] * len(asked)
        for n, i in enumerate(asked):
            self._check(i)
            if i.tokens:
                shared.setdefault(i.before if len(i.before) >= SHORT else (), []).append(n)
        try:
            with torch.inference_mode():
                for before, these in shared.items():
                    past = self._read(before) if before else None
                    for batch in batches(asked, these, self.together):
                        for n, found in zip(batch, self._score([asked[n] for n in batch], past), strict=True):
                            out[n] = found
            return out
        except torch.OutOfMemoryError as e:
            torch.cuda.empty_cache()
            raise MemoryError(str(e)) from None

    def _check(self, i: LossInput) -> None:
        if not i.before:
            raise ValueError("nothing stands before the text: a first token has no surprisal")
        if self.positions and (n := len(i.before) + i.tokens) > self.positions:
            raise ValueError(f"{n} tokens are more than the {self.positions} that {self.card.name} reads at once")

    def _nothing(self) -> LossOutput:
        none = np.zeros(0, np.float32)
        return LossOutput(text=none, after=none, attention=np.zeros((*self.shape, 0), np.float32))

    def _read(self, before: tuple[int, ...]) -> Past:
        # without the config: a cache that forgets what slid out of a window could not be shared
        cache = DynamicCache()
        ids = torch.tensor([before], device=self.device)
        found = self.model(ids, **{self.cached: cache}, logits_to_keep=1)
        return Past([(x.keys, x.values) for x in cache.layers], found.logits[0, -1], len(before))

    def _score(self, batch: Sequence[LossInput], past: Past | None) -> list[LossOutput]:
        """One forward. Rows end together, so that the last token of each is the last of all."""
        tails = [(*i.text, *i.after) for i in batch]
        rows = tails if past else [(*i.before, *tail) for i, tail in zip(batch, tails, strict=True)]
        width, known = max(map(len, rows)), past.tokens if past else 0
        ids = torch.tensor([(0,) * (width - len(r)) + r for r in rows], device=self.device)
        more: dict[str, Tensor] = {}
        if any(len(r) < width for r in rows):
            pads = torch.tensor([[width - len(r)] for r in rows], device=self.device)
            at = torch.arange(width, device=self.device)
            before = torch.ones(len(rows), known, dtype=torch.bool, device=self.device)
            more["attention_mask"] = torch.cat((before, at >= pads), 1).long()
            more["position_ids"] = (known + at - pads).clamp(min=0)
        found = self.model(
            ids,
            **{self.cached: past.cache(len(rows)) if past else None},
            use_cache=past is not None,
            output_attentions=True,
            logits_to_keep=max(map(len, tails)) + 1,
            **more,
        )
        attention = torch.stack([a[:, :, -1] for a in found.attentions], 1).float().cpu()  # [B, layers, heads, T]
        out = []
        for i, tail, logits, paid in zip(batch, tails, found.logits, attention, strict=True):
            n, m = len(tail), len(i.text)
            said = torch.cat((past.logits[None], logits[len(logits) - n : -1])) if past else logits[-n - 1 : -1]
            loss = cross_entropy(said.float(), torch.tensor(tail, device=self.device), reduction="none").cpu().numpy()
            begin = paid.shape[-1] - n
            out.append(
                LossOutput(text=loss[:m], after=loss[m:], attention=paid[..., begin : begin + m].contiguous().numpy())
            )
        return out
