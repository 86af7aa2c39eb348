"""The contract: requests and answers as they travel, shared by the service and its clients."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

J = TypeVar("J")
DEPTH = 100  # objects and lists inside each other, where a request may hold any JSON
HOLDERS = (dict, list, tuple)
MANY = 50  # fields: more than any body here knows


def unicode(text: str) -> str:
    """JSON can spell half a surrogate pair, which no answer could carry back."""
    try:
        text.encode()
    except UnicodeEncodeError as e:
        raise ValueError(f"character {e.start} is a lone surrogate: not Unicode text") from None
    return text


def plain_json(value: J) -> J:
    """What goes back untouched must be JSON, at most DEPTH deep; raises ValueError that says what it is not."""
    if deeper(value, DEPTH):
        raise ValueError(f"is nested too deep: at most {DEPTH} objects and lists inside each other")
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError):
        raise ValueError("must be plain JSON: no NaN, no lone surrogates, nothing JSON has no word for") from None
    return value


def deeper(value: object, most: int) -> bool:
    """Whether more than `most` objects and lists are inside each other; a thing that holds itself is.

    Level by level, each container once: neither the stack nor a structure that is shared a thousandfold can hurt.
    """
    level: list[object] = [value] if isinstance(value, HOLDERS) else []
    for _ in range(most):
        if not level:
            return False
        held = (v for x in level for v in (x.values() if isinstance(x, dict) else x))  # type: ignore[attr-defined]
        level = list({id(v): v for v in held if isinstance(v, HOLDERS)}.values())
    return bool(level)


Text = Annotated[str, AfterValidator(unicode)]
Name = Annotated[Text, Field(min_length=1, max_length=200)]
Timeout = Annotated[int | None, Field(ge=1, le=600_000, description="answer within this, or 429 or 504")]


class Body(BaseModel):
    """Unknown fields are errors: a misspelt option must not be ignored."""

    model_config = ConfigDict(extra="forbid")


class Asked(Body):
    """What requests are made of: wrong in a hundred thousand ways, it is one error that is made, not as many."""

    @model_validator(mode="before")
    @classmethod
    def few(cls, given: Any) -> Any:
        """Of unknown fields only the first is left to be an error, where there are many."""
        if not isinstance(given, dict) or len(given) <= MANY:
            return given
        known = {f.alias or name for name, f in cls.model_fields.items()}
        first = next(name for name in given if name not in known)
        return {name: v for name, v in given.items() if name in known or name is first}


class BudgetBody(Asked):
    """Exactly one of four."""

    rate: Annotated[float | None, Field(gt=0, le=1, allow_inf_nan=False, description="tokens out / tokens in")] = None
    tokens: Annotated[int | None, Field(ge=1, le=2**31 - 1, description="tokens out, in the reader's count")] = None
    threshold: Annotated[
        float | None, Field(ge=0, le=1, allow_inf_nan=False, description="keep what is at least this probable")
    ] = None

    recall: Annotated[
        float | None, Field(gt=0, le=1, allow_inf_nan=False, description="share of the evidence expected to be kept")
    ] = None

    @model_validator(mode="after")
    def one(self) -> BudgetBody:
        if len([v for v in (self.rate, self.tokens, self.threshold, self.recall) if v is not None]) != 1:
            raise ValueError("give exactly one of rate, tokens, threshold, recall")
        return self


class DocumentBody(Asked):
    """One retrieved text. `metadata` comes back untouched; `title` gives the model context and is not counted."""

    text: Text
    id: Annotated[Text | None, Field(max_length=500)] = None
    title: Annotated[Text | None, Field(max_length=2000)] = None
    metadata: Annotated[dict[str, Any], AfterValidator(plain_json)] | None = None
    budget: BudgetBody | None = None
    compress: bool = True


class KeepBody(Asked):
    """Kept whatever the score, by whole units."""

    strings: Annotated[
        list[Annotated[Text, Field(min_length=1, max_length=1000)]], Field(max_length=200), Field(fail_fast=True)
    ] = []
    patterns: Annotated[
        list[Annotated[Text, Field(min_length=1, max_length=1000)]],
        Field(max_length=50, description="RE2 syntax", fail_fast=True),
    ] = []
    digits: bool = False
    first_sentence: bool = False


class CompressRequest(Asked):
    """`POST /v1/compress`: either `documents` or one `text`."""

    query: Annotated[Text | None, Field(max_length=100_000)] = None
    documents: Annotated[list[DocumentBody], Field(fail_fast=True)] | None = None
    text: Text | None = None
    recipe: Name = "token.v1"
    model: Name | None = None
    budget: Annotated[BudgetBody, Field(description="where none is named: all of it for meta.v1, else rate 0.5")] = (
        BudgetBody(rate=0.5)
    )
    reader: Annotated[Name | None, Field(description="whose tokens count; default: the model's own")] = None
    unit: Literal["token", "word", "phrase", "edu", "sentence"] | None = None
    scope: Annotated[Literal["global", "document"], Field(description="one budget for all, or for each")] = "global"
    keep: KeepBody = KeepBody()
    order: Literal["source", "relevance", "two_stage"] = "source"
    ranker: Annotated[
        Name | None, Field(description="who ranks documents: `bm25` or a model; default: the recipe's own scores")
    ] = None
    top_documents: Annotated[int | None, Field(ge=1, le=1_000_000)] = None
    separator: Annotated[Text, Field(max_length=100, description="between documents in `text`")] = "\n\n"
    duplicates: Annotated[
        Literal["once", "keep"],
        Field(description="whether a sentence of several documents is kept once (scope global)"),
    ] = "once"
    marker: Annotated[
        Text, Field(max_length=40, description="what stands where content recipes left something out; empty: nothing")
    ] = "…"
    on_over_budget: Literal["error", "warn"] = "error"
    timeout_ms: Timeout = None
    returns: Annotated[
        list[Literal["text", "spans", "scores", "tree", "segments"]],
        Field(alias="return", max_length=5, description="parts wanted"),
    ] = ["text", "spans"]

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "query": "Who signed the treaty?",
                    "documents": [{"id": "a", "text": "It rained. The treaty was signed by Ada. Lunch was good."}],
                    "budget": {"rate": 0.5},
                }
            ]
        },
    )

    @model_validator(mode="after")
    def one(self) -> CompressRequest:
        if (self.documents is None) == (self.text is None):
            raise ValueError("give either documents or text")
        return self


class NodeAnswer(Body):
    """One node of a document's structure; `parent` is a number in the same list, absent where that is the document."""

    kind: Literal["section", "item", "paragraph", "edu", "sentence"]
    start: int
    end: int
    parent: int | None = None
    kept: bool


