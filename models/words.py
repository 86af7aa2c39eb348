"""A memo of words for tokenizers that never look across a blank: most of a text is words seen before.

BERT's normalizer and pre-tokenizer treat every character alone and split at white space, so the tokens of a text are
those of its words, one after the other. Checked against the library in tests/test_readers.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from .work import checkpoint

KEPT = 50_000  # words; about 30 MB when full
PIECES = 6  # tokens of a word worth keeping: numbers and identifiers have more, and do not come again
SLICE = 50_000  # characters worked on at once
LONGEST = 40  # characters of a word worth keeping; what is longer is cut where the tokenizer cuts it too

BATCH = 10_000  # words that the tokenizer gets at once

Piece = tuple[tuple[int, ...], tuple[int, ...]]  # a word's token ids, and their spans one after the other

_BLANK = re.compile(r"[ \n]")
# punctuation of ASCII and, in every version of Unicode, of others: each is a token of its own
_SIGN = (
    r"!-/:-@\[-`{-~\xa1\xab\xb7\xbb\xbf\u060c\u061b\u061f\u06d4\u0964\u0965\u2010-\u2027\u2030-\u2043\u2045-\u2051\u2053-\u205e"
    r"\u3001-\u3003\u3008-\u3011\u3014-\u301f\uff01-\uff03\uff05-\uff0a\uff0c-\uff0f\uff1a\uff1b\uff1f\uff20\uff3b-\uff3d\uff3f\uff5b"
    r"\uff5d\uff5f-\uff65"
)
_CUT = re.compile(f"[{_SIGN}]")
_IDEOGRAPH = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df"  # so are these, if the normalizer says so


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
    """The text in runs that end before a blank or, where there is none for long, before a sign, each with where it
    begins: no step holds the interpreter for long."""
    checkpoint()
    at = 0
    while len(text) - at > SLICE:
        near = at + SLICE, at + 2 * SLICE
        found = _BLANK.search(text, *near) or _CUT.search(text, *near) or _BLANK.search(text, near[0])
        if found is None:
            break
        checkpoint()
        yield at, text[at : found.start()]
        at = found.start()
    yield at, text[at:]


class Words:
    """Token ids and spans by word; safe to call from several threads."""

    def __init__(self, inner: Tokenizer) -> None:
        self.inner = inner
        spec = json.loads(inner.to_str())
        self._longest = int(spec["model"].get("max_input_chars_per_word", 100))  # what is longer is one unknown token
        self._unknown = int(inner.token_to_id(str(spec["model"].get("unk_token"))) or 0)
        alone = _SIGN + (_IDEOGRAPH if spec["normalizer"].get("handle_chinese_chars", True) else "")
        self._ideograph = re.compile(f"[{_IDEOGRAPH}]")
        self._part = re.compile(f"[{alone}]|[^{alone}]+")
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
        if len(text) > LONGEST and max(map(len, words), default=0) > LONGEST:
            cut = [
                (start + a, part) for start, w in zip(starts.tolist(), words, strict=True) for a, part in self._cut(w)
            ]
            starts, words = np.array([a for a, _ in cut], np.int64), [part for _, part in cut]
        known = self._known(set(words))
        pieces = [known[word] for word in words]
        ids = list(chain.from_iterable(piece[0] for piece in pieces))
        inside = np.fromiter(chain.from_iterable(piece[1] for piece in pieces), np.int64, 2 * len(ids))
        counts = np.fromiter((len(piece[0]) for piece in pieces), np.int64, len(pieces))
        return ids, inside.reshape(-1, 2) + np.repeat(starts, counts)[:, None]

    def _cut(self, word: str) -> Iterator[tuple[int, str]]:
        """A word in parts that are tokenized alone, each with where it begins."""
        if len(word) <= LONGEST:
            yield 0, word
            return
        for number, m in enumerate(self._part.finditer(word)):
            if number % SLICE == SLICE - 1:
                checkpoint()
            yield m.start(), m[0]

    def count(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text."""
        return [sum(self._count(part) for _, part in slices(text)) for text in texts]

    def _count(self, text: str) -> int:
        words = split(text)
        found = list(map(self._sizes.get, words))
        if None not in found:
            return sum(found)  # type: ignore[arg-type]  # see the line before
        new = [part for word, n in zip(words, found, strict=True) if n is None for _, part in self._cut(word)]
        known = self._known(set(new))
        return sum(filter(None, found)) + sum(len(known[part][0]) for part in new)

    def _known(self, words: Iterable[str]) -> dict[str, Piece]:
        memo = self._memo
        known = {word: memo.get(word) or self._plain(word) for word in words}
        missing = [word for word, piece in known.items() if piece is None]
        if len(self._sizes) + len(missing) > KEPT:
            memo.clear()
            self._sizes.clear()
        for at in range(0, len(missing), BATCH):
            checkpoint()
            batch = missing[at : at + BATCH]
            for word, e in zip(batch, self.inner.encode_batch(batch, add_special_tokens=False), strict=True):
                piece = tuple(e.ids), tuple(chain.from_iterable(e.offsets))
                known[word] = piece
                if len(word) <= LONGEST:
                    self._sizes[word] = len(e)
                    if len(e) <= PIECES:
                        memo[word] = piece
        return known  # type: ignore[return-value]  # nothing is None any more

    def _plain(self, word: str) -> Piece | None:
        """The one unknown token that a long run of letters is, however long; None for anything else."""
        if len(word) <= self._longest or not word.isalnum() or self._ideograph.search(word):
            return None
        return (self._unknown,), (0, len(word))
