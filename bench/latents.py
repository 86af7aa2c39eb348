"""What latents cost: encoding from a thousand to a hundred thousand tokens, cold and warm, and a decoder's first token.

The decoder of the second part is Llama's architecture with random weights, of the size of the embedded one: the time a
forward takes does not depend on what the weights are, and the embedded decoder has too few positions for such contexts.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from laconic.compressors import Compressor, Document
from laconic.models import Catalogue
from laconic.models.question_sets import rows
from laconic.service.cache import Lru, Tiers

from . import plots

SIZES = (1_000, 4_000, 10_000, 40_000, 100_000)
CONTEXTS = (4_000, 16_000)
MODEL: dict[str, Any] = {
    **{"hidden_size": 384, "num_hidden_layers": 8, "num_attention_heads": 12, "intermediate_size": 1024},
    **{"num_key_value_heads": 12, "vocab_size": 30522, "max_position_embeddings": 131_072},
}


def text_of(compressor: Compressor, data: Path, tokens: int) -> list[str]:
    """Articles of about so many tokens in all, each its own document."""
    count = compressor.encoder().model.tokenizer.count
    out, left = [], tokens
    for row in rows(data / "wikipedia.jsonl.xz"):
        words = row["text"].split(" ")
        own = count([row["text"]])[0]
        out.append(row["text"] if own <= left else " ".join(words[: max(1, len(words) * left // own)]))
        left -= own
        if left <= 0:
            return out
    raise ValueError(f"the evaluation articles hold fewer than {tokens} tokens")


def timed(run: Callable[[], Any], rounds: int) -> list[float]:
    out = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        out.append(time.perf_counter() - start)
    return out


def encoding(data: Path, rate: int, rounds: int, sizes: tuple[int, ...] = SIZES) -> list[dict[str, float]]:
    """Seconds to encode contexts of each size: nothing known, and everything; medians, the two in turn."""
    out = []
    plain = Compressor()
    for size in sizes:
        texts = text_of(plain, data, size)
        documents = [Document(id=str(n), text=t) for n, t in enumerate(texts)]
        cold, warm = [], []
        for _ in range(rounds):
            compressor = Compressor(store=Tiers(Lru(1 << 30)))
            compressor._models = plain._models  # opened once
            encoder = compressor.encoder()
            plain.encoder().model.tokenizer._recent = type(plain.encoder().model.tokenizer._recent)()
            cold += timed(lambda: encoder(documents, rate), 1)  # noqa: B023
            warm += timed(lambda: encoder(documents, rate), 3)  # noqa: B023
        tokens = sum(plain.encoder().model.tokenizer.count(texts))
        out.append({"tokens": tokens, "cold": statistics.median(cold), "warm": statistics.median(warm)})
    return out


def first_token(data: Path, rate: int, rounds: int, threads: int) -> list[dict[str, float]]:
    """Seconds to a decoder's first token after whole texts, after latents made now, and after latents known before."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**MODEL)).eval()
    compressor = Compressor(store=Tiers(Lru(1 << 30)))
    encoder = compressor.encoder()
    out = []
    with torch.inference_mode():
        for size in CONTEXTS:
            texts = text_of(compressor, data, size)
            documents = [Document(id=str(n), text=t) for n, t in enumerate(texts)]
            ids = [i for e in encoder.model.tokenizer.encode(texts) for i in e.ids]
            whole = model.get_input_embeddings()(torch.tensor([ids]))

            def latents(documents: list[Document] = documents) -> torch.Tensor:
                return torch.from_numpy(np.concatenate([d.values for d in encoder(documents, rate)]))[None]

            begun = time.perf_counter()
            short = latents()
            made = time.perf_counter() - begun
            full, some, known = [], [], []
            for _ in range(rounds):
                full += timed(lambda: model(inputs_embeds=whole, logits_to_keep=1), 1)  # noqa: B023
                some += timed(lambda: model(inputs_embeds=short, logits_to_keep=1), 1)  # noqa: B023
                known += timed(latents, 1)
            once = 2 * MODEL["num_hidden_layers"] * MODEL["hidden_size"] * 4
            out.append(
                {
                    "tokens": len(ids),
                    "latents": short.shape[1],
                    "whole": statistics.median(full),
                    "cold": made + statistics.median(some),
                    "warm": statistics.median(known) + statistics.median(some),
                    "cache_mb_whole": len(ids) * once / 1e6,
                    "cache_mb_latents": short.shape[1] * once / 1e6,
                }
            )
    return out


def measure(data: Path, rate: int, rounds: int, threads: int) -> dict[str, Any]:
    return {
        "rate": rate,
        "card": Catalogue().cards()["laconic-soft"].revision,  # type: ignore[union-attr]
        "encoding": encoding(data, rate, rounds),
        "first_token": first_token(data, rate, rounds, threads),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def plot(found: dict[str, Any], path: Path) -> Path:
    """Seconds over tokens, cold and warm, beside a straight line."""
    figure, axis = plots.subplots(figsize=(6, 4))
    tokens = [r["tokens"] for r in found["encoding"]]
    for kind in ("cold", "warm"):
        axis.plot(tokens, [r[kind] for r in found["encoding"]], marker="o", label=kind)
    last = found["encoding"][-1]
    axis.plot(tokens, [last["cold"] * t / last["tokens"] for t in tokens], ls=":", color="grey", label="proportional")
    axis.set(xscale="log", yscale="log", xlabel="tokens", ylabel="seconds", title="text to latents")
    return plots.save(figure, [axis], path)
