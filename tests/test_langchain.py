"""laconic in LangChain: a RAG chain, classic retrievers, LCEL, agents, callbacks, and a service that is killed."""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from collections.abc import Awaitable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

pytest.importorskip("langchain_core", reason="adapters need the agents extra")
pytest.importorskip("langchain", reason="adapters need the agents extra")
pytest.importorskip("langchain_classic", reason="its retrievers are tested against")

from langchain.agents import create_agent
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_classic.retrievers.document_compressors import DocumentCompressorPipeline
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_core.tools import tool
from langchain_core.vectorstores import InMemoryVectorStore
from pydantic import Field, ValidationError

from laconic.client import Client, NotFound
from laconic.client.langchain import LaconicCompressor, LaconicTransformer, groups
from laconic.client.middleware import NOTHING, CompressionMiddleware
from laconic.compressors import Compressor
from laconic.service.local import LocalClient

from .outage import QUICK, RULES, TEXT, Outage, assert_survived, soak

T = TypeVar("T")
EXAMPLE = json.loads((Path(__file__).parent.parent / "docs" / "examples" / "question.json").read_text())
QUERY: str = EXAMPLE["query"]
SAID = "Emily Warren Roebling took over"


def run(going: Awaitable[T], *adapters: Any) -> T:
    """The adapters' pools belong to the loop, and end with it."""

    async def closing() -> T:
        try:
            return await going
        finally:
            await asyncio.gather(*(a.aclose() for a in adapters))

    return asyncio.run(closing())


def words(text: str) -> list[str]:
    return re.findall(r"[a-z]{4,}", text.lower())


class Bag(Embeddings):
    """Counts of hashed words: enough to retrieve with, and nothing to download."""

    def embed_query(self, text: str) -> list[float]:
        counts = [0.0] * 512
        for word in words(text):
            counts[zlib.crc32(word.encode()) % 512] += 1.0
        return counts

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(t) for t in texts]


def store() -> InMemoryVectorStore:
    made = InMemoryVectorStore(Bag())
    documents = [
        Document(id=f"d{n}", page_content=d["text"], metadata={"title": d["title"], "n": n, "path": Path("x")})
        for n, d in enumerate(EXAMPLE["documents"])
    ]
    made.add_documents(documents)
    return made


class Reads(BaseChatModel):
    """A chat model that answers with the sentence of its prompt that shares most words with the question."""

    prompts: list[str] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "reads"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        context, question = messages[0].text, set(words(messages[-1].text))
        self.prompts.append(context)
        best = max(re.split(r"(?<=[.!?])\s", context), key=lambda s: len(question & set(words(s))))
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=best))])


@pytest.fixture(params=["service", "process"])
def where(request: pytest.FixtureRequest, compressor: Compressor) -> dict[str, Any]:
    """The same by a service's URL and in process."""
    if request.param == "process":
        return {"backend": LocalClient(compressor)}
    return {"url": request.getfixturevalue("address")}


def chain(retriever: Any, model: Reads) -> Any:
    prompt = ChatPromptTemplate.from_messages([("system", "{context}"), ("human", "{question}")])
    joined = retriever | (lambda documents: "\n\n".join(d.page_content for d in documents))
    return {"context": joined, "question": RunnablePassthrough()} | prompt | model | (lambda m: m.text)


def test_a_chain_answers_from_less(where: dict[str, Any]) -> None:
    """Vector retriever, laconic, chat model: the answer is there, in a fraction of the text, sync and async alike."""
    base, compressor = store().as_retriever(search_kwargs={"k": 12}), LaconicCompressor(budget={"rate": 0.2}, **where)
    retriever = ContextualCompressionRetriever(base_compressor=compressor, base_retriever=base)
    whole, less, alike = Reads(), Reads(), Reads()
    assert SAID in chain(base, whole).invoke(QUERY)
    assert SAID in chain(retriever, less).invoke(QUERY)

    assert SAID in run(chain(retriever, alike).ainvoke(QUERY), compressor)
    assert less.prompts == alike.prompts
    assert len(less.prompts[0]) < 0.35 * len(whole.prompts[0])
    compressor.close()


