"""LLMLingua (Jiang et al., EMNLP 2023) and LongLLMLingua (Jiang et al., ACL 2024) with any causal language model.

`legacy` answers as `compress_prompt` of the package `llmlingua` 0.2.2 does, and goes on where that raises: beyond one
window (its cache is of another age), beyond the model's positions, and on texts that its assertions do not foresee.
`fixed` mends what there is of its own making:

- a token stays for its own surprise, not for that of the one after it, and as many do as were asked for: of each
  window's own losses (LLMLingua, §4.2), of texts shorter than a window and of the last window as well;
- the model reads its first token before any text; no special token counts as the text's;
- longllmlingua ranks by the question under `condition_compare` too;
- `force_context_number` is a number of contexts; sentences to be kept are preferred, whatever ranks the others;
- `keep_split` finds line breaks by what they are, not by the id that Llama gives them;
- what is rendered is source text: no half characters, and no "<s>" taken out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..units import printable
from .budget import Doc, Part, Sentences, Settings, choose_documents, choose_sentences, documents, merged
from .iterate import Task, as_published, as_released, shares_by_part, windows_by_rank, windows_of
from .reading import Losses, Mode, Ranker, Reading, Tokenizer

BREAK = 13  # the id of a line break in Llama's vocabulary, which the package looks for in every model's
FIRST = 100  # first tokens that a condition which is too long keeps; of the last, as many as there is room for
GAP = "\n\n"


class LLMLingua1:
    """One causal model's compressor: its tokenizer (which neither truncates nor pads), its losses and positions.

    `count` is what tokens are reported in (the package: tiktoken's cl100k_base), `sentences` cuts a text (the package:
    nltk), `rankers` are further `rank_method`s by name. Thread-safe if these are.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        losses: Losses,
        count: Callable[[str], int],
        positions: int,
        sentences: Sentences,
        mode: Mode = "fixed",
        rankers: Mapping[str, Ranker] | None = None,
    ) -> None:
        self.reading = Reading(
            tokenizer=tokenizer, losses=losses, positions=positions, mode=mode, rankers=rankers or {}
        )
        self.count, self.sentences = count, sentences

    def compress(self, context: Sequence[str] | str, **settings: Any) -> dict[str, Any]:
        """What the package's `compress_prompt` answers; `settings` are its arguments, as in `Settings`.

        Raises ValueError for values without a meaning.
        """
        s = Settings(**settings)
        s = replace(s, instruction=printable(s.instruction), question=printable(s.question))
        context = [context] if isinstance(context, str) and context else list(context) or [" "]
        docs = documents([printable(c) for c in context], s)
        before = self.count(GAP.join([s.instruction, *(d.text for d in docs), s.question]).strip())
        docs, target = self._coarse(docs, s)
        prefix = self._prefix(s) if s.condition(self.reading.mode)[1] else None
        text = self._fine(docs, prefix, target, s) if s.use_token_level_filter else GAP.join(d.text for d in docs)
        parts = [s.instruction, text if text.strip() else "", s.question if s.concate_question else ""]
        return self._answer(GAP.join(p for p in parts if p), before)

    def _coarse(self, docs: list[Doc], s: Settings) -> tuple[list[Doc], float]:
        """The documents and sentences that stay, and how many tokens are to."""
        condition, _ = s.condition(self.reading.mode)
        lengths = [self.reading.length(d.text) for d in docs]
        instruction, question = self.reading.length(s.instruction), self.reading.length(s.question)
        target = s.target_token
        if target == -1:
            target = (instruction + question + sum(lengths)) * s.rate
            target -= instruction + (question if s.concate_question else 0)
        if len(docs) > 1 and s.use_context_level_filter:
            docs = choose_documents(self.reading, docs, lengths, target, condition, s)
        if s.use_sentence_level_filter:
            docs = choose_sentences(self.reading, docs, target, condition, self.sentences, s)
        return docs, target

    def _prefix(self, s: Settings) -> str:
        """What tokens are scored given; shortened where two windows would find no room behind it."""
        prefix = f"{s.question}{GAP}{s.instruction}" if s.add_instruction else s.question
        room = self.reading.positions - 2 * s.iterative_size
        if self.reading.length(prefix + GAP) > room:
            ids = self.reading.ids(prefix)
            prefix = self.reading.decode(ids[:FIRST] + ids[len(ids) - room + FIRST + 2 :])
        return prefix + GAP

    def _fine(self, docs: Sequence[Doc], prefix: str | None, target: float, s: Settings) -> str:
        """The documents' text without the tokens that go."""
        reading = self.reading
        text = (prefix or "") + GAP.join(d.text for d in docs)
        start = 0 if prefix is None else reading.boundary(prefix, docs[0].text)
        encoding = reading.tokenizer.encode(text, add_special_tokens=False)
        ids = np.array(encoding.ids, np.int64)
        if len(ids) <= start:
            return ""
        task = Task(ids=ids, start=start, size=s.iterative_size, compare=s.condition_compare)
        if s.keep_split:
            task = replace(task, breaks=self._breaks(ids))
        if reading.legacy:
            return self._released(docs, task, target)
        lead = reading.ids("", special=True)[:1]
        characters = np.diff(np.maximum.accumulate([len(prefix or ""), *(b for _, b in encoding.offsets[start:])]))
        tokens = max(1, sum(reading.length(d.text) for d in docs))
        shares = shares_by_part([int(c) for c in characters], parts_of(docs, target / tokens))
        need = as_published(task, shares, lead, reading)
        return rendered(text, encoding.offsets, start, need)

    def _released(self, docs: Sequence[Doc], task: Task, target: float) -> str:
        reading = self.reading
        if any(d.parts is not None for d in docs):
            ids = task.ids[task.start :].tolist()
            seen = [(ids[max(0, i - 2) : i], ids[max(0, i - 2) : i + 1]) for i in range(len(ids))]
            added = [max(0, len(reading.decode(b)) - len(reading.decode(a))) for a, b in seen]
            windows = windows_of(shares_by_part(added, parts_of(docs, 1.0)), task.size)
        else:
            lengths = [len(reading.ids(d.text)) for d in docs]
            windows = windows_by_rank(lengths, target, task.size, [d.dynamic for d in docs])
        kept = reading.decode(as_released(task, windows, reading).tolist())
        return kept.replace("<s> ", "").replace("<s>", "")

    def _breaks(self, ids: np.ndarray) -> np.ndarray:
        if self.reading.legacy:
            return np.array(ids == BREAK)
        known = {i: set(self.reading.decode([i])) == {"\n"} for i in set(ids.tolist())}
        return np.array([known[i] for i in ids.tolist()], bool)

    def _answer(self, text: str, before: int) -> dict[str, Any]:
        """The package's keys; `saving` is in its price of GPT-4. Legacy's rate is 1 where nothing is left."""
        after = self.count(text)
        ratio = before / after if before and after else 1
        share = 1 / ratio if self.reading.legacy or not before else after / before
        return {
            "compressed_prompt": text,
            "origin_tokens": before,
            "compressed_tokens": after,
            "ratio": f"{ratio:.1f}x",
            "rate": f"{share * 100:.1f}%",
            "saving": f", Saving ${(before - after) * 0.06 / 1000:.1f} in GPT-4.",
        }


def parts_of(docs: Sequence[Doc], share: float) -> list[Part]:
    """All documents' parts in a row, each last one with the gap behind it; `share` is for those without."""
    out: list[Part] = []
    for n, d in enumerate(docs):
        whole = Part(len(d.text), max(0.0, min(1.0, share + d.dynamic)), True)
        own = [*merged(d.parts)] if d.parts is not None else [whole]
        gap = len(GAP) if n + 1 < len(docs) else 0
        last = own.pop() if own else Part(0, 1.0, True)
        out += [*own, last._replace(length=last.length + gap)]
    return out


def rendered(text: str, offsets: Sequence[tuple[int, int]], start: int, need: np.ndarray) -> str:
    """The source of the tokens that stay, each with the white space before it that no token has."""
    out, written = [], 0
    ends = np.maximum.accumulate([0, *(b for _, b in offsets)])
    for (a, b), end, stays in zip(offsets[start:], ends[start:], need, strict=False):
        if stays:
            out.append(text[max(written, min(a, int(end))) : b])
            written = max(written, b)
    return "".join(out)
