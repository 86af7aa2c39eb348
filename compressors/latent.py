"""The other road: `split → encode` gives latents instead of text.

CompLLM (Berton et al. 2025): every segment is encoded alone, so the cost is linear in the text, latents of segments
stand side by side in any order, and what was encoded once serves every later question. What is kept of a segment is
what is answered: latents are brought to the precision of the cache whether or not there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from laconic.models import LatentInput, Model

from . import codec
from .cached import Store, body, digest, fingerprint, through
from .pipeline import by_document
from .split import SentenceSplitter
from .texts import segment_id
from .types import Document, InvalidRequest, Segment, TooLarge
from .units import printable, sentences

VERSION = "latents.v1"
SLACK = 8
Precision = Literal["float16", "int8"]
Kept = tuple[bytes, np.ndarray]  # a segment's latents as the cache holds them, and opened: int8 packed anew differs


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One segment's latents, `count` rows from `first` on, and what of the text they stand for."""

    start: int
    end: int
    first: int
    count: int
    tokens: int
    ident: str  # names its text (see texts)
    cached: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Latents:
    """One document's: float32 [latents, width], in the order of the text."""

    id: str
    values: np.ndarray
    parts: Sequence[Part]
    tokens_in: int


class LatentEncoder:
    """Documents to latents by one model; thread-safe. `store` keeps them by segment; `most` bounds their numbers."""

    def __init__(
        self, model: Model, store: Store | None = None, precision: Precision = "float16", most: int | None = None
    ) -> None:
        if model.card.latent is None:
            raise InvalidRequest(f"{model.card.name} makes no latents", param="model")
        self.model, self.store, self.precision, self.most = model, store, precision, most
        self.facts = model.card.latent
        limit = model.card.segment_tokens
        if model.tokenizer.words is None:  # a segment alone may have a few tokens more than within its document
            limit -= min(limit // 8, SLACK)
        self.splitter = SentenceSplitter(self._spans, limit)
        self.mark = fingerprint(model, f"{VERSION}:{precision}")

    def __call__(self, documents: Sequence[Document], rate: int, decoder: str | None = None) -> list[Latents]:
        """Raises InvalidRequest for a rate or decoder that the model does not know, TooLarge for too much at once."""
        decoder = self.decoder(decoder)
        if rate not in self.facts.rates:
            known = ", ".join(map(str, self.facts.rates))
            raise InvalidRequest(f"{self.model.card.name} makes a latent of {known} tokens, not {rate}", param="rate")
        bare = [Document(text=printable(d.text), id=d.id) for d in documents]  # a title is no part of the text
        segments = self.splitter(bare, [sentences(d.text) for d in bare])
        counts = self.model.tokenizer.count([s.text for s in segments])
        numbers = sum(-(-n // rate) for n in counts) * self.facts.decoders[decoder]
        if self.most is not None and numbers > self.most:
            raise TooLarge(f"latents of {numbers} numbers; {self.most} may be asked for at once", param="documents")
        encoded, held = self._encode(segments, rate, decoder)
        nothing = np.zeros((0, self.facts.decoders[decoder]), np.float32)
        each = list(zip(segments, counts, encoded, held, strict=True))
        out = []
        for d, mine in zip(documents, by_document(segments, each, len(documents)), strict=True):
            parts, first = [], 0
            for s, tokens, values, cached in mine:
                where = {"start": s.start, "end": s.start + len(s.text), "first": first, "count": len(values)}
                parts.append(Part(**where, tokens=tokens, ident=segment_id(s.text), cached=cached))
                first += len(values)
            joined = np.concatenate([nothing, *(values for _, _, values, _ in mine)])
            out.append(Latents(id=d.id, values=joined, parts=parts, tokens_in=sum(p.tokens for p in parts)))
        return out

    def _spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [e.spans for e in self.model.tokenizer.encode(texts)]

    def decoder(self, name: str | None) -> str:
        """The decoder's name, the model's own where none is given; raises InvalidRequest."""
        known = self.facts.decoders
        if name is not None and name not in known:
            raise InvalidRequest(f"{self.model.card.name} has latents for {', '.join(known)}", param="decoder")
        return name or next(iter(known))

    def _ids(self, segments: Sequence[Segment]) -> list[tuple[int, ...]]:
        return [e.ids for e in self.model.tokenizer.encode([s.text for s in segments])]

    def _encode(self, segments: Sequence[Segment], rate: int, decoder: str) -> tuple[list[np.ndarray], list[bool]]:
        """Each segment's latents [G, width], and whether they were kept before; equal segments are encoded once."""
        shown = [self._key(s, rate, decoder) for s in segments]
        wanted = dict(zip(shown, segments, strict=True))

        def compute(missing: list[bytes]) -> list[Kept]:
            ids = self._ids([wanted[k] for k in missing])
            found = iter(self.model.backend.run([LatentInput(ids=i, rate=rate, decoder=decoder) for i in ids if i]))
            nothing = np.zeros((0, self.facts.decoders[decoder]), np.float32)  # of a text without a token
            packed = (codec.pack_latents(next(found) if i else nothing, self.precision) for i in ids)
            return [kept for value in packed if (kept := opened(value))]

        if self.store is None:
            distinct = list(wanted)
            values, held = dict(zip(distinct, compute(distinct), strict=True)), set[bytes]()
        else:
            values, held = through(self.store, shown, opened, lambda kept: kept[0], compute)
        return [values[k][1] for k in shown], [k in held for k in shown]

    def _key(self, s: Segment, rate: int, decoder: str) -> bytes:
        mark = digest(self.mark, rate.to_bytes(4, "little"), decoder.encode(), *body(s))
        return self.store.key("latents", mark) if self.store is not None else mark


def opened(value: bytes) -> Kept | None:
    """What a cache holds of a segment, and its latents; None where it is no such value."""
    found = codec.unpack_latents(value)
    return None if found is None else (value, found)