def test_documents_stay_themselves(where: dict[str, Any]) -> None:
    """Ids, metadata, order and the inputs are kept; spans are the text; what is empty goes, unless it is asked for."""
    given = store().similarity_search(QUERY, k=8)
    before = [d.model_copy(deep=True) for d in given]
    found = LaconicCompressor(budget={"rate": 0.15}, **where).compress_documents(given, QUERY)
    every = LaconicCompressor(budget={"rate": 0.15}, keep_empty=True, **where).compress_documents(given, QUERY)
    assert given == before
    assert [d.id for d in every] == [d.id for d in given]
    assert [d for d in every if d.page_content.strip()] == list(found)
    assert 0 < len(found) < len(given)
    for source, d in zip(given, every, strict=True):
        assert d.page_content == "".join(source.page_content[a:b] for a, b in d.metadata["spans"])
        assert d.metadata == {**source.metadata, **{k: d.metadata[k] for k in ("spans", "relevance_score")}}
    best = max(every, key=lambda d: d.metadata["relevance_score"])
    assert SAID in best.page_content or best.metadata["title"] == "Emily Warren Roebling"
    assert LaconicCompressor(**where).compress_documents([], QUERY) == []
    found = LaconicCompressor(**where, options={"reader": "nobody"})
    with pytest.raises(NotFound):
        found.compress_documents(given, QUERY)


def test_options_are_checked_when_it_is_made() -> None:
    """A misspelt option, a budget of two kinds or a backend without `compress` is an error at once."""
    for options in (
        {"options": {"colour": "red"}},
        {"budget": {"rate": 0.5, "tokens": 3}},
        {"backend": object()},
        {"ulr": "x"},
    ):
        with pytest.raises(ValidationError):
            LaconicCompressor(**options)
    assert "hidden" not in repr(LaconicCompressor(api_key="hidden"))


def test_pipeline_and_transformer(where: dict[str, Any]) -> None:
    """In a DocumentCompressorPipeline; the transformer gives each document its own budget, with or without a query."""
    given = store().similarity_search(QUERY, k=6)
    shorter = LaconicTransformer(budget={"rate": 0.6}, **where)
    fewer = LaconicCompressor(budget={"tokens": 60}, **where)
    pipeline = DocumentCompressorPipeline(transformers=[shorter, fewer])
    found = pipeline.compress_documents(given, QUERY)
    assert run(pipeline.acompress_documents(given, QUERY), shorter, fewer) == found
    assert SAID in " ".join(d.page_content for d in found)
    each = shorter.transform_documents(given)
    assert [d.id for d in each] == [d.id for d in given]
    for source, d in zip(given, each, strict=True):
        assert 0.2 * len(source.page_content) < len(d.page_content) < len(source.page_content)
    assert "relevance_score" not in each[0].metadata
    asked = run(shorter.atransform_documents(given, query=QUERY), shorter)
    assert asked != each
    assert all("relevance_score" in d.metadata for d in asked)
    assert RunnableLambda(shorter.transform_documents).invoke(given) == each


def test_groups_of_a_transformer() -> None:
    """Many documents travel in several requests, in order."""
    many = [Document(page_content="x" * n) for n in [10] * 450 + [400_000] * 3 + [900_000, 5]]
    cut = list(groups(many))
    assert [d for g in cut for d in g] == many
    assert [len(g) for g in cut] == [200, 200, 51, 1, 1, 1, 1]


class Events(BaseCallbackHandler):
    def __init__(self) -> None:
        self.seen: list[tuple[str, Any, Any]] = []

    def on_chain_start(
        self, serialized: Any, inputs: Any, *, run_id: Any, parent_run_id: Any = None, **more: Any
    ) -> None:
        self.seen.append((more["name"], run_id, parent_run_id))

    def on_chain_error(self, error: BaseException, **_: Any) -> None:
        self.seen.append((type(error).__name__, None, None))

    def on_retriever_start(self, serialized: Any, query: str, *, run_id: Any, **_: Any) -> None:
        self.seen.append(("retriever", run_id, None))


