"""What the adapters for frameworks share: whom to ask and what for, on a thread or an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, model_validator
from typing_extensions import Self

from .bodies import Given, request
from .client import URL, AsyncClient, Client
from .errors import InvalidRequest
from .wire import BudgetBody, CompressAnswer


class Remote:
    """Both clients of one service, each made at its first use."""

    def __init__(self, **options: Any) -> None:
        self._options = options

    @cached_property
    def client(self) -> Client:
        return Client(**self._options)

    @cached_property
    def aclient(self) -> AsyncClient:
        return AsyncClient(**self._options)

    def compress(self, *given: Any, **options: Any) -> CompressAnswer:
        return self.client.compress(*given, **options)

    async def acompress(self, *given: Any, **options: Any) -> CompressAnswer:
        return await self.aclient.compress(*given, **options)

    def __del__(self) -> None:
        """Nobody thinks of closing a retriever's compressor."""
        if "client" in vars(self):
            self.client.close()


class Asking(BaseModel):
    """Whom to ask: the service at `url`, or a `backend` with the `compress` of Client and perhaps an `acompress`.

    With `fail_open` documents stay whole where the service fails; a backend has a rule of its own. `options` are
    further fields of `/v1/compress`. A document's `title` is what its metadata has under `title_key`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    url: str = URL
    api_key: SecretStr | None = Field(default=None, exclude=True)
    timeout: float = 30.0
    retries: int = 4
    fail_open: bool = True
    backend: Any = Field(default=None, exclude=True)
    budget: BudgetBody = BudgetBody(rate=0.5)
    recipe: str = "token.v1"
    options: dict[str, Any] = {}
    title_key: str | None = "title"
    _asked: Any = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _good(self) -> Self:
        """A misspelt option fails here, not at the first question."""
        if self.backend is not None and not callable(getattr(self.backend, "compress", None)):
            raise ValueError("a backend has a method `compress`, as Client has; AsyncClient alone is not enough")
        try:
            request([], None, self.said())
        except InvalidRequest as e:
            raise ValueError(str(e)) from None
        return self

    def model_post_init(self, context: Any, /) -> None:
        super().model_post_init(context)
        key = self.api_key.get_secret_value() if self.api_key else None
        rules = {"timeout": self.timeout, "retries": self.retries, "fail_open": self.fail_open}
        self._asked = self.backend if self.backend is not None else Remote(url=self.url, api_key=key, **rules)

    def said(self) -> dict[str, Any]:
        """The fields of every request; the text and its spans are what adapters need."""
        return {**self.options, "budget": self.budget, "recipe": self.recipe, "returns": ["text", "spans"]}

    def body(self, text: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """A document of the request; the rest of its metadata stays here."""
        title = metadata.get(self.title_key) if self.title_key else None
        return {"text": text, "title": title[:2000]} if isinstance(title, str) else {"text": text}

    def ask(self, documents: Given, query: str | None) -> CompressAnswer:
        found: CompressAnswer = self._asked.compress(documents, query or None, **self.said())
        return found

    async def aask(self, documents: Given, query: str | None) -> CompressAnswer:
        found: CompressAnswer
        if hasattr(self._asked, "acompress"):
            found = await self._asked.acompress(documents, query or None, **self.said())
        else:
            found = await asyncio.to_thread(self._asked.compress, documents, query or None, **self.said())
        return found

    def close(self) -> None:
        """Close the pool of threads' connections; a backend of your own stays open."""
        if isinstance(self._asked, Remote) and "client" in vars(self._asked):
            self._asked.client.close()

    async def aclose(self) -> None:
        """Close the running loop's pool of connections."""
        if isinstance(self._asked, Remote) and "aclient" in vars(self._asked):
            await self._asked.aclient.aclose()
