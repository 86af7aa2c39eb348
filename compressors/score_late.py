"""Late interaction: a segment is encoded once, alone; its codes are kept, and a new question only runs a light head.

Khattab & Zaharia 2020 (ColBERT) for documents encoded without their question, MacAvaney et al. 2020 (PreTTR) for joint
layers over kept states. Encoding has a seam of its own, so that the cache stands where the question does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from laconic.models import Backend, Card, Coded, CodeInput, LateFacts, LateInput, TextTokenizer

from . import codec
from .cached import Store, body, digest, through
from .score_token import identifiers, scored, write, write_query
from .types import Scores, Segment


@dataclass(frozen=True, kw_only=True, slots=True)
class CodedSegment:
    """A segment's codes, and its text's tokens as spans [N, 2] from the segment's start; they stand at `skip`."""

    coded: Coded
    spans: np.ndarray

    @property
    def skip(self) -> int:
        return len(self.coded.ids) - len(self.spans) - 1  # [SEP] is last


class Encoder(Protocol):
    """Segments to codes, each on its own, whatever will be asked."""

    def __call__(self, segments: Sequence[Segment]) -> list[CodedSegment]: ...


class SegmentEncoder:
    """One forward of the encoder for each segment."""

    def __init__(self, backend: Backend, tokenizer: TextTokenizer) -> None:
        self.backend, self.tokenizer, self.card = backend, tokenizer, backend.card

    def __call__(self, segments: Sequence[Segment]) -> list[CodedSegment]:
        written = write(self.tokenizer, self.card, segments)
        found = self.backend.run([CodeInput(ids=w.ids) for w in written])
        return [CodedSegment(coded=c, spans=w.spans) for w, c in zip(written, found, strict=True)]


class CachedEncoder:
    """An encoder whose segments are looked up first; equal segments of one request are encoded once."""

    def __init__(self, inner: Encoder, store: Store, mark: bytes, width: int) -> None:
        self.inner, self.store, self.mark, self.width = inner, store, mark, width

    def __call__(self, segments: Sequence[Segment]) -> list[CodedSegment]:
        keys, values, _ = self._through(segments)
        return [values[k] for k in keys]

    def warm(self, segments: Sequence[Segment]) -> int:
        """Encode what is not kept yet; how many of the segments were."""
        keys, _, held = self._through(segments)
        return sum(k in held for k in keys)

    def _through(self, segments: Sequence[Segment]) -> tuple[list[bytes], dict[bytes, CodedSegment], set[bytes]]:
        keys = [self.store.key("codes", digest(self.mark, *body(s))) for s in segments]
        wanted = dict(zip(keys, segments, strict=True))
        values, held = through(
            self.store, keys, self._load, self._dump, lambda missing: self.inner([wanted[k] for k in missing])
        )
        return keys, values, held

    def _load(self, value: bytes) -> CodedSegment | None:
        if (found := codec.unpack_codes(value, self.width)) is None:
            return None
        spans, ids, codes = found
        return CodedSegment(coded=Coded(ids=ids, codes=codes), spans=spans)

    @staticmethod
    def _dump(c: CodedSegment) -> bytes:
        return codec.pack_codes(c.spans, c.coded.ids, c.coded.codes)


class LateScorer:
    """Scores segments from their codes and the question's."""

    def __init__(self, encoder: Encoder, backend: Backend, tokenizer: TextTokenizer, late: LateFacts) -> None:
        self.encoder, self.backend, self.tokenizer, self.late = encoder, backend, tokenizer, late
        self.card: Card = backend.card

    def __call__(self, query: str | None, segments: Sequence[Segment]) -> list[Scores]:
        if not segments:
            return []
        coded = self.encoder(segments)
        question = self._question(write_query(self.tokenizer, self.card, query))
        outputs = self.backend.run(
            [LateInput(query=question, segment=c.coded, skip=c.skip, count=len(c.spans)) for c in coded]
        )
        weight = self.late.relevance_weight
        names = identifiers(query or "")
        return [scored(query, names, s, c.spans, o, weight) for s, c, o in zip(segments, coded, outputs, strict=True)]

    def _question(self, ids: tuple[int, ...]) -> Coded:
        if not ids:
            return Coded(ids=np.zeros(0, np.int64), codes=np.zeros((0, self.late.code), np.int8))
        found: Coded = self.backend.run([CodeInput(ids=ids)])[0]
        return found