def test_callbacks_see_a_run_of_its_own(address: str) -> None:
    """Compression is a run under the retriever's, by its name; its errors are told."""
    base, events = store().as_retriever(), Events()
    retriever = ContextualCompressionRetriever(base_compressor=LaconicCompressor(url=address), base_retriever=base)
    retriever.invoke(QUERY, {"callbacks": [events]})
    (ours,) = [e for e in events.seen if e[0] == "LaconicCompressor"]
    assert ours[2] == events.seen[0][1]
    events = Events()
    with pytest.raises(NotFound):
        LaconicCompressor(url=address, options={"reader": "nobody"}).compress_documents(
            [Document("a b c")], QUERY, callbacks=[events]
        )
    assert [e[0] for e in events.seen] == ["LaconicCompressor", "NotFound"]


class Calls(BaseChatModel):
    """A tool-calling chat model with a script; keeps the messages it was given."""

    script: list[AIMessage]
    given: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "calls"

    def bind_tools(self, tools: Sequence[Any], **_: Any) -> Calls:  # type: ignore[override]
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        self.given.append(list(messages))
        return ChatResult(generations=[ChatGeneration(message=self.script[len(self.given) - 1])])


def calling(name: str, ident: str) -> AIMessage:
    return AIMessage(content="", tool_calls=[{"name": name, "args": {"about": "bridges"}, "id": ident}])


LONG = " ".join(d["text"] for d in EXAMPLE["documents"])


@tool
def read_page(about: str) -> str:
    """A page about something."""
    return LONG


@tool(response_format="content_and_artifact")
def retrieve(about: str) -> tuple[str, list[Document]]:
    """Documents about something."""
    return LONG, [Document(LONG)]


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_agents_read_less(where: dict[str, Any], way: str) -> None:
    """A result is whole until the model has answered to it, retrieved text never; all else stays, the state too."""
    script = [calling("read_page", "t1"), calling("retrieve", "t2"), AIMessage(content="Emily did.")]
    model = Calls(script=script)
    middleware = CompressionMiddleware(budget={"rate": 0.2}, **where)
    agent = create_agent(model, [read_page, retrieve], system_prompt=LONG, middleware=[middleware])
    asked = {"messages": [HumanMessage(f"{QUERY} {LONG}")]}
    state = agent.invoke(asked) if way == "invoke" else run(agent.ainvoke(asked), middleware.asking)
    _, second, third = model.given
    assert [type(m) for m in third] == [SystemMessage, HumanMessage, AIMessage, ToolMessage, AIMessage, ToolMessage]
    assert second[3].content == LONG
    old, fresh = third[3], third[5]
    assert [m.tool_call_id for m in (old, fresh)] == ["t1", "t2"]
    assert third[0].content == LONG
    assert third[1].content == f"{QUERY} {LONG}"
    for m in (old, fresh):
        assert SAID in m.content
        assert len(m.content) < 0.4 * len(LONG)
    assert [m.content for m in state["messages"] if isinstance(m, ToolMessage)] == [LONG, LONG]
    assert state["messages"][-1].content == "Emily did."


def request(*messages: AnyMessage) -> Any:
    from langchain.agents.middleware.types import ModelRequest

    return ModelRequest(model=Reads(), messages=list(messages))


def result(content: Any, **more: Any) -> ToolMessage:
    return ToolMessage(content=content, tool_call_id="t", **more)


