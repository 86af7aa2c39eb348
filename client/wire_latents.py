"""The contract of the soft compressors: what `POST /v1/encode` and `POST /v1/expand` take and answer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from .wire import Asked, Body, DocumentBody, ModelAnswer, Name, Text, Timeout

Dtype = Literal["float16", "float32", "bfloat16"]


def whole(documents: list[DocumentBody]) -> list[DocumentBody]:
    """Documents of the same shape as elsewhere, but there are latents for all of a text: `rate` says how many."""
    for n, d in enumerate(documents):
        if d.budget is not None or not d.compress:
            raise ValueError(f"document {n} has a budget or `compress: false`: latents know only the request's rate")
    return documents


class EncodeRequest(Asked):
    """`POST /v1/encode`: either `documents` or one `text`."""

    documents: Annotated[list[DocumentBody], Field(fail_fast=True), AfterValidator(whole)] | None = None
    text: Text | None = None
    model: Name = "laconic-soft"
    decoder: Annotated[Name | None, Field(description="who will read the latents; default: the model's own")] = None
    rate: Annotated[int, Field(ge=1, le=64, description="tokens per latent")] = 4
    dtype: Dtype = "float16"
    format: Annotated[
        Literal["safetensors", "vllm", "json"],
        Field(description="a file; JSON with base64 of the bytes that torch.save writes; JSON with numbers"),
    ] = "safetensors"
    join: Annotated[bool, Field(description="one tensor for all documents, in their order")] = False
    timeout_ms: Timeout = None

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"documents": [{"id": "a", "text": "It rained. The treaty was signed by Ada."}], "format": "json"}
            ]
        },
    )

    @model_validator(mode="after")
    def one(self) -> EncodeRequest:
        if (self.documents is None) == (self.text is None):
            raise ValueError("give either documents or text")
        return self


class LatentsAnswer(Body):
    """One document's latents: where they come from, and under `data` or `values` they themselves, unless joined.

    In a safetensors file they are the tensor named by the document's number, or under "latents" those of all.
    """

    id: str
    latents: Annotated[int, Field(description="how many")]
    tokens_in: int
    segments: Annotated[
        list[tuple[int, int, int, int, int]],
        Field(description="start and end of each segment in the text, its first latent, its latents, its tokens"),
    ]
    ids: Annotated[list[str] | None, Field(description="each segment's name, for /v1/expand")] = None
    cached: Annotated[str, Field(description="segments answered from the cache / segments")]
    data: Annotated[str | None, Field(description="base64, as vLLM takes it")] = None
    values: Annotated[list[list[float]] | None, Field(description="one list of `width` numbers per latent")] = None
    metadata: dict[str, Any] | None = None


class LatentsUsage(Body):
    """Counted in the encoder's tokens; `rate` is tokens per latent, as it came out."""

    tokens_in: int
    latents: int
    rate: float
    segments: int
    cache_hits: int
    compute_ms: float

    @property
    def tokens_out(self) -> int:
        """What a decoder reads in the place of `tokens_in`."""
        return self.latents


class EncodeAnswer(Body):
    """The answer of `POST /v1/encode`; in a safetensors file it is the JSON under `laconic` in the header's metadata.

    The decoder wants the text `before` and `after` around the latents.
    """

    id: str
    model: ModelAnswer
    decoder: str
    rate: int
    dtype: Dtype
    width: Annotated[int, Field(description="numbers per latent")]
    before: str
    after: str
    spread: Annotated[bool, Field(description="the decoder counts positions as in the text, not the prompt")] = False
    documents: list[LatentsAnswer]
    data: Annotated[str | None, Field(description="all latents, where joined")] = None
    values: Annotated[list[list[float]] | None, Field(description="all latents, where joined")] = None
    usage: LatentsUsage
    warnings: list[str]


class ExpandRequest(Asked):
    """`POST /v1/expand`: segments by the names that /v1/encode gave them."""

    ids: Annotated[
        list[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]],
        Field(min_length=1, max_length=1000),
        Field(fail_fast=True),
    ]


class ExpandedSegment(Body):
    """A segment's text, absent where it is no longer kept."""

    id: str
    text: str | None = None


class ExpandAnswer(Body):
    """The answer of `POST /v1/expand`, in the order asked for."""

    segments: list[ExpandedSegment]
