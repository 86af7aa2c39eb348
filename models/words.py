"""A memo of words for tokenizers that never look across a blank: most of a text is words seen before.

BERT's normalizer and pre-tokenizer treat every character alone and split at white space, so the tokens of a text are
those of its words, one after the other. Checked against the library in tests/test_readers.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
from tokenizers import Tokenizer

KEPT = 100_000  # words; about 30 MB when full
LONGEST = 40  # characters of a word worth keeping
_WORD = re.compile(r"[^ \n]+")  # only what every definition of white space agrees on


def applies(spec: dict[str, Any]) -> bool:
    """Whether a `tokenizer.json` is of the kind this is true of."""

    def kind(part: str) -> str:
        return str((spec.get(part) or {}).get("type"))

    own = [t for t in spec.get("added_tokens") or [] if not t.get("special")]
    parts = kind("normalizer"), kind("pre_tokenizer"), kind("model")
    return parts == ("BertNormalizer", "BertPreTokenizer", "WordPiece") and not own


class Words:
    """Token ids and spans by word; safe to call from several threads."""

    def __init__(self, inner: Tokenizer) -> None:
        self.inner = inner
        self._memo: dict[str, tuple[tuple[int, ...], np.ndarray]] = {}

    def encode(self, texts: Sequence[str]) -> list[tuple[tuple[int, ...], np.ndarray]]:
        """Ids and character spans, int64 [N, 2], of each text."""
        found = [[(m.start(), m.group()) for m in _WORD.finditer(text)] for text in texts]
        known = self._known({word for words in found for _, word in words})
        out = []
        for words in found:
            pieces = [known[word] for _, word in words]
            ids = tuple(chain.from_iterable(piece[0] for piece in pieces))
            if not ids:
                out.append(((), np.zeros((0, 2), np.int64)))
                continue
            starts = np.repeat([start for start, _ in words], [len(p[0]) for p in pieces])
            out.append((ids, np.concatenate([p[1] for p in pieces]) + starts[:, None]))
        return out

    def count(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text."""
        found = [_WORD.findall(text) for text in texts]
        known = self._known({word for words in found for word in words})
        sizes = {word: len(piece[0]) for word, piece in known.items()}
        return [sum(sizes[word] for word in words) for words in found]

    def _known(self, words: Iterable[str]) -> dict[str, tuple[tuple[int, ...], np.ndarray]]:
        memo = self._memo
        known = {word: memo.get(word) for word in words}
        missing = [word for word, piece in known.items() if piece is None]
        if len(memo) + len(missing) > KEPT:
            memo.clear()
        made = self.inner.encode_batch(missing, add_special_tokens=False) if missing else []
        for word, e in zip(missing, made, strict=True):
            piece = tuple(e.ids), np.array(e.offsets, np.int64).reshape(-1, 2)
            known[word] = piece
            if len(word) <= LONGEST:
                memo[word] = piece
        return known  # type: ignore[return-value]  # nothing is None any more