def test_what_the_middleware_leaves_alone(compressor: Compressor) -> None:
    """Short results, errors, images, what is not Unicode, everything below the trigger; nothing is ever left empty."""
    made = partial(CompressionMiddleware, backend=LocalClient(compressor), budget={"rate": 0.2}, **QUICK)
    image = {"type": "image", "url": "https://example.org/a.png"}
    blocks = [{"type": "text", "text": LONG}, image, "short"]
    messages = [
        HumanMessage("Who was Emily?"),
        result(LONG, status="error"),
        result("short"),
        result(blocks, name="search"),
        result(LONG + " \ud800"),
        AIMessage("Well."),
        result(LONG, name="page"),
        HumanMessage(QUERY),
    ]

    def seen(middleware: CompressionMiddleware) -> list[Any]:
        return middleware.wrap_model_call(request(*messages), lambda r: [m.content for m in r.messages])

    whole = [m.content for m in messages]
    changed = seen(made())
    assert [n for n, (a, b) in enumerate(zip(changed, whole, strict=True)) if a != b] == [3]
    assert changed[3][1:] == [image, "short"]
    assert len(changed[3][0]["text"]) < 0.4 * len(LONG)
    assert seen(made(trigger=("tokens", 10**6))) == whole
    assert seen(made(over=("characters", len(LONG)))) == whole
    assert [n for n, c in enumerate(seen(made(retrievers=["page"]))) if c != whole[n]] == [3, 6]
    assert seen(made(by_question=False)) != changed
    assert messages[3].content == blocks

    class Nothing:
        def compress(self, *given: Any, **options: Any) -> Any:
            found = LocalClient(compressor).compress(*given, **options)
            return found.model_copy(update={"documents": [found.documents[0].model_copy(update={"text": " "})]})

    assert seen(CompressionMiddleware(backend=Nothing()))[3][0]["text"] == NOTHING


@pytest.mark.parametrize("kind", ["compressor", "acompressor", "transformer", "middleware"])
def test_soak_through_an_outage(compressor: Compressor, kind: str) -> None:
    """200 requests through each adapter, the service killed and started again in the middle."""
    outage = Outage(compressor)
    options = {"url": outage.url, **RULES, **QUICK}
    made: dict[bool, Any] = {}
    for opens in (True, False):
        if kind == "middleware":
            made[opens] = CompressionMiddleware(**options, fail_open=opens, over=("characters", 10))
        else:
            adapter = LaconicTransformer if kind == "transformer" else LaconicCompressor
            made[opens] = adapter(**options, fail_open=opens)

    async def ask(i: int, opens: bool) -> bool:
        adapter, text = made[opens], TEXT.format(i)
        if kind == "compressor":
            (d,) = await asyncio.to_thread(adapter.compress_documents, [Document(text)], "Who signed?")
        elif kind == "acompressor":
            (d,) = await adapter.acompress_documents([Document(text)], "Who signed?")
        elif kind == "transformer":
            (d,) = await asyncio.to_thread(adapter.transform_documents, [Document(text)])
        else:
            asked = request(HumanMessage("Who signed?"), result(text), AIMessage("Well."))
            content = await asyncio.to_thread(adapter.wrap_model_call, asked, lambda r: r.messages[1].content)
            return bool(content != text)
        return bool(d.page_content != text)

    assert_survived(*soak(outage, ask, *(made.values() if kind != "middleware" else ())))
    for adapter in made.values():
        (adapter.asking if kind == "middleware" else adapter).close()
    outage.kill()


def test_a_client_is_a_backend(address: str) -> None:
    """A Client of your own, with its pool and rules, serves adapters; off the loop where it has no `acompress`."""
    given = [Document(TEXT.format(1))]
    with Client(address) as client:
        adapter = LaconicCompressor(backend=client)
        assert run(adapter.acompress_documents(given, QUERY)) == adapter.compress_documents(given, QUERY)
        adapter.close()
        assert client.compress(["a"]).documents


@pytest.fixture
def standard() -> Iterator[Any]:
    """langchain's own tests of retrievers, where they are installed."""
    tests = pytest.importorskip("langchain_tests.integration_tests", reason="langchain-tests is not installed")
    yield tests.RetrieversIntegrationTests


def test_langchains_standard_tests(standard: Any, address: str) -> None:
    """A compressed retriever passes what langchain asks of every retriever."""
    compressor = LaconicCompressor(url=address, keep_empty=True)

    def built(k: int = 4) -> ContextualCompressionRetriever:
        base = store().as_retriever(search_kwargs={"k": k})
        return ContextualCompressionRetriever(base_compressor=compressor, base_retriever=base)

    class Ours(standard):  # type: ignore[misc]
        retriever_constructor = staticmethod(built)
        retriever_query_example = QUERY

    ours = Ours()
    ours.test_k_constructor_param()
    ours.test_invoke_with_k_kwarg(built())
    ours.test_invoke_returns_documents(built())

    async def last() -> None:
        await ours.test_ainvoke_returns_documents(built())
        await compressor.aclose()

    asyncio.run(last())
