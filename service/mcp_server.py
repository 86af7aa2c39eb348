"""`laconic mcp`: the compressor as two tools of the Model Context Protocol, over standard input and output.

In one process, no service needed. An agent skims with `compress` and opens what it wants to read whole with `expand`.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from anyio import EndOfStream, to_thread
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp.types import PARSE_ERROR, ErrorData, JSONRPCError
from pydantic import BaseModel, Field, ValidationError
from typing_extensions import Self

from laconic.client.wire import CompressAnswer, CompressRequest
from laconic.compressors import Compressor, InvalidRequest, segment_id
from laconic.models import Work, current
from laconic.models.recent import Recent

from .errors import describe
from .handle import answer

OWNER = "mcp"  # whose texts they are in the store
SHORT = 12  # hexadecimal digits of a name: an agent reads every one of them
MOST = 100_000  # names remembered
HELP = (
    "compress keeps the parts of texts that matter to a question and drops the rest; every piece of its answer has an "
    "id. expand gives the whole text of a piece, or of a document, by its id."
)


class Piece(BaseModel):
    """What was kept of one segment; `id` opens all of it."""

    id: str
    text: str


class Skimmed(BaseModel):
    """What was kept of one document; `id` opens all of it."""

    id: str
    pieces: list[Piece]


class Compression(BaseModel):
    """The answer of `compress`."""

    documents: list[Skimmed]
    tokens_in: int
    tokens_out: int


class Opened(BaseModel):
    """A text, absent where it is no longer kept."""

    id: str
    text: str | None = None


class Expansion(BaseModel):
    """The answer of `expand`, in the order asked for."""

    texts: list[Opened]


class Names:
    """Short names of texts; the oldest are forgotten. For any thread."""

    def __init__(self, most: int = MOST) -> None:
        self._known = Recent[str](most * SHORT)

    def short(self, ident: str) -> str:
        if self._known.get(ident[:SHORT]) != ident:
            self._known.put(ident[:SHORT], ident)
        return ident[:SHORT]

    def full(self, name: str) -> str | None:
        return self._known.get(name.strip().lower())


class Tools:
    """The two tools, on a compressor that keeps texts."""

    def __init__(self, compressor: Compressor) -> None:
        if compressor.texts is None:
            raise InvalidRequest("expand needs texts to be kept: cache_bytes must not be 0", param="cache_bytes")
        self.compressor, self.texts, self.names = compressor, compressor.texts, Names()

    async def compress(
        self,
        texts: Annotated[list[str], Field(description="the texts to compress", min_length=1, max_length=1000)],
        query: Annotated[str | None, Field(description="what you want to know from them")] = None,
        rate: Annotated[float, Field(description="share of the tokens to keep", gt=0, le=1)] = 0.3,
    ) -> Compression:
        """Keep the parts of texts that matter to a question, within a share of their tokens."""
        work = Work(key=OWNER)
        try:
            return await to_thread.run_sync(self._compress, texts, query, rate, work, abandon_on_cancel=True)
        finally:
            work.cancel()  # an agent that called it off is not computed for any longer

    def _compress(self, texts: list[str], query: str | None, rate: float, work: Work) -> Compression:
        """Raises ToolError."""
        try:
            given = {"documents": [{"text": t} for t in texts], "query": query, "budget": {"rate": rate}}
            body = CompressRequest.model_validate({**given, "return": ["spans", "segments"]})
            found = answer(self.compressor, body, OWNER, work)
            self.texts.keep(texts)  # as what this thread works for now
            return self._skimmed(texts, found)
        except Exception as e:  # described, as the service does
            raise ToolError(describe(e, OWNER)[1].message) from None

    def expand(
        self,
        ids: Annotated[list[str], Field(description="ids that compress has given", min_length=1, max_length=100)],
    ) -> Expansion:
        """The whole texts of pieces or documents that compress has named."""
        current.set(Work(key=OWNER))
        known = [self.names.full(name) for name in ids]
        found = iter(self.texts.find([k for k in known if k]))
        return Expansion(texts=[Opened(id=i, text=next(found) if k else None) for i, k in zip(ids, known, strict=True)])

    def _skimmed(self, texts: list[str], found: CompressAnswer) -> Compression:
        documents = []
        for text, d in zip(texts, found.documents, strict=True):
            pieces = []
            for a, b, ident in d.segments or []:
                kept = "".join(text[max(a, s) : min(b, e)] for s, e in d.spans or [] if s < b and e > a)
                if kept.strip():
                    pieces.append(Piece(id=self.names.short(ident), text=kept))
            documents.append(Skimmed(id=self.names.short(segment_id(text)), pieces=pieces))
        return Compression(documents=documents, tokens_in=found.usage.tokens_in, tokens_out=found.usage.tokens_out)


class Answering:
    """What comes in on a transport, but for messages that cannot be read: those are answered with an error.

    The SDK drops them, and an agent that sent half a surrogate pair would wait for its answer for ever.
    """

    def __init__(self, read: Any, write: Any) -> None:
        self._read, self._write = read, write

    async def receive(self) -> Any:
        while isinstance(message := await self._read.receive(), Exception):
            if (refusal := refused(message)) is not None:
                await self._write.send(SessionMessage(refusal))
        return message

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.receive()
        except EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._read.aclose()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._read, name)  # the SDK asks for the sender's context


def refused(error: Exception) -> JSONRPCError | None:
    """The answer to a message that could not be read; None where it was not a request that waits for one."""
    line = error.errors()[0]["input"] if isinstance(error, ValidationError) else None
    try:
        given = json.loads(line) if isinstance(line, str) else line
    except (ValueError, RecursionError):
        given = None
    if isinstance(given, dict) and not ("id" in given and "method" in given):
        return None
    ident = given["id"] if isinstance(given, dict) and isinstance(given["id"], str | int) else None
    said = ErrorData(code=PARSE_ERROR, message="this is no JSON of Unicode text: is there half a surrogate pair?")
    return JSONRPCError(jsonrpc="2.0", id=ident, error=said)


class Server(MCPServer):
    """The SDK's, which answers also what it cannot read."""

    async def run_stdio_async(self) -> None:
        async with stdio_server() as (read, write):
            lowlevel = self._lowlevel_server
            await lowlevel.run(Answering(read, write), write, lowlevel.create_initialization_options())


def make(compressor: Compressor, version: str) -> MCPServer:
    """The server, not yet running. Raises InvalidRequest for a compressor that keeps no texts."""
    tools = Tools(compressor)
    server = Server("laconic", version=version, instructions=HELP, log_level="WARNING")
    server.add_tool(tools.compress)
    server.add_tool(tools.expand)
    return server
