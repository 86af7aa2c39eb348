"""One call's passes over its contexts: scores first where ranks are needed, then contexts, sentences, words."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..flight import Flights
from ..pipeline import Pipeline
from ..rank import arrange, by_relevance
from ..score_lexical import bm25
from ..score_loss import FULL
from ..types import Budget, Compressed, Document, InvalidRequest, Keep, Order, Request, Result, Span, UnitName
from ..units import printable
from .arguments import ORDERS, Wishes
from .plan import Part, apart, excerpt, outer, protected, several, within
from .reading import distance

GAP = "\n\n"
LEAST = 1e-9
NOTHING = Budget(kind="rate", value=LEAST)  # but what is forced


class Memory:
    """What one call has scored: a second pass over the same text asks no model."""

    def __init__(self) -> None:
        self.flights: Flights[Any] = Flights()
        self.emptied = 0
        self._held: dict[bytes, bytes] = {}

    def key(self, kind: str, digest: bytes) -> bytes:
        return kind.encode() + digest

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self._held.get(k) for k in keys]

    def put(self, values: Mapping[bytes, bytes]) -> None:
        self._held.update(values)

    def drop(self, key: bytes) -> None:
        self._held.pop(key, None)

    def close(self) -> None:
        self._held.clear()


@dataclass(frozen=True, kw_only=True)
class Room:
    """What may be kept: tokens of the contexts to begin with, and by how many tokens kept texts exceed the limit."""

    tokens: int
    excess: Callable[[list[Part]], int]


class Passes:
    """The passes of one call over its texts (of contexts, tags read), by one pipeline."""

    def __init__(self, pipeline: Pipeline, w: Wishes, texts: Sequence[str], staying: Collection[int] = ()) -> None:
        """`staying`: numbers of contexts that no filter may drop, beside those that the wishes name."""
        self.pipeline, self.w, self.texts = pipeline, w, texts
        self.scores: dict[int, float] = {}  # of contexts, as far as they are known
        self.warnings: list[str] = []
        self.query = f"{w.question}{GAP}{w.instruction}" if w.add_instruction else w.question
        strings = (*w.force_tokens, *([GAP] if w.keep_split else []))
        self.keep = Keep(strings=strings, digits=w.force_reserve_digit)
        named = set(w.force_context_ids or ())
        if not named <= set(range(len(texts))):
            raise InvalidRequest(f"there are {len(texts)} contexts, numbered from 0", param="force_context_ids")
        best = by_relevance(self.relevance)[: w.force_context_number] if w.force_context_number else ()
        self.staying = named | {*best, *staying}

    def count(self, text: str) -> int:
        return self.pipeline.reader.count([printable(text)])[0]

    @cached_property
    def costs(self) -> list[int]:
        return [self.count(t) for t in self.texts]

    def survey(self, unit: UnitName | None = None) -> Result:
        """Every context with its scores, nothing chosen; its order is by relevance."""
        whole = [Document(id=str(i), text=t) for i, t in enumerate(self.texts)]
        return self._run(whole, NOTHING, unit, GAP, "relevance")

    @cached_property
    def relevance(self) -> list[float]:
        """How much each context is worth to the query, or of itself where there is none: higher is better."""
        if self.w.rank_method == "bm25":
            return [float(x) for x in bm25(self.query, self.texts)]
        if self.w.rank_method == "gzip":
            return [-distance(printable(t), printable(self.query)) for t in self.texts]
        found = self.survey()
        if self.pipeline.parts.calibrated and len({c.score for c in found.documents}) < 2:
            return [mean(c) for c in found.documents]  # LLMLingua-2's rank: no relevance tells them apart
        rank = {n: place for place, n in enumerate(found.order)}
        return [-float(rank[n]) for n in range(len(self.texts))]

    def protect(self, parts: list[Part]) -> list[Part]:
        """Parts with the sentences that the wishes keep on their own."""
        w = self.w
        ranges = outer(self.texts, w.keep_first_sentence, w.keep_last_sentence)
        for n, c in enumerate(self.survey("sentence").documents if w.keep_sentence_number else ()):
            best = by_relevance(c.scores.tolist() if c.scores is not None else ())[: w.keep_sentence_number]
            ranges += [(n, int(c.units.starts[i]), int(c.units.ends[i])) for i in best if c.units is not None]
        return apart(protected(parts, ranges))

    def contexts(self, tokens: float | None, *, whole: bool = False) -> list[int]:
        """The contexts that stay: all without a limit, else the best, up to the one that crosses `tokens` or another
        limit; `whole`: without that one.
        """
        w, every = self.w, list(range(len(self.texts)))
        limits = [] if tokens is None else [tokens]
        if w.context_level_rate < 1:
            limits.append(w.context_level_rate * sum(self.costs))
        if w.context_level_target_token != -1:
            limits.append(w.context_level_target_token)
        number = len(every) if w.target_context == -1 else int(w.target_context)
        if len(every) < 2 or not w.use_context_level_filter or (not limits and number >= len(every)):
            return every
        kept = sorted(self.staying)
        left = min(limits, default=math.inf) - sum(self.costs[i] for i in kept)
        for i in by_relevance(self.relevance):
            if i in self.staying:
                continue
            if len(kept) >= number or left < 0 or (whole and self.costs[i] > left):
                break
            kept.append(i)
            left -= self.costs[i]
        return sorted(kept)

    def ordered(self, numbers: Sequence[int]) -> list[int]:
        """Contexts as the prompt is to have them."""
        order = ORDERS[self.w.reorder_context]
        return [numbers[i] for i in arrange([self.relevance[n] if order != "source" else 0 for n in numbers], order)]

    def rendered(self, kept: Sequence[Sequence[Span]]) -> list[str]:
        """The texts that are left, in the prompt's order."""
        return [excerpt(self.texts[n], kept[n]) for n in self.ordered([n for n, s in enumerate(kept) if s])]

    def rates(self, numbers: Sequence[int], rate: float) -> dict[int, float]:
        """Each context's rate, the best one's raised and the last one's lowered, the others' in between."""
        turn = self.w.dynamic_context_compression_ratio
        ranked = [numbers[i] for i in by_relevance([self.relevance[n] for n in numbers])] if turn else numbers
        steps = np.linspace(turn, -turn, len(ranked)) if len(ranked) > 1 else np.zeros(len(ranked))
        return {n: min(1.0, max(LEAST, rate + float(d))) for n, d in zip(ranked, steps, strict=True)}

    def sentences(self, parts: list[Part], tokens: float) -> list[Part]:
        """Whole sentences only, at most so many tokens of them."""
        return apart(self.choose(parts, math.floor(tokens), {}, "sentence"))

    def choose(
        self, parts: list[Part], tokens: int | None, rates: Mapping[int, float], unit: UnitName | None = None
    ) -> list[Part]:
        """What of the parts is kept within `tokens` (None: no limit) and each context's rate or each part's own."""
        if not parts:
            return []
        documents = [Document(id=str(p.context), text=p.text, compress=p.compress, budget=own(p, rates)) for p in parts]
        separator = "" if several(parts) else GAP
        if tokens is not None and not separator:
            tokens -= self.count(GAP) * (len({p.context for p in parts}) - 1)
        budget = Budget(kind="rate", value=1.0) if tokens is None else least(tokens)
        found = self._run(documents, budget, unit, separator)
        if any(c.units is not None for c in found.documents):  # else all was kept, and that is no news
            self.warnings += [w for w in found.warnings if w not in self.warnings]
        return within(parts, found.documents)

    def shared(self, parts: list[Part], tokens: int, unit: UnitName | None = None) -> list[Part]:
        """`choose`, with the contexts that must stay given their share of the tokens before the others compete."""
        mine = [p for p in parts if p.context in self.staying]
        if not mine:
            return self.choose(parts, tokens, {}, unit)
        cost, total = (sum(self.count(p.text) for p in some) for some in (mine, parts))
        rate = min(1.0, max(LEAST, tokens / max(1, total)))
        first = self.choose(mine, math.floor(rate * cost), {p.context: rate for p in mine}, unit)
        spent = sum(self.count(p.text) for p in first) + self.count(GAP) * len({p.context for p in mine})
        rest = self.choose([p for p in parts if p.context not in self.staying], tokens - spent, {}, unit)
        return sorted([*first, *rest], key=lambda p: (p.context, p.start))

    def fitted(self, room: Room, select: Callable[[int], list[Part]]) -> list[Part]:
        """The selection, made again with fewer tokens while what surrounds it makes the whole exceed the limit."""
        tokens, step, last = room.tokens, 0, None
        while True:
            self.warnings.clear()
            kept = select(tokens)
            excess = room.excess(kept)
            if excess <= 0:
                return kept
            if tokens <= 0:
                self.warnings = [f"what must be kept exceeds the budget by {excess} tokens"]
                return kept
            step = max(excess, 2 * step if kept == last else 0)  # large units: fewer tokens may be the same ones
            tokens, last = tokens - step, kept

    def _run(
        self,
        documents: Sequence[Document],
        budget: Budget,
        unit: UnitName | None,
        separator: str,
        order: Order = "source",
    ) -> Result:
        request = Request(
            documents=documents,
            budget=budget,
            query=self.query or None,
            keep=self.keep,
            unit=unit,
            order=order,
            on_over_budget="warn",
            separator=separator,
        )
        found = self.pipeline(request)
        for c in found.documents:
            if c.score is not None:
                self.scores[int(c.id)] = max(c.score, self.scores.get(int(c.id), 0.0))
        return found


def own(part: Part, rates: Mapping[int, float]) -> Budget | None:
    rate = part.rate if part.rate is not None else rates.get(part.context)
    return None if rate is None or not part.compress else Budget(kind="rate", value=rate)


def least(tokens: int) -> Budget:
    return Budget(kind="tokens", value=tokens) if tokens >= 1 else NOTHING


def mean(c: Compressed) -> float:
    return float(c.scores.mean()) if c.scores is not None and len(c.scores) else -math.inf


def sharpened(pipeline: Pipeline, w: Wishes) -> tuple[Pipeline, Wishes]:
    """A recipe whose documents differ in rate by themselves, with the call's ratio for its own."""
    turn = w.dynamic_context_compression_ratio
    if not turn or not pipeline.parts.spread:
        return pipeline, w
    changed = Pipeline(replace(pipeline.parts, spread=FULL * turn), pipeline.reader)
    return changed, replace(w, dynamic_context_compression_ratio=0.0)
