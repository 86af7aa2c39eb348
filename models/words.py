"""A memo of words for tokenizers that never look across a blank: most of a text is words seen before.

BERT's normalizer and pre-tokenizer treat every character alone and split at white space, so the tokens of a text are
those of its words, one after the other. Checked against the library in tests/test_readers.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
from tokenizers import Tokenizer

KEPT = 100_000  # words; about 30 MB when full
SLICE = 50_000  # characters worked on at once
LONGEST = 40  # characters of a word worth keeping
_WORD = re.compile(r"[^ \n]+")  # only what every definition of white space agrees on


def applies(spec: dict[str, Any]) -> bool:
    """Whether a `tokenizer.json` is of the kind this is true of."""

    def kind(part: str) -> str:
        return str((spec.get(part) or {}).get("type"))

    own = [t for t in spec.get("added_tokens") or [] if not t.get("special")]
    parts = kind("normalizer"), kind("pre_tokenizer"), kind("model")
    return parts == ("BertNormalizer", "BertPreTokenizer", "WordPiece") and not own


def slices(text: str) -> Iterator[tuple[int, str]]:
    """The text in runs that end before a blank, each with where it begins: no step holds the interpreter for long."""
    at = 0
    while len(text) - at > SLICE:
        end = text.find(" ", at + SLICE)
        if end < 0:
            break
        yield at, text[at:end]
        at = end
    yield at, text[at:]


class Words:
    """Token ids and spans by word; safe to call from several threads."""

    def __init__(self, inner: Tokenizer) -> None:
        self.inner = inner
        self._memo: dict[str, tuple[tuple[int, ...], np.ndarray]] = {}
        self._sizes: dict[str, int] = {}  # the same words' numbers of tokens: counting is most of what is asked

    def encode(self, texts: Sequence[str]) -> list[tuple[tuple[int, ...], np.ndarray]]:
        """Ids and character spans, int64 [N, 2], of each text."""
        out = []
        for text in texts:
            parts = [self._encode(at, part) for at, part in slices(text)]
            ids = tuple(chain.from_iterable(p[0] for p in parts))
            out.append((ids, np.concatenate([np.zeros((0, 2), np.int64), *(p[1] for p in parts)])))
        return out

    def _encode(self, at: int, text: str) -> tuple[list[int], np.ndarray]:
        words = [(at + m.start(), m.group()) for m in _WORD.finditer(text)]
        known = self._known({word for _, word in words})
        pieces = [known[word] for _, word in words]
        ids = list(chain.from_iterable(piece[0] for piece in pieces))
        if not ids:
            return [], np.zeros((0, 2), np.int64)
        starts = np.repeat([start for start, _ in words], [len(piece[0]) for piece in pieces])
        return ids, np.concatenate([piece[1] for piece in pieces]) + starts[:, None]

    def count(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text."""
        return [sum(self._count(part) for _, part in slices(text)) for text in texts]

    def _count(self, text: str) -> int:
        words = text.replace("\n", " ").split(" ")
        try:
            return sum(map(self._sizes.__getitem__, words))
        except KeyError:
            known = self._known(set(words))
            return sum(len(known[word][0]) for word in words)

    def _known(self, words: Iterable[str]) -> dict[str, tuple[tuple[int, ...], np.ndarray]]:
        memo = self._memo
        known = {word: memo.get(word) for word in words}
        missing = [word for word, piece in known.items() if piece is None]
        if len(memo) + len(missing) > KEPT:
            memo.clear()
            self._sizes.clear()
        made = self.inner.encode_batch(missing, add_special_tokens=False) if missing else []
        for word, e in zip(missing, made, strict=True):
            piece = tuple(e.ids), np.array(e.offsets, np.int64).reshape(-1, 2)
            known[word] = piece
            if len(word) <= LONGEST:
                memo[word] = piece
                self._sizes[word] = len(e)
        return known  # type: ignore[return-value]  # nothing is None any more
