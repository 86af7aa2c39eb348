"""What a decoder is taught to do with latents: to say the text again, to answer a question about it, to go on reading.

Reconstruction first and answers from latents next is the order of ICAE (Ge et al., ICLR 2024) and of all that followed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tokenizers import Tokenizer

from .data import held_out, read

APART = 48  # articles never trained on, for the curve
ASKED = ("squad", "squad-train", "nq", "afriqa", "fairytale")


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """What stands around latents, in the decoder's own text: before them, to say them again, to ask, and at the end."""

    start: str = "[CLS]"
    again: str = "[MASK]"
    ask: str = "[SEP]{question}[SEP]"
    end: str = "[SEP]"


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A text, a question about it, and where in it the answer stands."""

    text: str
    question: str
    answer: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One example: `text` in the encoder's ids, to be compressed; then what the decoder reads.

    `same` says that the decoder says the text again: positions begin anew. The last `wanted` ids of `then` are targets.
    """

    text: list[int]
    then: list[int]
    wanted: int
    same: bool = False


def passages(folder: Path, *, left_out: bool) -> list[Passage]:
    """Questions whose answer stands in the text, of groups trained on or of those left out."""
    out = []
    for source in ASKED:
        if not (folder / f"{source}.queries.jsonl.xz").exists():
            continue
        texts = {p["pid"]: p["text"] for p in read(folder / f"{source}.passages.jsonl.xz")}
        for q in read(folder / f"{source}.queries.jsonl.xz"):
            for label in q["labels"][:1] if held_out(q["group"]) == left_out else ():
                if label["answers"]:
                    a, b = label["answers"][0]
                    out.append(Passage(text=texts[label["pid"]], question=q["query"], answer=(a, b)))
    return out


class Rows:
    """Makes rows of texts and passages; `encoder` and `decoder` are the two tokenizers, which may be one."""

    def __init__(self, encoder: Tokenizer, decoder: Tokenizer, prompts: Prompts) -> None:
        self.encoder, self.decoder, self.prompts = encoder, decoder, prompts
        self.start = self.said(prompts.start)
        self.end = self.said(prompts.end)

    def said(self, text: str) -> list[int]:
        ids: list[int] = self.decoder.encode(text, add_special_tokens=False).ids
        return ids

    def again(self, text: str, tokens: int, rng: random.Random) -> Row | None:
        """`tokens` of the text from a random word on, to be said again; None where there are fewer."""
        begin = text.find(" ", rng.randrange(max(1, len(text) - 8 * tokens))) + 1
        e = self.encoder.encode(text[begin : begin + 12 * tokens], add_special_tokens=False)
        if len(e.ids) < tokens:
            return None
        target = self.said(text[begin : begin + e.offsets[tokens - 1][1]])
        return Row(text=e.ids[:tokens], then=self.said(self.prompts.again) + target, wanted=len(target), same=True)

    def answer(self, p: Passage, tokens: int, rng: random.Random | None = None) -> Row:
        """The passage, cut to `tokens` around its answer, then the question; the answer is wanted."""
        e = self.encoder.encode(p.text, add_special_tokens=False)
        ids = e.ids
        if rng is not None and len(ids) > tokens:
            at = next((n for n, (_, b) in enumerate(e.offsets) if b > p.answer[0]), 0)
            begin = min(max(0, at - rng.randrange(tokens - 8)), len(ids) - tokens)
            ids = ids[begin : begin + tokens]
        asked = self.said(self.prompts.ask.format(question=p.question))[:64]
        target = self.said(p.text[slice(*p.answer)])[:32] + self.end
        return Row(text=ids[:tokens], then=asked + target, wanted=len(target))

    def plain(self, text: str, tokens: int, rng: random.Random) -> Row | None:
        """Nothing compressed: the decoder reads on as any language model does."""
        found = self.again(text, tokens, rng)
        return found and replace(found, text=[], then=found.then[-found.wanted :], same=False)


def texts(folder: Path, shards: Sequence[int]) -> list[str]:
    """Articles long enough to be cut, of groups trained on."""
    rows = (r for n in shards for r in read(folder / f"wikipedia-{n}.jsonl.xz"))
    found = [r["text"] for r in rows if len(r["text"]) > 4000 and not held_out(r["id"])]
    if len(found) <= APART:
        raise ValueError(f"{folder} holds {len(found)} articles of 4,000 characters; {APART} are kept apart")
    return found
