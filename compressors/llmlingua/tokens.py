"""Pieces of text as LLMLingua-2 handles them: by their strings, special tokens among them."""

from __future__ import annotations

import string
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from tokenizers import AddedToken, Tokenizer

FamilyName = Literal["bert", "xlm-roberta"]
ADDED = tuple(f"[NEW{i}]" for i in range(100))  # stand for strings that are not one piece
FIRST, LAST = "[CLS]", "[SEP]"  # whatever the family: XLM-R, which lacks them, reads `unknown`


@dataclass(frozen=True, kw_only=True)
class Family:
    """How checkpoints of one family write pieces; `mark` is on pieces inside words, or on the first ones of words."""

    mark: str
    marks_first: bool
    specials: frozenset[str]
    unknown: str

    def bare(self, piece: str) -> str:
        return piece.lstrip(self.mark)

    def begins(self, piece: str, forced: Collection[str]) -> bool:
        """Whether a piece begins a word; XLM-R's punctuation does, any run of it that is one in ASCII's order."""
        if self.marks_first:
            return piece in string.punctuation or piece in forced or piece.startswith(self.mark)
        return self.bare(piece) in forced or not piece.startswith(self.mark)

    def shown(self, word: str) -> str:
        return self.bare(word) if self.marks_first else word


FAMILIES: dict[FamilyName, Family] = {
    "bert": Family(
        mark="##",
        marks_first=False,
        specials=frozenset({"[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]"}),
        unknown="[UNK]",
    ),
    "xlm-roberta": Family(
        mark="▁",
        marks_first=True,
        specials=frozenset({"<s>", "</s>", "<pad>", "<unk>", "<mask>"}),
        unknown="<unk>",
    ),
}


class Pieces:
    """A tokenizer of a family with `ADDED` in its vocabulary; the one it is made from stays as it is."""

    def __init__(self, tokenizer: Tokenizer, family: FamilyName) -> None:
        self.family = FAMILIES[family]
        self.inner = Tokenizer.from_str(tokenizer.to_str())
        self.inner.no_truncation()
        self.inner.no_padding()
        self.inner.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in ADDED])
        self.unknown = self.inner.token_to_id(self.family.unknown) or 0

    def cut(self, texts: Sequence[str]) -> list[list[str]]:
        """The pieces of each text, as written there where the vocabulary lacks them; special strings are special."""
        return [e.tokens for e in self.inner.encode_batch(list(texts), add_special_tokens=False)]

    def ids(self, pieces: Sequence[str]) -> list[int]:
        found = (self.inner.token_to_id(p) for p in pieces)
        return [self.unknown if i is None else i for i in found]

    def strings(self, ids: Sequence[int]) -> list[str]:
        return [self.inner.id_to_token(i) or self.family.unknown for i in ids]

    def join(self, pieces: Sequence[str]) -> str:
        """As text, by the tokenizer's own decoder."""
        joined: str = self.inner.decoder.decode(list(pieces)) if self.inner.decoder else " ".join(pieces)
        return joined
