"""Compatible fronts: what gateways made for Headroom's service post, answered by this one.

`POST /v1/compress` with `messages` (LiteLLM's guardrail, Headroom's own clients) and `POST /compress` (Headroom's hook
for a compressor elsewhere). These shapes are others': what they may add later is ignored, not an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, Discriminator, Field, Tag, TypeAdapter

from laconic.client.wire import (
    BudgetBody,
    CompressAnswer,
    CompressRequest,
    DocumentBody,
    Text,
    UsageAnswer,
    plain_json,
)
from laconic.compressors import DEFAULT, Compressor, InvalidRequest, Reader, TooLarge
from laconic.models import Work, current

from . import messages as chats
from .bodies import Bounds, checked, json_of
from .handle import Call, answer
from .keys import Key
from .messages import Chat

if TYPE_CHECKING:
    from .app import State

PLACEHOLDER = r"\{\{HEADROOM_TAG_[^}]*\}\}"  # stands for a tag that Headroom puts back afterwards
CHAT_BODY = {  # for the documentation: the body itself goes on as it came, whatever else is in it
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["messages"],
                    "properties": {
                        "model": {"type": "string"},
                        "messages": {"type": "array", "items": {"type": "object"}},
                        "stream": {"type": "boolean"},
                    },
                }
            }
        },
    }
}
Rate = Annotated[float | None, Field(gt=0, le=1, allow_inf_nan=False, description="tokens out / tokens in")]


class ChatConfig(BaseModel):
    """Of Headroom's options the ones that mean something here; others are ignored."""

    target_ratio: Rate = None
    frozen_message_count: Annotated[
        int | None, Field(ge=0, description="so many first messages come back byte for byte")
    ] = None


class ChatRequest(BaseModel):
    """`POST /v1/compress` with `messages`: a chat in OpenAI's format, as LiteLLM's `headroom` guardrail posts it."""

    messages: Annotated[list[dict[str, Any]], Field(fail_fast=True), AfterValidator(plain_json)]
    model: Annotated[Text | None, Field(description="who will read it; not used")] = None
    config: ChatConfig | None = None


class ChatAnswer(BaseModel):
    """The same messages in the same order, some of their texts shorter. Tokens are the model's own count."""

    messages: list[dict[str, Any]]
    tokens_before: int
    tokens_after: int
    tokens_saved: int
    compression_ratio: Annotated[float, Field(description="tokens after / tokens before")]
    transforms_applied: list[str]
    ccr_hashes: Annotated[list[str], Field(description="always empty: nothing is left to be fetched later")]


class HookRequest(BaseModel):
    """`POST /compress`: one text, as Headroom posts it to a compressor elsewhere."""

    content: Text
    target_ratio: Rate = None


class HookAnswer(BaseModel):
    """What is left of the text."""

    compressed: str
    original_tokens: int
    compressed_tokens: int
    compression_ratio: Annotated[float, Field(description="tokens after / tokens before")]
    model_used: str


def shape(body: Any) -> str:
    """A body with `messages` is a chat; any other is our own."""
    return "ChatRequest" if isinstance(body, dict) and "messages" in body else "CompressRequest"


AnyRequest = Annotated[
    Annotated[CompressRequest, Tag("CompressRequest")] | Annotated[ChatRequest, Tag("ChatRequest")],
    Discriminator(shape),
]


ANY, HOOK = TypeAdapter[CompressRequest | ChatRequest](AnyRequest), TypeAdapter(HookRequest)


@dataclass(frozen=True, kw_only=True)
class ReadChat:
    """A chat, the characters of all its texts, the texts of its pieces, and the rate asked for."""

    chat: Chat
    characters: int
    texts: list[str]
    rate: float | None = None


def any_body(raw: bytes, bounds: Bounds) -> CompressRequest | ReadChat:
    """A body of `POST /v1/compress`; raises NotJson, InvalidField, TooLarge."""
    found = checked(ANY, json_of(raw, bounds), bounds)
    if isinstance(found, CompressRequest):
        return found
    config = found.config or ChatConfig()
    return read_chat(found.messages, config.frozen_message_count or 0, config.target_ratio)


def read_chat(messages: list[Any], frozen: int = 0, rate: float | None = None) -> ReadChat:
    """What of a chat may be compressed; linear in what it holds."""
    chat = chats.read(messages, frozen)
    characters = sum(len(text) for m in chat.messages for _, text in chats.texts_of(m))
    return ReadChat(chat=chat, characters=characters, texts=chat.texts(), rate=rate)


def hook_body(raw: bytes, bounds: Bounds) -> HookRequest:
    return checked(HOOK, json_of(raw, bounds), bounds)


