"""LLMLingua-2 (Pan et al., ACL Findings 2024) as its authors' package, `llmlingua` 0.2.2, computes it.

Equal strings are the point, so the package's oddities are here too, each named where it stands. Where the package
raises (no words to take a percentile of, a rate of 0) the sensible result stands instead.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from laconic.models import Backend, ModelInput

from ..units import printable
from .tokens import ADDED, FIRST, LAST, FamilyName, Pieces
from .words import Count, Word, Words, best, keep, merged

WINDOW = 510  # an end token is looked for from here back
LONGEST = 512  # pieces a model reads, special tokens included
Probabilities = Callable[[Sequence[Sequence[int]]], Sequence[np.ndarray]]
_SIGNS = "".join(c for c in string.punctuation if c not in "',.[]_")
_WORDS = re.compile(rf"\w+|[{re.escape(_SIGNS)}]")


def keep_probabilities(backend: Backend) -> Probabilities:
    """A token classifier's probability of keeping each id, special tokens too; one call for all sequences."""

    def found(sequences: Sequence[Sequence[int]]) -> list[np.ndarray]:
        given = [ModelInput(query=(), segment=tuple(s), skip=0, count=len(s)) for s in sequences]
        return [softmax(o.agnostic) for o in backend.run(given)]

    return found


def softmax(difference: np.ndarray) -> np.ndarray:
    """The second of two labels' probability by how much its logit is larger, in float32 and in torch's order."""
    small = np.exp(-np.abs(difference))
    found: np.ndarray = np.where(difference >= 0, np.float32(1), small) / (1 + small)
    return found


@dataclass(frozen=True, kw_only=True)
class Goal:
    """How much is to be kept: of words (`rate` or `tokens`, if `fine`), and of contexts."""

    rate: float
    tokens: float
    fine: bool
    contexts: int
    level_rate: float
    level_tokens: float

    def level(self, contexts: int, tokens: int) -> float:
        """Share of the contexts; where none is named, one that leaves half of the work to the words."""
        rate, target = self.level_rate, self.level_tokens
        unnamed = self.contexts <= 0 and rate >= 1.0 and target <= 0
        if unnamed and self.tokens >= 0:
            target = self.tokens * 2 if self.fine else self.tokens
        elif unnamed and self.rate < 1.0:
            rate = (self.rate + 1.0) / 2 if self.fine else self.rate
        if self.contexts >= 0:
            rate = min(self.contexts / contexts, 1.0)
        return share(target, tokens) if target >= 0 else rate

    def dropped(self, given: bool, tokens: int) -> float:
        """Share of the words to drop, of `tokens` tokens, `tokens` counting as a goal where `given`."""
        rate = share(self.tokens, tokens) if given else self.rate
        return max(0, 1 - rate) if self.fine else 0


class Reduced(NamedTuple):
    """One context compressed: what is kept as text, and all its words, each with 1 for kept or 0."""

    text: str
    words: list[str]
    labels: list[int]


