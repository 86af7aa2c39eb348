"""From what callers hold (strings, dicts, bodies) to requests; and the answer that is made of the input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError
from typing_extensions import TypedDict

from .errors import InvalidRequest, ServiceFailure, of_validation
from .wire import (
    BudgetBody,
    CompressAnswer,
    CompressRequest,
    DocumentAnswer,
    DocumentBody,
    KeepBody,
    UsageAnswer,
)

if TYPE_CHECKING:
    from .wire_latents import EncodeRequest

FAIL_OPEN = "fail_open"  # the first word of the warning in an answer that is the input
Given: TypeAlias = Sequence[str | Mapping[str, Any] | DocumentBody]
B = TypeVar("B", bound=BaseModel)


class Options(TypedDict, total=False):
    """The further fields of `POST /v1/compress`, under the names and with the meanings they have there."""

    text: str
    budget: BudgetBody | Mapping[str, float]
    recipe: str
    model: str | None
    reader: str | None
    unit: Literal["token", "word", "phrase", "edu", "sentence"] | None
    scope: Literal["global", "document"]
    keep: KeepBody | Mapping[str, Any]
    order: Literal["source", "relevance", "two_stage"]
    ranker: str | None
    top_documents: int | None
    separator: str
    duplicates: Literal["once", "keep"]
    on_over_budget: Literal["error", "warn"]
    returns: Sequence[Literal["text", "spans", "scores", "tree", "segments"]]


class EncodeOptions(TypedDict, total=False):
    """The further fields of `POST /v1/encode`."""

    text: str
    model: str
    decoder: str | None
    rate: int
    dtype: Literal["float16", "float32", "bfloat16"]
    join: bool


def made(kind: type[B], fields: Mapping[str, Any]) -> B:
    """A body; raises InvalidRequest where the service would refuse it."""
    try:
        return kind.model_validate(fields)
    except ValidationError as e:
        raise of_validation(e) from None


def request(given: Given | None, query: str | None, options: Mapping[str, Any]) -> CompressRequest:
    """Raises InvalidRequest."""
    more = {"documents": given, "query": query}
    return made(CompressRequest, named({**options, **{k: v for k, v in more.items() if v is not None}}))


def encode_request(given: Given | None, options: Mapping[str, Any]) -> EncodeRequest:
    """Raises InvalidRequest; what comes back is always a file of tensors."""
    from .wire_latents import EncodeRequest

    more = {"documents": given} if given is not None else {}
    return made(EncodeRequest, named({**options, **more, "format": "safetensors"}))


def line(given: CompressRequest | Mapping[str, Any]) -> CompressRequest:
    """One request of a batch; raises InvalidRequest."""
    return given if isinstance(given, CompressRequest) else made(CompressRequest, named(given))


def dumped(body: BaseModel) -> bytes:
    """Only what was said: defaults are the service's to know.

    Raises InvalidRequest for what no JSON can say, as bodies hold that were changed after they were checked.
    """
    try:
        return body.model_dump_json(exclude_unset=True, exclude_none=True, by_alias=True).encode()
    except (PydanticSerializationError, TypeError, ValueError, RecursionError) as e:
        message = f"the request cannot be written as JSON: {type(e).__name__}"
        raise InvalidRequest(message, code="invalid_field") from None


def named(options: Mapping[str, Any]) -> dict[str, Any]:
    """As the wire has it: `returns`, here not a word of Python's, is `return` there; strings become documents."""
    fields = {"return" if k == "returns" else k: v for k, v in options.items()}
    if fields.get("documents") is not None:
        fields["documents"] = bodies(fields["documents"])
    return fields


def bodies(given: Given) -> list[Any]:
    """One string alone is most likely a mistake for a list of one; raises InvalidRequest."""
    if isinstance(given, str):
        raise InvalidRequest(
            "documents is a list; a single text goes to `text`", code="invalid_field", param="documents"
        )
    return [{"text": d} if isinstance(d, str) else d for d in given]


def untouched(body: CompressRequest, failure: ServiceFailure) -> CompressAnswer:
    """The input as an answer: every document whole, nothing counted, and a warning that says why."""
    given = body.documents if body.documents is not None else [DocumentBody(text=body.text or "")]
    text, spans = "text" in body.returns, "spans" in body.returns
    documents = [
        DocumentAnswer(
            id=d.id if d.id is not None else str(n),
            text=d.text if text else None,
            spans=([(0, len(d.text))] if d.text else []) if spans else None,
            tokens_in=0,
            tokens_out=0,
            cached="0/0",
            metadata=d.metadata,
        )
        for n, d in enumerate(given)
    ]
    return CompressAnswer(
        id=failure.request_id or "",
        recipe=body.recipe,
        model=None,
        reader=body.reader or "",
        text=body.separator.join(d.text for d in given) if text else None,
        documents=documents,
        usage=UsageAnswer(tokens_in=0, tokens_out=0, rate=1.0, segments=0, cache_hits=0, compute_ms=0.0),
        warnings=[f"{FAIL_OPEN}: not compressed: {failure.message}"],
    )
