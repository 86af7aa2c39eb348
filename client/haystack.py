"""laconic in Haystack: a component between a retriever and a prompt builder; needs haystack-ai."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.utils import Secret, deserialize_secrets_inplace
from pydantic import SecretStr

from .adapter import Asking
from .client import URL
from .wire import CompressAnswer


@component
class LaconicCompressor:
    """Keeps what matters to the query, within one budget; order, ids and metadata are kept, `spans` are added.

    Documents of which nothing was kept are left out, documents without text pass through. `asking` is as in Asking:
    `timeout`, `budget`, `recipe`, `options`, `fail_open` and so on; they may be changed there later.
    """

    def __init__(self, url: str = URL, api_key: Secret | None = None, **asking: Any) -> None:
        self.asking = Asking(url=url, **asking)
        self.api_key = api_key

    @property
    def url(self) -> str:
        return self.asking.url

    @url.setter
    def url(self, url: str) -> None:
        self.asking.url = url

    @property
    def api_key(self) -> Secret | None:
        """As Haystack has secrets: where the key stands, not the key."""
        return self._secret

    @api_key.setter
    def api_key(self, secret: Secret | None) -> None:
        self._secret = secret
        self.asking.api_key = SecretStr(key) if secret and (key := secret.resolve_value()) else None

    def to_dict(self) -> dict[str, Any]:
        """What `asking` says now; a backend is no part of it."""
        key = self.api_key.to_dict() if self.api_key else None
        rest = self.asking.model_dump(mode="json", exclude={"url"}, exclude_defaults=True)
        return default_to_dict(self, url=self.url, api_key=key, **rest)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> LaconicCompressor:
        deserialize_secrets_inplace(data["init_parameters"], keys=["api_key"])
        made: LaconicCompressor = default_from_dict(cls, data)
        return made

    @component.output_types(documents=list[Document])
    def run(self, query: str, documents: list[Document]) -> dict[str, list[Document]]:
        texts = [d for d in documents if d.content]
        if not texts:
            return {"documents": documents}
        answer = self.asking.ask([self.asking.body(d.content or "", d.meta) for d in texts], query)
        return {"documents": kept(documents, answer)}

    @component.output_types(documents=list[Document])
    async def run_async(self, query: str, documents: list[Document]) -> dict[str, list[Document]]:
        texts = [d for d in documents if d.content]
        if not texts:
            return {"documents": documents}
        answer = await self.asking.aask([self.asking.body(d.content or "", d.meta) for d in texts], query)
        return {"documents": kept(documents, answer)}


def kept(documents: list[Document], answer: CompressAnswer) -> list[Document]:
    found, out = iter(answer.documents), []
    for document in documents:
        if not document.content:
            out.append(document)
        elif (row := next(found)).text and row.text.strip():
            meta = {**document.meta, "spans": [list(s) for s in row.spans or []]}
            score = document.score if row.score is None else row.score
            out.append(replace(document, content=row.text, meta=meta, score=score))
    return out
