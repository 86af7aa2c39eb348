"""laconic in LangChain: retrieved documents cut to what matters; needs langchain-core alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, BaseDocumentTransformer, Document
from langchain_core.runnables import RunnableConfig, RunnableLambda

from .adapter import Asking
from .wire import CompressAnswer

DOCUMENTS, CHARACTERS = 200, 500_000  # of one request of a transformer, at most; a single document may be longer


class LaconicDocuments(Asking):
    """What both have: documents in, documents out, in order, with their ids and metadata.

    Added to the metadata: `relevance_score` (where there was a query), and `spans`, the kept characters' offsets in
    the text as it was. Documents of which nothing was kept are left out, unless `keep_empty`.
    """

    keep_empty: bool = False

    def bodies(self, documents: Sequence[Document]) -> list[dict[str, Any]]:
        return [self.body(d.page_content, d.metadata) for d in documents]

    def kept(self, documents: Sequence[Document], answer: CompressAnswer) -> list[Document]:
        out = []
        for document, found in zip(documents, answer.documents, strict=True):
            text = found.text or ""
            if not text.strip() and not self.keep_empty:
                continue
            metadata = {**document.metadata, "spans": [list(s) for s in found.spans or []]}
            if found.score is not None:
                metadata["relevance_score"] = found.score
            out.append(document.model_copy(update={"page_content": text, "metadata": metadata}))
        return out


class LaconicCompressor(LaconicDocuments, BaseDocumentCompressor):
    """Keeps what matters to the query, within one budget for all documents; a run of its own for the callbacks."""

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        return self._run().invoke({"documents": documents, "query": query}, config(callbacks))

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        return await self._run().ainvoke({"documents": documents, "query": query}, config(callbacks))

    def _run(self) -> RunnableLambda[dict[str, Any], list[Document]]:
        return RunnableLambda(self._compress, self._acompress, name=type(self).__name__)

    def _compress(self, given: dict[str, Any]) -> list[Document]:
        documents = given["documents"]
        return self.kept(documents, self.ask(self.bodies(documents), given["query"])) if documents else []

    async def _acompress(self, given: dict[str, Any]) -> list[Document]:
        documents = given["documents"]
        return self.kept(documents, await self.aask(self.bodies(documents), given["query"])) if documents else []


class LaconicTransformer(LaconicDocuments, BaseDocumentTransformer):
    """Shortens each document to its own budget, for a `query` (also as an argument of the call) or for none.

    As many documents as there are: they travel in groups.
    """

    query: str | None = None

    def said(self) -> dict[str, Any]:
        return {"scope": "document", **super().said()}

    def transform_documents(self, documents: Sequence[Document], **kwargs: Any) -> Sequence[Document]:
        query, out = kwargs.get("query", self.query), list[Document]()
        for group in groups(documents):
            out += self.kept(group, self.ask(self.bodies(group), query))
        return out

    async def atransform_documents(self, documents: Sequence[Document], **kwargs: Any) -> Sequence[Document]:
        query, out = kwargs.get("query", self.query), list[Document]()
        for group in groups(documents):
            out += self.kept(group, await self.aask(self.bodies(group), query))
        return out


def config(callbacks: Callbacks | None) -> RunnableConfig:
    return {"callbacks": callbacks} if callbacks is not None else {}


def groups(documents: Sequence[Document]) -> Iterator[list[Document]]:
    """Runs of documents that are not too much for one request."""
    group, characters = list[Document](), 0
    for document in documents:
        characters += len(document.page_content)
        if group and (len(group) == DOCUMENTS or characters > CHARACTERS):
            yield group
            group, characters = [], len(document.page_content)
        group.append(document)
    if group:
        yield group
