"""Cramming: latents fitted to one text at a time, what a decoder could read at best, beside what our encoder gives it.

As Kuratov et al. (ACL 2025, "Cramming 1568 Tokens into a Single Vector and Back Again") do to find what a decoder can
hold. Offline, and far too slow to serve.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from laconic.compressors import LatentEncoder
from laconic.models import Catalogue
from laconic.models.question_sets import rows

from . import plots
from .quality import interval
from .soft import Reading

TOKENS = 64  # of each text
RATE = 0.02  # of Adam


def passages(data: Path, reading: Reading, count: int) -> list[str]:
    """The first TOKENS tokens of passages that have as many."""
    out = []
    for row in rows(data / "squad.passages.jsonl.xz"):
        (e,) = reading.tokenizer.encode([row["text"]])
        if len(e.ids) > TOKENS:
            out.append(row["text"][: e.spans[TOKENS - 1][1]])
    return out[:: max(1, len(out) // count)][:count]


def cram(reading: Reading, texts: list[str], rate: int, steps: int) -> tuple[list[float], list[float]]:
    """Share of each text's tokens said again from the encoder's latents, and from fitted ones that began there."""
    ids = torch.tensor([reading.tokenizer.encode([t])[0].ids[:TOKENS] for t in texts])
    found = [reading.stand_in(t, rate, "latents") for t in texts]
    begun, at = torch.stack([x for x, _, _ in found]), torch.stack([p for _, p, _ in found])
    mark = reading.special(reading.prompts["again"])
    with torch.no_grad():
        head = reading.embed(reading.start).expand(len(texts), -1, -1)
        said = torch.cat((reading.embed(mark).expand(len(texts), -1, -1), reading.embed(ids.flatten().tolist())
                          .view(*ids.shape, -1)), 1)  # fmt: skip
    begin = len(reading.start)
    after = torch.arange(len(mark) + TOKENS).expand(len(texts), -1) + begin - 1
    positions = torch.cat((torch.arange(begin).expand(len(texts), -1), begin + at, after), 1)
    more = {"position_ids": positions} if reading.facts.spread else {}

    def logits(latents: Tensor) -> Tensor:
        x = torch.cat((head, latents, said), 1)
        mask = torch.ones(x.shape[:2], dtype=torch.long)
        out: Tensor = reading.model(inputs_embeds=x, attention_mask=mask, use_cache=False, **more).logits
        return out[:, -TOKENS - 1 : -1]

    def share(latents: Tensor) -> list[float]:
        with torch.no_grad():
            right = (logits(latents).argmax(2) == ids).float().mean(1)
        return [float(r) for r in right]

    fitted = begun.clone().requires_grad_()
    optimizer = torch.optim.Adam([fitted], lr=RATE)
    for _ in range(steps):
        loss = cross_entropy(logits(fitted).flatten(0, 1), ids.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return share(begun), share(fitted.detach())


def measure(encoder: LatentEncoder, data: Path, *, count: int, steps: int, models: Catalogue) -> dict[str, Any]:
    """Both shares by rate, with intervals."""
    folder = models.folder(encoder.decoder(None))
    reading = Reading(encoder, next(iter(sorted(folder.glob("*.int8.onnx")))))
    reading.model.requires_grad_(False)
    texts = passages(data, reading, count)
    out: dict[str, Any] = {"texts": len(texts), "tokens": TOKENS, "steps": steps, "encoder": {}, "fitted": {}}
    for rate in tqdm(encoder.facts.rates, desc="cramming"):
        for name, values in zip(("encoder", "fitted"), cram(reading, texts, rate, steps), strict=True):
            out[name][str(rate)] = [round(sum(values) / len(values), 4), *interval(values)]
    return out


def plot(found: dict[str, Any], path: Path) -> Path:
    """Both over the rate."""
    figure, axis = plots.subplots(figsize=(6, 4))
    for name, label in (("fitted", "latents fitted to each text"), ("encoder", "the encoder's latents")):
        plots.means(axis, found[name], label)
    plots.rates(axis, found["encoder"])
    axis.set(ylabel="tokens said again", ylim=(0, 1.02))
    return plots.save(figure, [axis], path)
