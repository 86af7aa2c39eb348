"""The words of the pipeline as frozen values; see GLOSSARY.md for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

BudgetKind = Literal["rate", "tokens", "threshold", "recall"]
Order = Literal["source", "relevance", "two_stage"]
Scope = Literal["global", "document"]
UnitName = Literal["token", "word", "phrase", "edu", "sentence"]


class LaconicError(Exception):
    """Root of every error a caller can cause or must handle; `code` is stable, `param` names the field."""

    code = "internal"
    status = 500

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message, self.param = message, param


class InvalidRequest(LaconicError):
    """The request contradicts itself or asks for something that does not exist here."""

    code, status = "invalid_request", 422


class UnknownName(InvalidRequest):
    """A recipe, model or reader that is not installed."""

    code, status = "unknown_name", 404


class TooLarge(LaconicError):
    """More than is taken, or given, at once: bytes, documents, characters, latents."""

    code, status = "too_large", 413


class BudgetUnreachable(InvalidRequest):
    """What must be kept alone exceeds the budget; the message says by how much."""

    code = "budget_unreachable"


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """How much may be kept. `value` is a share of input tokens, a token count, a probability, or a share of evidence.

    `recall` is the one that says what must not be lost: at least this share of the evidence is expected to be kept.
    """

    kind: BudgetKind
    value: float

    def __post_init__(self) -> None:
        low, high = (1, 2**31) if self.kind == "tokens" else (0.0, 1.0)
        # written so that NaN fails too
        if not (low <= self.value <= high) or (self.kind in ("rate", "recall") and self.value == 0):
            bounds = {"tokens": "at least 1", "threshold": "in [0, 1]"}.get(self.kind, "in (0, 1]")
            raise InvalidRequest(f"budget.{self.kind} must be {bounds}", param=f"budget.{self.kind}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """One input text; `compress=False` passes it through whole, its tokens counted."""

    text: str
    id: str = "0"
    title: str | None = None
    budget: Budget | None = None
    compress: bool = True
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Keep:
    """What is kept whatever its score: units that touch a string, a pattern's match, a digit, the first sentence."""

    strings: Sequence[str] = ()
    patterns: Sequence[str] = ()
    digits: bool = False
    first_sentence: bool = False

    def __bool__(self) -> bool:
        return bool(self.strings or self.patterns or self.digits or self.first_sentence)


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """Everything one compression depends on, apart from the model."""

    documents: Sequence[Document]
    budget: Budget
    query: str | None = None
    keep: Keep = field(default_factory=Keep)
    unit: UnitName | None = None  # None: the recipe's own
    scope: Scope = "global"
    order: Order = "source"
    top_documents: int | None = None
    on_over_budget: Literal["error", "warn"] = "error"
    separator: str = "\n\n"
    duplicates: Literal["once", "keep"] = "once"  # sentences that several documents have
    marker: str = "…"  # stands where content recipes left something out; "" for nothing


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """The run of one document that goes through a model on its own; `start` is its offset in the document."""

    document: int
    start: int
    text: str
    title: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """One segment's scores: pieces [N, 2] as document offsets, a logit per piece, a relevance logit."""

    pieces: np.ndarray  # int64 [N, 2]
    keep: np.ndarray  # float32 [N], higher means keep
    relevance: float
    cached: bool = False


class Span(NamedTuple):
    """Half-open character offsets into a document's text."""

    start: int
    end: int


class Mark(NamedTuple):
    """Text that is not the source's, where something was left out; `at` is an offset between kept spans."""

    at: int
    text: str


class Repeat(NamedTuple):
    """A sentence of one document that another, by its number, says in its stead."""

    span: Span
    of: int
    there: Span


@dataclass(frozen=True, kw_only=True, slots=True)
class Units:
    """A document cut into what a selector keeps or drops; the units tile the text exactly.

    `heads` has the number of the unit that each depends on, -1 for none; it has no cycles. `leads` are units that say
    nothing alone: they are kept only for what depends on them.
    """

    starts: np.ndarray  # int64 [N]
    ends: np.ndarray  # int64 [N]
    heads: np.ndarray | None = None  # int64 [N]
    leads: np.ndarray | None = None  # bool [N]

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Discourse:
    """One segment's discourse units: where each starts, from the segment's start, and the unit it depends on or -1."""

    starts: np.ndarray  # int64 [N], rising from 0
    heads: np.ndarray  # int64 [N]


@dataclass(frozen=True, kw_only=True, slots=True)
class Compressed:
    """One document's result: its kept text is exactly its spans joined, with the marks between them."""

    id: str
    text: str
    spans: Sequence[Span]
    score: float | None  # probability that the document is relevant; None without a query or a model
    tokens_in: int
    tokens_out: int
    segments: int
    cached: int
    units: Units | None = field(default=None, compare=False)  # what was scored; None where nothing was
    scores: np.ndarray | None = field(default=None, compare=False)  # keep probability of each unit, float64 [N]
    bounds: Sequence[Span] = field(default=(), compare=False)  # of the segments it was cut into; none where not cut
    marks: Sequence[Mark] = ()  # what stands between spans in the place of what was left out
    repeats: Sequence[Repeat] = ()  # what was left to other documents that say the same
    kind: str | None = None  # the recipe that cut it by its structure; None where the request's own did
    title: str | None = None  # what it is about: as given, or found in its text


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """The answer to a Request; `text` is the documents' texts joined by the separator, in `order`."""

    text: str
    documents: Sequence[Compressed]  # in the order of the request
    order: Sequence[int]  # numbers of the documents in the order of `text`
    tokens_in: int
    tokens_out: int
    segments: int
    cached: int
    warnings: Sequence[str] = ()
