"""Readers: the tokenizers budgets are counted in. Files only, never a download."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .recent import Recent
from .tokenizer import TextTokenizer

# Encodings of tiktoken and the addresses its cache names files after (sha1 of the address).
TIKTOKEN = {
    name: f"https://openaipublic.blob.core.windows.net/encodings/{name}.tiktoken"
    for name in ("cl100k_base", "o200k_base", "p50k_base", "r50k_base")
}


class ReaderError(LookupError):
    """The named reader is not installed; the message says what to do."""


class Counts:
    """Counts of the last texts: what a selection came to is counted again when it is answered."""

    def __init__(self) -> None:
        self._recent: Recent[int] = Recent()

    def count(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text."""
        known = {text: self._recent.get(text) for text in texts}
        missing = [text for text, n in known.items() if n is None]
        for text, n in zip(missing, self._count(missing), strict=True):
            known[text] = n
            self._recent.put(text, n)
        return [known[text] for text in texts]  # type: ignore[misc]  # none is None any more

    def _count(self, texts: list[str]) -> list[int]:
        raise NotImplementedError


class HfReader(Counts):
    """Counts in any `tokenizer.json`."""

    def __init__(self, name: str, tokenizer: TextTokenizer) -> None:
        super().__init__()
        self.name, self.tokenizer = name, tokenizer

    def _count(self, texts: list[str]) -> list[int]:
        return self.tokenizer.count(texts)

    def spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [e.spans for e in self.tokenizer.encode(texts)]


class TiktokenReader(Counts):
    """Counts in one of tiktoken's encodings; special-token strings count as plain text."""

    def __init__(self, name: str, encoding: Any) -> None:
        super().__init__()
        self.name, self.encoding = name, encoding

    def _count(self, texts: list[str]) -> list[int]:
        return [len(ids) for ids in self.encoding.encode_ordinary_batch(texts)]

    def spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [self._spans(t) for t in texts]

    def _spans(self, text: str) -> np.ndarray:
        sizes = [len(b) for b in self.encoding.decode_tokens_bytes(self.encoding.encode_ordinary(text))]
        ends = np.cumsum(np.array([0, *sizes], np.int64))
        raw = np.frombuffer(text.encode(), np.uint8)
        # character number of every byte: continuation bytes (10xxxxxx) belong to the character begun before
        owner = np.cumsum((raw & 0xC0) != 0x80) - 1
        starts = owner[ends[:-1]] if len(raw) else ends[:0]
        stops = owner[ends[1:] - 1] + 1 if len(raw) else ends[:0]
        return np.stack((starts, stops), axis=1)


def open_reader(name: str, folder: Path | None = None, tiktoken_cache: Path | None = None) -> HfReader | TiktokenReader:
    """A reader by name: `folder/NAME/tokenizer.json`, `folder/NAME.json`, or a tiktoken encoding on disk.

    Raises ReaderError for what is not there; nothing is fetched.
    """
    if name in TIKTOKEN:
        return TiktokenReader(name, _tiktoken(name, tiktoken_cache))
    if folder is not None and name.replace("-", "").replace("_", "").replace(".", "").isalnum():
        for path in (folder / name / "tokenizer.json", folder / f"{name}.json"):
            if is_there(path) and path.resolve().is_relative_to(folder.resolve()):
                try:
                    return HfReader(name, TextTokenizer(path))
                except Exception as e:  # tokenizers raises bare Exception on a malformed file
                    raise ReaderError(f"reader {name}: {path.name} is not a tokenizer: {e}") from None
    raise ReaderError(f"no reader {name[:80]!r}: put its tokenizer.json into the readers folder")


def is_there(path: Path) -> bool:
    """Whether a file has that path; none has one that the file system cannot hold."""
    try:
        return path.is_file()
    except OSError:
        return False


def _tiktoken(name: str, cache: Path | None) -> Any:
    if importlib.util.find_spec("tiktoken") is None:
        raise ReaderError(f"reader {name} needs the tiktoken package: pip install tiktoken")
    folder = cache or Path(tempfile.gettempdir()) / "data-gym-cache"
    file = folder / hashlib.sha1(TIKTOKEN[name].encode(), usedforsecurity=False).hexdigest()
    if not file.is_file():
        raise ReaderError(
            f"reader {name} needs its file {file.name} in {folder} (see tiktoken's cache); none is fetched"
        )
    import tiktoken

    os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)  # the only way tiktoken takes a folder
    return tiktoken.get_encoding(name)