class LLMLingua2:
    """One checkpoint's compressor: its tokenizer, its probabilities, and what tokens are counted in (the package:
    tiktoken's cl100k_base). Thread-safe.
    """

    def __init__(self, tokenizer: Tokenizer, probabilities: Probabilities, count: Count, family: FamilyName) -> None:
        self.pieces = Pieces(tokenizer, family)
        self.probabilities, self.count = probabilities, count

    def compress(
        self,
        context: Sequence[str] | str,
        *,
        rate: float = 0.5,
        target_token: float = -1,
        use_context_level_filter: bool = False,
        use_token_level_filter: bool = True,
        target_context: int = -1,
        context_level_rate: float = 1.0,
        context_level_target_token: float = -1,
        force_context_ids: Collection[int] | None = None,
        return_word_label: bool = False,
        word_sep: str = "\t\t|\t\t",
        label_sep: str = " ",
        token_to_word: str = "mean",
        force_tokens: Sequence[str] = (),
        force_reserve_digit: bool = False,
        drop_consecutive: bool = False,
        chunk_end_tokens: Collection[str] = (".", "\n"),
    ) -> dict[str, Any]:
        """What the package's `compress_prompt_llmlingua2` answers; raises ValueError for what it has no meaning for."""
        goal = Goal(
            rate=rate,
            tokens=target_token,
            fine=use_token_level_filter,
            contexts=target_context,
            level_rate=context_level_rate,
            level_tokens=context_level_target_token,
        )
        how = self._words(force_tokens, token_to_word, force_reserve_digit, drop_consecutive)
        texts = [printable(c) for c in ([context] if isinstance(context, str) else context)]
        ends = {*chunk_end_tokens, *(how.mapped.get(c, c) for c in chunk_end_tokens)}
        chunks, count = self._chunks(texts, how, ends), cache(self.count)
        before = sum(map(count, texts))
        coarse = use_context_level_filter and len(texts) != 1
        if coarse:
            words = self._score(chunks, how)
            level = goal.level(len(texts), before)
            kept = best(words, how, level, force_context_ids or ())
            left = sum(count(c) for i in kept for c in chunks[i])  # forced strings still mapped
            drop = goal.dropped(target_token >= 0, left)
        else:
            kept = list(range(len(texts)))
            drop = goal.dropped(target_token > 0, before)
            words = self._score(chunks, how) if drop else []
        reduced = {i: self._reduced(words[i], how, drop, count) if drop else whole(chunks[i], how) for i in kept}
        out = answer([reduced[i].text for i in kept], before, count)
        if return_word_label:
            lost = {i: self._lost(words[i]) for i in range(len(texts)) if i not in reduced}
            found = [(reduced | lost)[i] for i in range(len(texts))]
            pairs = [p for r in found for p in zip(r.words, r.labels, strict=True)]
            out["fn_labeled_original_prompt"] = word_sep.join(f"{word}{label_sep}{label}" for word, label in pairs)
        return out

    def _words(self, forced: Sequence[str], pooling: str, digits: bool, drop_consecutive: bool) -> Words:
        if pooling not in ("mean", "first"):
            raise ValueError(f"token_to_word must be mean or first, not {pooling!r}")
        if len(forced) > len(ADDED):
            raise ValueError(f"force_tokens has {len(forced)} strings; there may be {len(ADDED)}")
        forced = tuple(map(printable, forced))
        cut = self.pieces.cut(forced)
        mapped = {t: ADDED[i] for i, (t, p) in enumerate(zip(forced, cut, strict=True)) if len(p) != 1}
        return Words(forced=forced, mapped=mapped, pooling=pooling, digits=digits, drop_consecutive=drop_consecutive)

    def _chunks(self, texts: Sequence[str], how: Words, ends: Collection[str]) -> list[list[str]]:
        """Each text, forced strings mapped, in pieces put together again: what a model reads at once."""
        given = []
        for text in texts:
            for own, token in how.mapped.items():
                text = text.replace(own, token)
            given.append(text)
        return [[self.pieces.join(w) for w in windows(pieces, ends)] for pieces in self.pieces.cut(given)]

    def _score(self, chunks: Sequence[Sequence[str]], how: Words) -> list[list[list[Word]]]:
        """The words of each chunk of each text, all of them in one call to the model."""
        # A chunk may have more pieces the second time: what is over goes, and the special token at its end.
        cut = self.pieces.cut([c for text in chunks for c in text])
        ids = [self.pieces.ids([FIRST, *pieces, LAST][:LONGEST]) for pieces in cut]
        found = self.probabilities(ids) if ids else []
        known = [(self.pieces.strings(i), list(p)) for i, p in zip(ids, found, strict=True)]
        each = iter([merged(*k, how, self.pieces.family) for k in known])
        return [[next(each) for _ in text] for text in chunks]

    def _reduced(self, chunks: Sequence[Sequence[Word]], how: Words, drop: float, count: Count) -> Reduced:
        parts: list[str] = []
        shown: list[str] = []
        labels: list[int] = []
        for words in chunks:
            texts = [w.text for w in words]
            kept = keep(texts, [how.pooled(w.values) for w in words], how, drop, count)
            parts.append(self.pieces.join([t for t, k in zip(texts, kept, strict=True) if k]))
            shown += map(self.pieces.family.shown, texts)
            labels += kept
        return Reduced("".join(parts), shown, labels)

    def _lost(self, chunks: Sequence[Sequence[Word]]) -> Reduced:
        words = [self.pieces.family.shown(w.text) for c in chunks for w in c]
        return Reduced("", words, [0] * len(words))


def share(part: float, total: float) -> float:
    return min(part / total, 1.0) if total else 1.0


def windows(pieces: Sequence[str], ends: Collection[str]) -> list[Sequence[str]]:
    """At most WINDOW + 1 pieces each, up to the last end token where there is one; the rest, where it fits, whole."""
    out, start = [], 0
    while start < len(pieces):
        stop = start + WINDOW
        if stop < len(pieces):
            stop = 1 + next((i for i in range(stop, start, -1) if pieces[i] in ends), stop)
        out.append(pieces[start:stop])
        start = stop
    return out


def whole(chunks: Sequence[str], how: Words) -> Reduced:
    """All of a context: no model is asked, and its words are found by a pattern."""
    texts = [how.restored(c) for c in chunks]
    words = [w for t in texts for w in _WORDS.findall(t)]
    return Reduced("".join(texts), words, [1] * len(words))


def answer(texts: list[str], before: int, count: Count) -> dict[str, Any]:
    """The package's keys; `saving` is in its price of GPT-4."""
    after = sum(map(count, texts))
    ratio = before / after if before and after else 1
    return {
        "compressed_prompt": "\n\n".join(texts),
        "compressed_prompt_list": texts,
        "origin_tokens": before,
        "compressed_tokens": after,
        "ratio": f"{ratio:.1f}x",
        "rate": f"{1 / ratio * 100:.1f}%",
        "saving": f", Saving ${(before - after) * 0.06 / 1000:.1f} in GPT-4.",
    }
