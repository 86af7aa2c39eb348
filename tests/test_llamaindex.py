"""laconic in LlamaIndex: nodes cut to what matters, in a query engine, and while the service is killed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("llama_index.core", reason="the postprocessor needs the llama-index extra")

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.schema import ImageNode, MetadataMode, Node, NodeWithScore, QueryBundle, TextNode

from laconic.client import NotFound
from laconic.client.llamaindex import LaconicPostprocessor
from laconic.compressors import Compressor
from laconic.service.local import LocalClient

from .outage import QUICK, RULES, TEXT, Outage, assert_survived, soak

QUERY = "Who signed the treaty?"


def nodes() -> list[NodeWithScore]:
    texts = [TEXT.format(1), "Paris has many bridges. They are old. Tourists like them very much in summer."]
    made = [TextNode(id_=f"n{n}", text=t, metadata={"title": f"Page {n}", "n": n}) for n, t in enumerate(texts)]
    image = ImageNode(id_="image", image_url="https://example.org/a.png")
    return [NodeWithScore(node=n, score=0.5) for n in (*made, image)]


@pytest.mark.parametrize("where", ["service", "process"])
def test_nodes_stay_themselves(address: str, compressor: Compressor, where: str) -> None:
    """Ids, metadata, order and the inputs are kept, spans are the text and shown to no model; sync and async alike."""
    options: dict[str, Any] = {"url": address} if where == "service" else {"backend": LocalClient(compressor)}
    ours, given = LaconicPostprocessor(budget={"rate": 0.4}, keep_empty=True, **options), nodes()
    found = ours.postprocess_nodes(given, query_str=QUERY)

    async def other() -> list[NodeWithScore]:
        got = await ours.apostprocess_nodes(given, query_str=QUERY)
        await ours.aclose()
        return got

    assert [n.node.get_content() for n in asyncio.run(other())] == [n.node.get_content() for n in found]
    assert [n.node_id for n in found] == ["n0", "n1", "image"]
    assert given[0].node.get_content() == TEXT.format(1)
    assert "spans" not in given[0].node.metadata
    for source, n in zip(given[:2], found[:2], strict=True):
        text = source.node.get_content()
        assert n.node.get_content() == "".join(text[a:b] for a, b in n.node.metadata["spans"])
        assert {k: n.node.metadata[k] for k in ("title", "n")} == source.node.metadata
        for mode in (MetadataMode.LLM, MetadataMode.EMBED):
            assert "spans" not in n.node.get_content(metadata_mode=mode)
    assert "signed by Ada" in found[0].node.get_content()
    assert found[0].score > found[1].score
    assert found[2].node is given[2].node
    fewer = LaconicPostprocessor(budget={"tokens": 8}, options={"top_documents": 1}, **options)
    assert [n.node_id for n in fewer.postprocess_nodes(given, query_str=QUERY)] == ["n0", "image"]
    assert [n.score for n in ours.postprocess_nodes(given)] == [0.5] * 3
    assert ours.postprocess_nodes([]) == []
    with pytest.raises(NotFound):
        LaconicPostprocessor(options={"reader": "nobody"}, fail_open=True, **options).postprocess_nodes(given)
    ours.close()


def test_in_a_query_engine(address: str) -> None:
    """A query engine's model reads the compressed nodes."""

    class Fixed(BaseRetriever):
        def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
            return nodes()[:2]

    engine = RetrieverQueryEngine(
        retriever=Fixed(),
        response_synthesizer=get_response_synthesizer(llm=MockLLM()),
        node_postprocessors=[LaconicPostprocessor(url=address, budget={"rate": 0.4})],
    )
    said = str(engine.query(QUERY))
    assert "signed by Ada" in said
    assert "Nobody complained" not in said


def test_other_nodes_and_fields(address: str) -> None:
    """A multimodal node's text is compressed as well; the dict of a postprocessor holds no key."""
    ours = LaconicPostprocessor(url=address, api_key="hidden", budget={"rate": 0.4})
    node = Node(id_="m")
    node.set_content(TEXT.format(3))
    (found,) = ours.postprocess_nodes([NodeWithScore(node=node)], query_str=QUERY)
    assert 0 < len(found.node.get_content()) < len(TEXT.format(3))
    assert node.get_content() == TEXT.format(3)
    assert "hidden" not in str(ours.to_dict())
    assert LaconicPostprocessor.from_dict(ours.to_dict()).budget == ours.budget


@pytest.mark.parametrize("way", ["sync", "async"])
def test_soak_through_an_outage(compressor: Compressor, way: str) -> None:
    """200 requests with the service killed and started again in the middle."""
    outage = Outage(compressor)
    made = {opens: LaconicPostprocessor(url=outage.url, **RULES, **QUICK, fail_open=opens) for opens in (True, False)}

    async def ask(i: int, opens: bool) -> bool:
        given, ours = [NodeWithScore(node=TextNode(text=TEXT.format(i)))], made[opens]
        if way == "sync":
            (found,) = await asyncio.to_thread(ours.postprocess_nodes, given, query_str=QUERY)
        else:
            (found,) = await ours.apostprocess_nodes(given, query_str=QUERY)
        return bool(found.node.get_content() != TEXT.format(i))

    assert_survived(*soak(outage, ask, *made.values()))
    for ours in made.values():
        ours.close()
    outage.kill()