class DocumentAnswer(Body):
    """One document's kept text: exactly its spans (half-open character offsets) joined, its marks between them.

    What `meta.v1` has coded (`recipe` says so) has no spans: `laconic.client.restore(text)` is the source.
    """

    id: str
    title: Annotated[str | None, Field(description="what it is about, by its own text, where none was given")] = None
    text: str | None = None
    spans: list[tuple[int, int]] | None = None
    marks: Annotated[
        list[tuple[int, str]] | None, Field(description="offset and text of what is not the source's, with `spans`")
    ] = None
    recipe: Annotated[str | None, Field(description="what cut it by its structure, where that was not prose")] = None
    scores: Annotated[list[tuple[int, int, float]] | None, Field(description="start, end, score of each unit")] = None
    score: Annotated[float | None, Field(description="probability that it answers the query")] = None
    repeats: Annotated[
        list[tuple[int, int, str, int, int]] | None,
        Field(description="start and end of sentences that are left to another document: its id, start and end there"),
    ] = None
    segments: Annotated[
        list[tuple[int, int, str]] | None, Field(description="start, end and name of each segment, for /v1/expand")
    ] = None
    tree: Annotated[
        list[NodeAnswer] | None,
        Field(description="headings, lists, paragraphs and their units; `threshold: 0` keeps all"),
    ] = None
    tokens_in: int
    tokens_out: int
    cached: Annotated[str, Field(description="segments answered from the cache / segments")]
    metadata: dict[str, Any] | None = None


class ModelAnswer(Body):
    """Which weights under which numeric profile gave the scores."""

    name: str
    revision: str
    profile: str


class UsageAnswer(Body):
    """Counted in the reader's tokens."""

    tokens_in: int
    tokens_out: int
    rate: float
    segments: int
    cache_hits: int
    compute_ms: float


class CompressAnswer(Body):
    """The answer of `POST /v1/compress`; `documents` in the order of the request."""

    id: str
    recipe: str
    model: ModelAnswer | None = None
    reader: str
    text: str | None = None
    documents: list[DocumentAnswer]
    usage: UsageAnswer
    warnings: list[str]


class ErrorDetail(Body):
    """What went wrong, for programs (`type`, `code`, `param`) and for people (`message`)."""

    type: str
    code: str
    message: str
    param: str | None = None
    request_id: str


class ErrorAnswer(Body):
    """The one shape of every failure."""

    error: ErrorDetail


class BatchAnswer(Body):
    """One line of `POST /v1/compress/batch`'s answer: what the request on line `index` (from 0) came to."""

    index: int
    status: Annotated[int, Field(description="what the same request alone would have been answered with")]
    answer: CompressAnswer | None = None
    error: ErrorDetail | None = None
