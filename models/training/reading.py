"""What a decoder is taught to do with latents: to say the text again, to answer a question about it, to go on reading.

Reconstruction first and answers from latents next is the order of ICAE (Ge et al., ICLR 2024) and of all that followed.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tokenizers import Tokenizer

from ..question_sets import SetError, names, read_set
from .data import MIX, held_out, read, refuse

QUESTIONS = 4  # about one text
APART = 48  # articles never trained on, for the curve
Asked = dict[str, list[tuple[str, int, int]]]  # questions and where their answers stand, by passage
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
    """A text, and questions about it, each with where in it the answer stands."""

    text: str
    questions: Sequence[tuple[str, int, int]]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One example: `text` in the encoder's ids, to be compressed; then what the decoder reads.

    `same` says that the decoder says the text again: positions begin anew. `wanted` are the places in `then` of what
    is to be predicted.
    """

    text: list[int]
    then: list[int]
    wanted: Sequence[int]
    same: bool = False


def passages(folder: Path) -> tuple[list[Passage], list[Passage]]:
    """Texts with the questions that they answer: of groups trained on, and of those left out.

    Of our sets those of ASKED are read, of others all. Raises SetError where either side is empty.
    """
    refuse(folder)
    sides: tuple[list[Passage], list[Passage]] = [], []
    for source in (n for n in names(folder) if n in ASKED or n not in MIX):
        found = read_set(folder, source)
        asked: tuple[Asked, Asked] = defaultdict(list), defaultdict(list)
        for q in found["queries"]:
            for label in q["labels"][:1]:
                if label["answers"]:
                    asked[held_out(q["group"])][label["pid"]].append((q["query"], *label["answers"][0]))
        for side, by in zip(sides, asked, strict=True):
            wanted = {pid: p["text"] for pid, p in found["passages"].items() if pid in by}
            side += [Passage(text=text, questions=by[pid]) for pid, text in wanted.items()]
    if not all(sides):
        raise SetError(f"{folder} has no question with an answer in groups {'left out' if sides[0] else 'trained on'}")
    return sides


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
        target, again = self.said(text[begin : begin + e.offsets[tokens - 1][1]]), self.said(self.prompts.again)
        mark = len(again)
        return Row(text=e.ids[:tokens], then=again + target, wanted=range(mark, mark + len(target)), same=True)

    def answer(self, p: Passage, tokens: int, rng: random.Random) -> Row:
        """The passage, cut to `tokens` around an answer, then up to QUESTIONS that it answers; answers are wanted."""
        e = self.encoder.encode(p.text, add_special_tokens=False)
        first = rng.choice(p.questions)
        at = next((n for n, (_, b) in enumerate(e.offsets) if b > first[1]), 0)
        begin = min(max(0, at - rng.randrange(max(1, tokens - 8))), max(0, len(e.ids) - tokens))
        stop = min(begin + tokens, len(e.ids))
        low, high = e.offsets[begin][0], e.offsets[stop - 1][1]
        inside = [q for q in p.questions if low <= q[1] and q[2] <= high]
        then: list[int] = []
        wanted: list[int] = []
        for question, a, b in rng.sample(inside, min(QUESTIONS, len(inside))) or [first]:
            target = self.said(p.text[a:b])[:32] + self.end
            then += self.said(self.prompts.ask.format(question=question))[:64]
            wanted += range(len(then), len(then) + len(target))
            then += target
        return Row(text=e.ids[begin:stop], then=then, wanted=wanted)

    def plain(self, text: str, tokens: int, rng: random.Random) -> Row | None:
        """Nothing compressed: the decoder reads on as any language model does."""
        found = self.again(text, tokens, rng)
        if found is None:
            return None
        then = [found.then[n] for n in found.wanted]
        return replace(found, text=[], then=then, wanted=range(len(then)), same=False)


def texts(folder: Path, shards: Sequence[int]) -> list[str]:
    """Articles long enough to be cut, of groups trained on."""
    rows = (r for n in shards for r in read(folder / f"wikipedia-{n}.jsonl.xz"))
    found = [r["text"] for r in rows if len(r["text"]) > 4000 and not held_out(r["id"])]
    if len(found) <= APART:
        raise SetError(f"{folder} holds {len(found)} articles of 4,000 characters; {APART} are kept apart")
    return found
