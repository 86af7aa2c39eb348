"""laconic in LlamaIndex: retrieved nodes cut to what matters; needs llama-index-core alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.bridge.pydantic import Field
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, Node, NodeWithScore, QueryBundle, TextNode

from .adapter import Asking
from .wire import CompressAnswer

SPANS = "spans"


class LaconicPostprocessor(Asking, BaseNodePostprocessor):
    """Keeps what matters to the query, within one budget for all nodes; order, ids and metadata are kept.

    A node's score becomes its relevance (where there is a query), and its metadata has `spans`, the kept characters'
    offsets in the text as it was, which neither a language model nor an embedding is shown. Nodes of which nothing was
    kept are left out, unless `keep_empty`; nodes without text pass through.
    """

    keep_empty: bool = Field(default=False, description="keep nodes of which no text is left")

    @classmethod
    def class_name(cls) -> str:
        return "LaconicPostprocessor"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if not (given := self.bodies(nodes)):
            return nodes
        return self.kept(nodes, self.ask(given, query_bundle.query_str if query_bundle else None))

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if not (given := self.bodies(nodes)):
            return nodes
        return self.kept(nodes, await self.aask(given, query_bundle.query_str if query_bundle else None))

    def bodies(self, nodes: Sequence[NodeWithScore]) -> list[dict[str, Any]]:
        return [self.body(t, n.node.metadata) for n in nodes if (t := text(n)) is not None]

    def kept(self, nodes: Sequence[NodeWithScore], answer: CompressAnswer) -> list[NodeWithScore]:
        found, out = iter(answer.documents), []
        for scored in nodes:
            if text(scored) is None:
                out.append(scored)
                continue
            row = next(found)
            if not (row.text or "").strip() and not self.keep_empty:
                continue
            node: Any = scored.node.model_copy()
            node.set_content(row.text or "")
            node.metadata = {**node.metadata, SPANS: [list(s) for s in row.spans or []]}
            for keys in ("excluded_llm_metadata_keys", "excluded_embed_metadata_keys"):
                setattr(node, keys, [*(k for k in getattr(node, keys) if k != SPANS), SPANS])
            out.append(NodeWithScore(node=node, score=scored.score if row.score is None else row.score))
        return out


def text(scored: NodeWithScore) -> str | None:
    """A node's text without its metadata, None for nodes that have none."""
    if not isinstance(scored.node, (TextNode, Node)):
        return None
    return scored.node.get_content(metadata_mode=MetadataMode.NONE) or None
