"""Words as LLMLingua-2 (Pan et al., ACL Findings 2024) scores and picks them, as `llmlingua` 0.2.2 computes it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .tokens import Family

Count = Callable[[str], int]
_DIGIT = re.compile(r"\d")


@dataclass(frozen=True, kw_only=True)
class Words:
    """What decides the scores of words, beside the model; `mapped` has a token for each forced string that is none."""

    forced: tuple[str, ...]
    mapped: Mapping[str, str]
    pooling: str
    digits: bool
    drop_consecutive: bool

    @property
    def certain(self) -> frozenset[str]:
        return frozenset((*self.forced, *self.mapped.values()))

    def restored(self, text: str) -> str:
        for own, token in self.mapped.items():
            text = text.replace(token, own)
        return text

    def pooled(self, values: Sequence[Any]) -> Any:
        return sum(values) / len(values) if self.pooling == "mean" else values[0]


@dataclass
class Word:
    """A word and its pieces' probabilities, with what is forced at 1, and without.

    Values are np.float32, and Python's 1.0 where forced: a threshold over words is float64 as soon as one of them is
    a Python float.
    """

    text: str
    values: list[Any]
    unforced: list[Any]


def merged(pieces: Sequence[str], values: Sequence[Any], how: Words, family: Family) -> list[Word]:
    """Pieces put together to words, special ones left out; what no word begins before begins one."""
    certain = how.certain
    words: list[Word] = []
    for piece, value in zip(pieces, values, strict=True):
        if piece in family.specials:
            continue
        begins = not words or family.begins(piece, certain)
        text = how.restored(piece) if begins else piece
        sure = (begins and family.bare(piece) in certain) or (how.digits and _DIGIT.search(text))
        if begins:
            words.append(Word(text=text, values=[1.0 if sure else value], unforced=[value]))
        else:
            words[-1].text += family.bare(piece)
            words[-1].values.append(1.0 if sure else value)
            words[-1].unforced.append(words[-1].unforced[0])  # the first piece's, whatever its own
    return words


def percentile(values: Sequence[Any], percent: float) -> Any:
    """numpy's, of a percent cut to a whole number: 100 * (1 - 0.9) is 9."""
    return np.percentile(values, min(max(int(percent), 0), 100)) if values else math.inf


def best(words: Sequence[Sequence[Sequence[Word]]], how: Words, level: float, forced: Collection[int]) -> list[int]:
    """Numbers of the contexts whose words are worth most on average, nothing forced, and of those forced."""
    scores = []
    for chunks in words:
        values = [how.pooled(w.unforced) for c in chunks for w in c]
        scores.append(sum(values) / len(values) if values else 0.0)
    threshold = percentile(scores, 100 * (1 - level))
    return [i for i, s in enumerate(scores) if s >= threshold or i in forced]


def keep(texts: Sequence[str], values: list[Any], how: Words, drop: float, count: Count) -> list[int]:
    """1 for each word of a chunk that is worth more than the threshold, which counts words as often as their tokens."""
    if how.drop_consecutive:
        silence(texts, values, how.forced, percentile(values, 100 * drop))
    spread = [v for t, v in zip(texts, values, strict=True) for _ in range(count(t))]
    threshold = percentile(spread, 100 * drop + 1)
    labels, last = [], None
    for text, value in zip(texts, values, strict=True):
        kept = value > threshold or threshold == 1.0 == value
        kept = kept and not (how.drop_consecutive and text in how.forced and text == last)
        last = text if kept else last
        labels.append(int(kept))
    return labels


def silence(texts: Sequence[str], values: list[Any], forced: Collection[str], threshold: Any) -> None:
    """Nothing for a forced word that repeats the one before it, unless a word between is above the threshold."""
    between, last = False, None
    for i, text in enumerate(texts):
        if text not in forced:
            between = between or values[i] > threshold
            continue
        if not between and text == last:
            values[i] = 0.0
        between, last = False, text
