"""Elementary discourse units: clauses and phrases that each say one thing, and which other unit each depends on.

Boundaries by token classification, as in the DISRPT shared tasks (Zeldes et al. 2019; corpora GUM, Zeldes 2017, and
SciDTB, Yang & Li, ACL 2018); dependencies by a biaffine score between units (Dozat & Manning, ICLR 2017), of units of
one segment only. What is selected is closed under dependency, as in tree-knapsack summarization (Hirao et al., EMNLP
2013): a unit brings what it depends on, or goes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from laconic.models import Backend, EduFacts, EduInput, EduOutput, TextTokenizer, marks

from . import codec
from .cached import Store, body, digest, through
from .heads import cycles, summed
from .stages import Segmenter
from .types import Discourse, Segment, Units
from .units import from_starts, owners, sentences


class EduSegmenter:
    """One forward of the discourse head for each segment; a line break always ends a unit, a word is never cut."""

    def __init__(self, backend: Backend, tokenizer: TextTokenizer, facts: EduFacts) -> None:
        self.backend, self.tokenizer, self.facts = backend, tokenizer, facts

    def __call__(self, segments: Sequence[Segment]) -> list[Discourse]:
        each = zip(segments, *self.forward(segments), strict=True)
        return [read(s.text, spans, seen, o, self.facts) for s, spans, seen, o in each]

    def forward(self, segments: Sequence[Segment]) -> tuple[list[np.ndarray], list[np.ndarray], list[EduOutput]]:
        """Each segment's token spans, their marks, and what the encoder makes of them."""
        encoded = self.tokenizer.encode([s.text for s in segments])
        seen = [marks(s.text, e.spans) for s, e in zip(segments, encoded, strict=True)]
        cls, sep = self.tokenizer.cls, self.tokenizer.sep
        inputs = [EduInput(ids=(cls, *e.ids, sep), marks=m) for e, m in zip(encoded, seen, strict=True)]
        return [e.spans for e in encoded], seen, self.backend.run(inputs)


def read(text: str, spans: np.ndarray, seen: np.ndarray, o: EduOutput, facts: EduFacts) -> Discourse:
    """The units of a segment whose tokens lie at `spans` [T, 2] with `seen` marks."""
    if not len(spans):
        return Discourse(starts=np.zeros(1, np.int64), heads=np.full(1, -1))
    begins = (o.start > facts.start) & (seen[:, 1] == 0)
    lines = [s for s in sentences(text).starts.tolist() if "\n" in text[max(0, s - 1) : s]]
    fixed = np.zeros(len(spans), bool)
    fixed[np.searchsorted(spans[:, 0], lines).clip(max=len(spans) - 1)] = True
    fixed[0] = True
    begins |= fixed
    at = np.flatnonzero(begins)
    hollow = np.add.reduceat(seen[:, 5], at) == 0  # a mark alone says nothing: it goes with what stands before it,
    begins[at[hollow & ~fixed[at]]] = False
    bullets = np.flatnonzero(hollow[:-1] & fixed[at[:-1]] & ~fixed[at[1:]])  # at the start of a line with what follows
    begins[at[bullets + 1]] = False
    starts = spans[begins, 0].copy()
    starts[0] = 0
    return Discourse(starts=starts, heads=heads(o.links, np.cumsum(begins) - 1, facts.distance))


def heads(links: np.ndarray, unit: np.ndarray, distance: Sequence[float]) -> np.ndarray:
    """The unit each unit depends on, -1 for none of them; int64 [N], without cycles.

    `links` [T, 2D + 2] are each token's dependent and head vectors, its bias as a head and as a unit without one;
    `unit` [T] is the unit of each token, `distance` the bias of every signed distance in units.
    """
    count = int(unit[-1]) + 1
    if count == 1:
        return np.full(1, -1)
    size = np.bincount(unit)[:, None]
    mean = np.add.reduceat(links.astype(np.float64), np.flatnonzero(np.diff(unit, prepend=-1))) / size
    dependent, head, bias, alone = np.split(
        mean, [width := (links.shape[1] - 2) // 2, 2 * width, 2 * width + 1], axis=1
    )
    reach = len(distance) // 2
    i = np.arange(count)
    apart = np.clip(i[None] - i[:, None], -reach, reach) + reach
    score = dependent @ head.T / np.sqrt(width) + bias.T + np.asarray(distance)[apart]
    np.fill_diagonal(score, -np.inf)
    return without_cycles(np.concatenate([score, alone], axis=1))


def without_cycles(score: np.ndarray) -> np.ndarray:
    """Each row's best column, -1 for the last; the weakest link of every cycle becomes -1. score [N, N + 1]"""
    count = len(score)
    best = score.argmax(1)
    gain = score[np.arange(count), best] - score[:, -1]
    best[best == count] = -1
    for cycle in list(cycles(best)):
        best[min(cycle, key=lambda n: float(gain[n]))] = -1
    found: np.ndarray = best.astype(np.int64)
    return found


class CachedSegmenter:
    """A segmenter whose segments are looked up first; equal segments of one request are cut once."""

    def __init__(self, inner: Segmenter, store: Store, mark: bytes) -> None:
        self.inner, self.store, self.mark = inner, store, mark

    def __call__(self, segments: Sequence[Segment]) -> list[Discourse]:
        keys = [self.store.key("edus", digest(self.mark, body(s)[1])) for s in segments]
        wanted = dict(zip(keys, segments, strict=True))
        values, _ = through(
            self.store,
            keys,
            codec.unpack_edus,
            codec.pack_edus,
            lambda missing: self.inner([wanted[k] for k in missing]),
        )
        return [values[k] for k in keys]


def assemble(length: int, segments: Sequence[Segment], found: Sequence[Discourse]) -> Units:
    """One document's units from those of its segments, in order; they tile [0, length)."""
    if not segments:
        return from_starts([], length)
    first = np.cumsum([0, *(len(d.starts) for d in found)])
    starts = np.concatenate([d.starts + s.start for d, s in zip(found, segments, strict=True)])
    starts[0] = 0  # what stands before the first segment is white space
    links = [np.where(d.heads >= 0, d.heads + at, -1) for d, at in zip(found, first, strict=False)]
    units = from_starts(starts, length)
    return Units(starts=units.starts, ends=units.ends, heads=np.concatenate(links))


def depth(units: Units) -> np.ndarray:
    """How many units each depends on, directly or through others; int64 [N]."""
    if units.heads is None:
        return np.zeros(len(units), np.int64)
    return summed((units.heads >= 0).astype(np.int64), units.heads)


def inside(units: Units, sentences: Units) -> np.ndarray | None:
    """Heads that lie in the same sentence, the others as -1: what a unit is not kept without.

    Bringing heads from other sentences too cost a point of evidence (bench/LOG.md).
    """
    if units.heads is None:
        return None
    of = owners(sentences, units.starts)
    found: np.ndarray = np.where((units.heads >= 0) & (of[units.heads] == of), units.heads, -1)
    return found
