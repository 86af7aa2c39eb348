"""laconic before every model call of a LangChain agent: tool results the model has seen, and retrieved text, shortened.

The system prompt, what people and the model said, and the order of messages stay as they are; so does the agent's
state: only the request to the model is shorter. Needs langchain.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import ModelRequest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage

from .adapter import Asking
from .client import URL
from .wire import CompressAnswer

Threshold: TypeAlias = tuple[Literal["characters", "tokens"], int]
NOTHING = "[nothing of this matters to the question]"  # some providers take no empty tool result
QUERY = 4000  # characters of the last user turn that are asked for, its end


@dataclass(frozen=True, kw_only=True)
class Place:
    """A text to be shortened: a message's content, or one block of it."""

    message: int
    block: int | None
    text: str


class CompressionMiddleware(AgentMiddleware[Any, Any, Any]):
    """Shortens tool results that are longer than `over`, once the conversation is longer than `trigger`.

    A result is left alone until the model has answered to it, unless it is retrieved text: from a tool named in
    `retrievers`, or with documents as its artifact. `by_question=False` leaves the last user turn out of it, so that
    a result is shortened to the same bytes in every turn, and prompt caches hold. `count` counts tokens. The rest is
    as in Asking: `url`, `api_key`, `backend`, `budget` (for each result), `fail_open` and so on.
    """

    def __init__(
        self,
        url: str = URL,
        *,
        over: Threshold = ("tokens", 500),
        trigger: Threshold = ("tokens", 0),
        retrievers: Collection[str] = (),
        by_question: bool = True,
        count: Callable[[str], int] = lambda text: len(text) // 4,
        **asking: Any,
    ) -> None:
        super().__init__()
        options = {"scope": "document", **asking.pop("options", {})}
        self.asking = Asking(url=url, options=options, **asking)
        self.over, self.trigger, self.retrievers = over, trigger, frozenset(retrievers)
        self.by_question, self.count = by_question, count

    def wrap_model_call(self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Any]) -> Any:
        if places := self._places(request.messages):
            answer = self.asking.ask(bodies(places), self._question(request.messages))
            request = request.override(messages=shortened(request.messages, places, answer))
        return handler(request)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[Any]]
    ) -> Any:
        if places := self._places(request.messages):
            answer = await self.asking.aask(bodies(places), self._question(request.messages))
            request = request.override(messages=shortened(request.messages, places, answer))
        return await handler(request)

    def _places(self, messages: Sequence[AnyMessage]) -> list[Place]:
        if not any(isinstance(m, ToolMessage) for m in messages):
            return []
        if self.trigger[1] and not self._longer("\n".join(m.text for m in messages), self.trigger):
            return []
        answered = max((n for n, m in enumerate(messages) if isinstance(m, AIMessage)), default=-1)
        return [
            place
            for n, m in enumerate(messages)
            if isinstance(m, ToolMessage) and m.status != "error" and (n < answered or self._retrieved(m))
            for place in texts(n, m)
            if self._longer(place.text, self.over)
        ]

    def _longer(self, text: str, threshold: Threshold) -> bool:
        kind, most = threshold
        return (len(text) if kind == "characters" else self.count(text)) > most

    def _retrieved(self, message: ToolMessage) -> bool:
        held = message.artifact
        documents = isinstance(held, (list, tuple)) and len(held) > 0 and all(hasattr(d, "page_content") for d in held)
        return documents or message.name in self.retrievers

    def _question(self, messages: Sequence[AnyMessage]) -> str | None:
        if not self.by_question:
            return None
        last = next((m.text for m in reversed(messages) if isinstance(m, HumanMessage)), "")
        return whole(last[-QUERY:]) or None


def texts(number: int, message: ToolMessage) -> list[Place]:
    """The texts of a message's content; images and the like are not among them, nor what is not Unicode text."""
    if isinstance(message.content, str):
        found = [Place(message=number, block=None, text=message.content)]
    else:
        found = [
            Place(message=number, block=n, text=block if isinstance(block, str) else block["text"])
            for n, block in enumerate(message.content)
            if isinstance(block, str) or (block.get("type") == "text" and isinstance(block.get("text"), str))
        ]
    return [p for p in found if whole(p.text) is not None]


def whole(text: str) -> str | None:
    """None for what holds half a surrogate pair: no service takes it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return None
    return text


def bodies(places: Sequence[Place]) -> list[str]:
    return [p.text for p in places]


def shortened(messages: Sequence[AnyMessage], places: Sequence[Place], answer: CompressAnswer) -> list[AnyMessage]:
    """Copies of the messages concerned, under their ids and tool-call ids, among the others as they are."""
    out = list(messages)
    for place, found in zip(places, answer.documents, strict=True):
        text = found.text if found.text and found.text.strip() else NOTHING
        content: Any = text
        if place.block is not None:
            content = list(out[place.message].content)
            block = content[place.block]
            content[place.block] = text if isinstance(block, str) else {**block, "text": text}
        out[place.message] = out[place.message].model_copy(update={"content": content})
    return out
