"""Text to token ids with character spans, for models and readers; built on Hugging Face `tokenizers`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from .recent import Recent
from .words import Words, applies


class Encoded(NamedTuple):
    """Token ids of one text and their character spans, int64 [N, 2]."""

    ids: tuple[int, ...]
    spans: np.ndarray


class TextTokenizer:
    """A `tokenizer.json` without truncation, padding or special tokens; special strings in text are plain text."""

    def __init__(self, path: Path) -> None:
        self.inner = Tokenizer.from_file(str(path))
        self.inner.no_truncation()
        self.inner.no_padding()
        self.inner.encode_special_tokens = True
        self._recent: Recent[Encoded] = Recent()  # a text is asked for by reader, splitter and scorer in turn
        self.words = Words(self.inner) if applies(json.loads(self.inner.to_str())) else None
        self.cls = self._special("[CLS]", "<s>", "<|begin_of_text|>", "<bos>", "<|endoftext|>")
        self.sep = self._special("[SEP]", "</s>")

    def _special(self, *names: str) -> int:
        ids = (self.inner.token_to_id(n) for n in names)
        return next((i for i in ids if i is not None), 0)

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Encode each text alone; texts must be free of lone surrogates. Releases the GIL."""
        known = {text: self._recent.get(text) for text in texts}
        missing = [text for text, e in known.items() if e is None]
        for text, e in zip(missing, self._encode(missing), strict=True):
            e.spans.flags.writeable = False  # shared from now on
            known[text] = e
            self._recent.put(text, e)
        return [known[text] for text in texts]  # type: ignore[misc]  # none is None any more

    def _encode(self, texts: Sequence[str]) -> list[Encoded]:
        if self.words is not None:
            return [Encoded(*found) for found in self.words.encode(texts)]
        found = self.inner.encode_batch(texts, add_special_tokens=False)
        return [Encoded(tuple(e.ids), np.array(e.offsets, np.int64).reshape(-1, 2)) for e in found]

    def count(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text."""
        if self.words is not None:
            return self.words.count(texts)
        return [len(e) for e in self.inner.encode_batch_fast(list(texts), add_special_tokens=False)]
