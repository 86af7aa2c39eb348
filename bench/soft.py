"""What a decoder makes of latents, beside the whole text and beside as many of its first tokens as there are latents.

SQuAD passages: how much of a passage the decoder says again (every token given those before it), and the F1 of its
answers (greedy, as SQuAD counts them).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from laconic.client.embeds import greedy, places
from laconic.compressors import Document, LatentEncoder
from laconic.models import Catalogue, Model
from laconic.models.lm_hf import hf_model
from laconic.models.question_sets import rows

from . import plots
from .data import examples
from .quality import interval

LONGEST = 384  # tokens of a passage: with the question it fills the decoder's positions
SAID = 24  # tokens of an answer at most
WAYS = ("latents", "latents kept as int8", "first tokens")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A passage, and a question that it answers."""

    text: str
    question: str
    answers: Sequence[str]


class Reading:
    """The decoder of a soft compressor, reading what stands for a text and then its prompts."""

    def __init__(self, encoder: LatentEncoder, decoder: Path) -> None:
        self.encoder, self.tokenizer, self.facts = encoder, encoder.model.tokenizer, encoder.facts
        self.small = LatentEncoder(encoder.model, precision="int8")
        self.model = hf_model(decoder)
        self.prompts = encoder.model.card.facts["prompts"]
        self.start, self.end = self.special(self.prompts["start"]), self.special(self.prompts["end"])[0]

    def special(self, text: str) -> list[int]:
        """Ids of a prompt, its special tokens read as such."""
        inner = self.tokenizer.inner
        inner.encode_special_tokens = False
        try:
            found: list[int] = inner.encode(text, add_special_tokens=False).ids
            return found
        finally:
            inner.encode_special_tokens = True

    def embed(self, ids: Sequence[int]) -> Tensor:
        found: Tensor = self.model.get_input_embeddings()(torch.tensor(ids, dtype=torch.long))
        return found

    def stand_in(self, text: str, rate: int, way: str) -> tuple[Tensor, Tensor, int]:
        """Embeddings [G, H] of what stands for the text, where each stands [G], and the text's tokens."""
        ids = self.tokenizer.encode([text])[0].ids
        if rate == 1 or way == "first tokens":
            some = ids[: -(-len(ids) // rate)]
            return self.embed(some), torch.arange(len(some)), len(ids)
        (found,) = (self.small if way == WAYS[1] else self.encoder)([Document(text=text)], rate)
        at = torch.tensor(places(((p.count, p.tokens) for p in found.parts), rate))
        return torch.from_numpy(found.values), at, found.tokens_in

    def again(self, text: str, rate: int, way: str) -> float:
        """Share of the text's tokens that are the decoder's first choice."""
        x, at, n = self.stand_in(text, rate, way)
        ids = self.tokenizer.encode([text])[0].ids
        mark = self.special(self.prompts["again"])
        x = torch.cat((self.embed(self.start), x, self.embed([*mark, *ids])))
        begin = len(self.start)
        positions = torch.cat((torch.arange(begin), begin + at, torch.arange(len(mark) + n) + begin - 1))
        logits = self.run(x, positions, n + 1)[:-1]
        return float((logits.argmax(1) == torch.tensor(ids)).float().mean())

    def answer(self, asked: Asked, rate: int, way: str) -> str:
        """The decoder's answer, its first choice token by token."""
        x, at, n = self.stand_in(asked.text, rate, way)
        ids = self.special(self.prompts["ask"].format(question=asked.question))[:64]
        begin = len(self.start)
        positions = torch.cat((torch.arange(begin), begin + at, torch.arange(len(ids)) + begin + n))
        x = torch.cat((self.embed(self.start), x, self.embed(ids)))[None]
        given = {"inputs_embeds": x, "attention_mask": torch.ones(x.shape[:2], dtype=torch.long)}
        if self.facts.spread:
            given["position_ids"] = positions[None]
        text: str = self.tokenizer.inner.decode(greedy(self.model, given, self.end, SAID))
        return text

    @torch.inference_mode()
    def run(self, x: Tensor, positions: Tensor, last: int) -> Tensor:
        """Logits [last, V] of a whole prompt's last positions."""
        mask = torch.ones(1, len(x), dtype=torch.long)
        more = {"position_ids": positions[None]} if self.facts.spread else {}
        found = self.model(inputs_embeds=x[None], attention_mask=mask, use_cache=False, logits_to_keep=last, **more)
        logits: Tensor = found.logits[0]
        return logits


def plain(text: str) -> list[str]:
    """Words as SQuAD's evaluation compares them."""
    lowered = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", lowered).split()


def f1(said: str, answers: Sequence[str]) -> float:
    """The best overlap of words with an answer (Rajpurkar et al. 2016)."""
    best, own = 0.0, plain(said)
    for answer in answers:
        gold = plain(answer)
        same = sum((Counter(own) & Counter(gold)).values())
        best = max(best, 2 * same / (len(own) + len(gold)) if own or gold else 1.0)
    return best


def questions(data: Path, count: int, model: Model) -> list[Asked]:
    """Answerable questions, each with the passage that answers it, none too long for the decoder."""
    out = []
    for e in examples(data, "squad", count=2 * count, documents=1):
        text = e.texts[e.relevant[0]]
        if model.tokenizer.count([text])[0] <= LONGEST:
            out.append(Asked(text=text, question=e.query, answers=e.answers))
    return out[:count]


def measure(encoder: LatentEncoder, data: Path, *, count: int, passages: int, models: Catalogue) -> dict[str, Any]:
    """Figures by what is measured, way and rate, each a mean with its interval."""
    name = encoder.decoder(None)
    folder = models.folder(name)
    reading = Reading(encoder, next(iter(sorted(folder.glob("*.int8.onnx")))))
    found = [r["text"] for r in rows(data / "squad.passages.jsonl.xz")]
    texts = [t for t in found if encoder.model.tokenizer.count([t])[0] <= LONGEST][:: max(1, len(found) // passages)]
    asked = questions(data, count, encoder.model)
    cases = [("all of it", 1), *((way, r) for way in WAYS for r in encoder.facts.rates)]
    out: dict[str, Any] = {"passages": len(texts), "questions": len(asked), "again": {}, "answer_f1": {}}
    for way, rate in tqdm(cases, desc="reading"):
        for what, each in (
            ("again", [reading.again(t, rate, way) for t in texts]),
            ("answer_f1", [f1(reading.answer(a, rate, way), a.answers) for a in asked]),
        ):
            mean = round(sum(each) / len(each), 4)
            out[what].setdefault(way, {})[str(rate)] = [mean, *interval(each)]
    return out


def plot(found: dict[str, Any], path: Path) -> Path:
    """Both measures over the rate, with intervals."""
    figure, axes = plots.subplots(ncols=2, figsize=(10, 4))
    for axis, what, title in ((axes[0], "again", "tokens said again"), (axes[1], "answer_f1", "answers, F1")):
        for way in WAYS:
            plots.means(axis, found[what][way], way)
        axis.axhline(found[what]["all of it"]["1"][0], color="grey", ls="--", label="the whole text")
        plots.rates(axis, found[what][WAYS[0]])
        axis.set(title=title, ylim=(0, None))
    return plots.save(figure, axes, path)
