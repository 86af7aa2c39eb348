"""What the adapters for frameworks share: whom to ask and what for, on a thread or an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, model_validator
from typing_extensions import Self

from .bodies import Given, request
from .calls import again
from .client import URL, AsyncClient, Client
from .errors import InvalidRequest
from .wire import BudgetBody, CompressAnswer


class Remote:
    """Both clients of one service, each made at its first use; a copy or pickle makes its own."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self._client: Client | None = None
        self._aclient: AsyncClient | None = None

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return again, (Remote, self.options)

    @property
    def client(self) -> Client:
        self._client = self._client or Client(**self.options)
        return self._client

    @property
    def aclient(self) -> AsyncClient:
        self._aclient = self._aclient or AsyncClient(**self.options)
        return self._aclient

    def compress(self, *given: Any, **options: Any) -> CompressAnswer:
        return self.client.compress(*given, **options)

    async def acompress(self, *given: Any, **options: Any) -> CompressAnswer:
        return await self.aclient.compress(*given, **options)

    def __del__(self) -> None:
        """Nobody thinks of closing a retriever's compressor."""
        self.close()

    def close(self) -> None:
        """What is used again after this opens connections anew."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    async def aclose(self) -> None:
        if self._aclient is not None:
            await self._aclient.aclose()


class Asking(BaseModel):
    """Whom to ask: the service at `url`, or a `backend` with the `compress` of Client and perhaps an `acompress`.

    With `fail_open` documents stay whole where the service fails; a backend has a rule of its own. `options` are
    further fields of `/v1/compress`. A document's `title` is what its metadata has under `title_key`.

    Whatever is changed later counts from the next question on. Copies share a `backend`, and no connection.
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
    _remote: Remote | None = PrivateAttr(default=None)

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

    def __copy__(self) -> Self:
        made = super().__copy__()
        made._remote = None
        return made

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        memo = {} if memo is None else memo
        memo[id(self.backend)] = self.backend  # what it is made of, locks and models, is no part of a chain
        return super().__deepcopy__(memo)

    def asked(self) -> Any:
        """Whom to ask, as the fields say now."""
        if self.backend is not None:
            return self.backend
        key = self.api_key.get_secret_value() if isinstance(self.api_key, SecretStr) else self.api_key
        said = {"url": self.url, "api_key": key, "timeout": self.timeout, "retries": self.retries}
        said["fail_open"] = self.fail_open
        remote = self._remote
        if remote is None or remote.options != said:
            remote = self._remote = Remote(**said)
        return remote

    def said(self) -> dict[str, Any]:
        """The fields of every request; the text and its spans are what adapters need."""
        return {**self.options, "budget": self.budget, "recipe": self.recipe, "returns": ["text", "spans"]}

    def body(self, text: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """A document of the request; the rest of its metadata stays here."""
        title = metadata.get(self.title_key) if self.title_key else None
        return {"text": text, "title": title[:2000]} if isinstance(title, str) else {"text": text}

    def ask(self, documents: Given, query: str | None) -> CompressAnswer:
        found: CompressAnswer = self.asked().compress(documents, query or None, **self.said())
        return found

    async def aask(self, documents: Given, query: str | None) -> CompressAnswer:
        found: CompressAnswer
        asked = self.asked()
        if hasattr(asked, "acompress"):
            found = await asked.acompress(documents, query or None, **self.said())
        else:
            found = await asyncio.to_thread(asked.compress, documents, query or None, **self.said())
        return found

    def close(self) -> None:
        """Close the pool of threads' connections; a backend of your own stays open."""
        if self._remote is not None:
            self._remote.close()

    async def aclose(self) -> None:
        """Close the running loop's pool of connections."""
        if self._remote is not None:
            await self._remote.aclose()