@dataclass(frozen=True, kw_only=True)
class Chatted:
    """A chat after compression: its messages, the tokens of all its texts before and after, what the work was."""

    messages: list[Any]
    before: int
    after: int
    usage: UsageAnswer


def chatting(
    state: State,
    asked: ReadChat,
    ident: str,
    key: Key,
    work: Work,
    gone: asyncio.Future[None],
    seconds: float,
) -> Call[Chatted]:
    """The call that compresses a chat's pieces to its rate, or to the settings'. Raises TooLarge."""
    s, chat, rate = state.settings, asked.chat, asked.rate or state.settings.upstream_rate
    if asked.characters > s.max_characters:
        raise TooLarge(f"messages may have {s.max_characters} characters in all", param="messages")
    return Call(
        texts=asked.texts,
        query=chat.query or "",
        needs_model=bool(chat.pieces),
        run=partial(compress_chat, state.compressor, chat, rate, s.upstream_min_tokens, ident),
        key=key,
        work=work,
        gone=gone,
        seconds=seconds,
        stages={},
    )


def compress_chat(compressor: Compressor, chat: Chat, rate: float, least: int, ident: str, work: Work) -> Chatted:
    """The blocking part, on a thread: pieces cut each to its rate, unmarked ones only from `least` tokens on."""
    current.set(work)
    work.check()
    reader = compressor.reader()
    before, texts = tokens(reader, chat.messages), chat.texts()
    long = [p.marked or n >= least for p, n in zip(chat.pieces, reader.count(texts), strict=True)]
    chosen = [n for n, wanted in enumerate(long) if wanted]
    if not chosen:
        usage = UsageAnswer(tokens_in=0, tokens_out=0, rate=0.0, segments=0, cache_hits=0, compute_ms=0.0)
        return Chatted(messages=chat.messages, before=before, after=before, usage=usage)
    rates = [BudgetBody(rate=chat.pieces[n].rate or rate) for n in chosen]
    documents = [DocumentBody(text=texts[n], budget=b) for n, b in zip(chosen, rates, strict=True)]
    given = {"documents": documents, "query": chat.query, "scope": "document", "return": ["text"]}
    found = answer(compressor, CompressRequest.model_validate(given), ident, work)
    for n, d in zip(chosen, found.documents, strict=True):
        texts[n] = some(d.text, texts[n])
    messages = chats.put(chat, texts)
    after = tokens(reader, messages)
    if after > before:  # cut where no token ends: what is gained must never be less than nothing
        messages, after = chat.messages, before
    return Chatted(messages=messages, before=before, after=after, usage=found.usage)


def some(kept: str | None, text: str) -> str:
    """What was kept, or all of it where that is nothing: an empty message is refused by whom it is for."""
    return kept if kept and kept.strip() else text


def tokens(reader: Reader, messages: Sequence[Any]) -> int:
    """Of all texts of the messages; raises InvalidRequest for what is not Unicode."""
    texts = [text for m in messages for _, text in chats.texts_of(m)]
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        raise InvalidRequest("a message has a lone surrogate: not Unicode text", param="messages") from None
    return sum(reader.count(texts))


def as_chat(found: Chatted) -> tuple[bytes | str, str]:
    saved = found.before - found.after
    made = ChatAnswer(
        messages=found.messages,
        tokens_before=found.before,
        tokens_after=found.after,
        tokens_saved=saved,
        compression_ratio=round(found.after / found.before, 4) if found.before else 1.0,
        transforms_applied=[f"laconic:{DEFAULT}"] if saved else [],
        ccr_hashes=[],
    )
    return made.model_dump_json(), "application/json"


def hooked(body: HookRequest, rate: float) -> CompressRequest:
    """The hook's body as one of ours: to its rate or `rate`, Headroom's placeholders kept."""
    given = {
        "text": body.content,
        "budget": {"rate": body.target_ratio or rate},
        "keep": {"patterns": [PLACEHOLDER]},
        "on_over_budget": "warn",
        "return": ["text"],
    }
    return CompressRequest.model_validate(given)


def as_hook(body: HookRequest, found: CompressAnswer) -> tuple[bytes | str, str]:
    u, kept = found.usage, some(found.text, body.content)
    left = u.tokens_in if kept == body.content else u.tokens_out
    made = HookAnswer(
        compressed=kept,
        original_tokens=u.tokens_in,
        compressed_tokens=left,
        compression_ratio=round(left / u.tokens_in, 4) if u.tokens_in else 1.0,
        model_used=found.model.name if found.model else found.recipe,
    )
    return made.model_dump_json(), "application/json"
