"""A language model's service that stands in for a real one: it remembers what it was asked and answers as told."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from .conftest import listening

WORDS = ["Ada ", "Lovelace ", "signed."]
ERROR = {"error": {"message": "too many requests", "type": "rate_limit", "param": None, "code": "rate_limited"}}


class Upstream:
    """What was asked, in order, and whether a caller has left before its answer was done."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.queries: list[str] = []
        self.left = threading.Event()
        self.url = ""

    @property
    def body(self) -> Any:
        return json.loads(self.raw[-1])

    @property
    def messages(self) -> list[Any]:
        """The messages of the last request."""
        found: list[Any] = self.body["messages"]
        return found

    async def chat(self, request: Request) -> Response:
        """Answers as the model's name says: `error`, `cut`, `slow`, or anything else for an answer."""
        self.raw.append(await request.body())
        self.headers.append(dict(request.headers))
        self.queries.append(request.url.query)
        try:
            body = json.loads(self.raw[-1])
        except ValueError:
            return JSONResponse({"error": {"message": "that is no JSON"}}, 400)
        headers = {"x-request-id": "theirs", "openai-processing-ms": "7", "set-cookie": "a=b"}
        if body["model"] == "error":
            return JSONResponse(ERROR, 429, {"retry-after": "3"})
        if body["model"] in ("slow", "cut") or body.get("stream"):
            return StreamingResponse(self._events(body["model"]), media_type="text/event-stream", headers=headers)
        return JSONResponse(completion("".join(WORDS)), headers=headers)

    async def _events(self, model: str) -> AsyncIterator[bytes]:
        try:
            for n, word in enumerate(WORDS):
                yield f"data: {json.dumps(chunk(word))}\n\n".encode()
                if model == "cut":
                    raise ConnectionResetError
                await asyncio.sleep(30 if model == "slow" and n else 0.2)
            yield f"data: {json.dumps(chunk(None))}\n\ndata: [DONE]\n\n".encode()
        except asyncio.CancelledError:
            self.left.set()
            raise


def completion(text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": "stand-in",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
    }


def chunk(text: str | None) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": None if text else "stop"}
    kind = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": int(time.time()), "model": "stand-in"}
    return {**kind, "choices": [choice]}


@contextmanager
def upstream() -> Iterator[Upstream]:
    """One that runs, at `url`."""
    made = Upstream()
    app = Starlette(routes=[Route("/v1/chat/completions", made.chat, methods=["POST"])])
    with listening(app, abort=True, log_level="critical") as address:
        made.url = f"{address}/v1"
        yield made
