"""A memo of words for tokenizers that never look across a blank: most of a text is words seen before.

BERT's normalizer and pre-tokenizer treat every character alone and split at white space, so the tokens of a text are
those of its words, one after the other. Checked against the library in tests/test_readers.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
from tokenizers import Tokenizer

KEPT = 100_000  # words; about 30 MB when full
SLICE = 50_000  # characters worked on at once
LONGEST = 40  # characters of a word worth keeping

Piece = tuple[tuple[int, ...], tuple[int, ...]]  # a word's token ids, and their spans one after the other


def applies(spec: dict[str, Any]) -> bool:
    """Whether a `tokenizer.json` is of the kind this is true of."""

    def kind(part: str) -> str:
        return str((spec.get(part) or {}).get("type"))

    own = [t for t in spec.get("added_tokens") or [] if not t.get("special")]
    parts = kind("normalizer"), kind("pre_tokenizer"), kind("model")
    return parts == ("BertNormalizer", "BertPreTokenizer", "WordPiece") and not own


def code_points(text: str) -> np.ndarray:
    """The characters of a text as numbers, uint32 [N]; no lone surrogates."""
    return np.frombuffer(text.encode("utf-32-le"), "<u4")


def split(text: str) -> list[str]:
    """Words at blanks and line breaks, which every definition of white space agrees on."""
    return [word for word in text.replace("\n", " ").split(" ") if word]


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
        self._memo: dict[str, Piece] = {}
        self._sizes: dict[str, int] = {}  # the same words' numbers of tokens: counting is most of what is asked

    def encode(self, texts: Sequence[str]) -> list[tuple[tuple[int, ...], np.ndarray]]:
        """Ids and character spans, int64 [N, 2], of each text."""
        out = []
        for text in texts:
            parts = [self._encode(at, part) for at, part in slices(text)]
            ids = tuple(chain.from_iterable(p[0] for p in parts))
            out.append((ids, np.concatenate([p[1] for p in parts])))
        return out

    def _encode(self, at: int, text: str) -> tuple[list[int], np.ndarray]:
        points, words = code_points(text), split(text)
        blank = (points == 32) | (points == 10)
        starts = np.flatnonzero(~blank & np.append(True, blank[:-1])) + at if words else blank[:0]
        known = self._known(set(words))
        pieces = [known[word] for word in words]
        ids = list(chain.from_iterable(piece[0] for piece in pieces))
        inside = np.fromiter(chain.from_iterable(piece[1] for piece in pieces), np.int64, 2 * len(ids))
        counts = np.fromiter((len(piece[0]) for piece in pieces), np.int64, len(pieces))
        return ids, inside.reshape(-1, 2) + np.repeat(starts, counts)[:, None]

    def count(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text."""
        return [sum(self._count(part) for _, part in slices(text)) for text in texts]

    def _count(self, text: str) -> int:
        words = split(text)
        try:
            return sum(map(self._sizes.__getitem__, words))
        except KeyError:
            known = self._known(set(words))
            return sum(len(known[word][0]) for word in words)

    def _known(self, words: Iterable[str]) -> dict[str, Piece]:
        memo = self._memo
        known = {word: memo.get(word) for word in words}
        missing = [word for word, piece in known.items() if piece is None]
        if len(memo) + len(missing) > KEPT:
            memo.clear()
            self._sizes.clear()
        made = self.inner.encode_batch(missing, add_special_tokens=False) if missing else []
        for word, e in zip(missing, made, strict=True):
            piece = tuple(e.ids), tuple(chain.from_iterable(e.offsets))
            known[word] = piece
            if len(word) <= LONGEST:
                memo[word] = piece
                self._sizes[word] = len(e)
        return known  # type: ignore[return-value]  # nothing is None any more
