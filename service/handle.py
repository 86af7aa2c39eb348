"""One request from its parsed body to its answer: checks, admission, a slot, a thread. No blocking on the loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from starlette.types import Receive

from laconic.client.wire import BatchAnswer, CompressAnswer, CompressRequest
from laconic.compressors import RECIPES, Compressor, InvalidRequest, TooLarge
from laconic.models import Cancelled, DeadlineExceeded, Work, current

from . import convert
from .admission import PER_DOCUMENT, Overloaded
from .bodies import compress_body
from .errors import NotReady, describe
from .keys import Key
from .threads import on_thread

if TYPE_CHECKING:
    from .app import State


class Usage(Protocol):
    """What every answer says it cost, in tokens or what stands for tokens."""

    @property
    def tokens_in(self) -> int: ...
    @property
    def tokens_out(self) -> int: ...
    @property
    def segments(self) -> int: ...


class Answer(Protocol):
    @property
    def usage(self) -> Usage: ...


A = TypeVar("A", bound=Answer)
BYTES = 4  # of a character, at most: what metadata or a chat's calls bring is not counted otherwise


@dataclass(frozen=True, kw_only=True)
class Call(Generic[A]):
    """What is to be done and for whom: `run` on a thread, wanted within `seconds`; `gone` is done once the client left.

    `texts` and `query` are what it is known again by. What it counts as are their characters, those of what comes
    `beside` them, and `size`, the bytes of its body. `needs_model`: not to be begun before one is open.
    """

    texts: Sequence[str]
    query: str
    needs_model: bool
    run: Callable[[Work], A]
    key: Key
    work: Work
    gone: asyncio.Future[None]
    seconds: float
    stages: dict[str, float]  # seconds of each part, filled in on the way
    beside: int = 0
    size: int = 0


def compressing(
    state: State, body: CompressRequest, ident: str, key: Key, work: Work, gone: asyncio.Future[None], seconds: float
) -> Call[CompressAnswer]:
    """The call of a `/v1/compress` body."""
    known = RECIPES.get(body.recipe)
    return Call(
        texts=convert.texts(body),
        query=body.query or "",
        needs_model=known is not None and known.kind is not None,
        run=partial(answer, state.compressor, body, ident),
        key=key,
        work=work,
        gone=gone,
        seconds=seconds,
        stages={},
        beside=convert.beside(body),
    )


async def serve(state: State, call: Call[A]) -> A:
    """Check, admit, wait for a slot, run on a thread."""
    key, characters = call.key, measured(state, call)
    try:
        call.work.check()  # bodies take time too
        state.keys.allow(key)
        same = hash((key.name, call.query, *call.texts))  # how a request that was told to come back is known
        with state.admission.admit(characters, call.seconds, same, key.name):
            found = await attend(state, call)
    except Overloaded:
        state.metrics.rejected.labels("overloaded").inc()
        raise
    except (Cancelled, DeadlineExceeded) as e:
        state.metrics.cancelled.labels("client" if isinstance(e, Cancelled) else "deadline").inc()
        raise
    state.keys.spend(key, found.usage.tokens_in)
    count(state, found.usage, call.stages)
    return found


async def noted(state: State, call: Call[A], facts: dict[str, Any]) -> A:
    """`serve`, with what the log and the traces tell of a request left in its facts."""
    facts["stages"] = call.stages
    found = await serve(state, call)
    facts["usage"] = {k: getattr(found.usage, k) for k in ("tokens_in", "tokens_out", "segments")}
    return found


async def left(receive: Receive, work: Work) -> None:
    """Return when the client has closed its connection, and cancel its work."""
    while (await receive())["type"] != "http.disconnect":
        pass
    work.cancel()


def measured(state: State, call: Call[A]) -> float:
    """What a request counts as, in characters; raises TooLarge or NotReady."""
    if len(call.texts) > state.settings.max_documents:
        raise TooLarge(f"a request may have {state.settings.max_documents} documents", param="documents")
    characters = sum(map(len, call.texts))
    if characters > state.settings.max_characters:
        raise TooLarge(f"documents may have {state.settings.max_characters} characters in all", param="documents")
    if call.needs_model and (refusal := state.refusal()):
        raise NotReady(refusal)
    return max(characters + len(call.query) + call.beside + PER_DOCUMENT * len(call.texts), call.size / BYTES)


async def attend(state: State, call: Call[A]) -> A:
    start, work = time.perf_counter(), call.work
    await state.slots.acquire(work, call.gone)
    waited = time.perf_counter() - start
    over = partial(state.slots.release, work)
    found = await on_thread(state.threads, work, call.gone, call.run, work, ended=over)
    total = time.perf_counter() - start
    call.stages["queue"] = waited + work.queued
    call.stages["infer"] = work.lane - work.queued
    call.stages["assemble"] = total - waited - work.lane
    return found


def answer(compressor: Compressor, body: CompressRequest, ident: str, work: Work) -> CompressAnswer:
    """The blocking part, on a thread: the pipeline, and its result in the wire's shape."""
    current.set(work)
    work.check()
    start = time.perf_counter()
    pipeline = compressor.pipeline(body.recipe, body.model, body.reader, body.ranker)
    if "segments" in body.returns and compressor.texts is None:
        raise InvalidRequest("this service keeps no texts of segments: see --expand-ttl-seconds", param="return")
    request = convert.request(body)
    result = pipeline(request)
    if compressor.texts is not None and "segments" in body.returns:
        each = zip(request.documents, result.documents, strict=True)
        compressor.texts.keep([d.text[a:b] for d, found in each for a, b, _ in convert.segments(found, d.text)])
    model = compressor.model_of(body.recipe, body.model) if RECIPES[body.recipe].kind else None
    elapsed = (time.perf_counter() - start) * 1000
    return convert.answer(body, result, ident, pipeline.reader.name, model, elapsed)


def answer_line(compressor: Compressor, number: int, content: str | bytes, ident: str, work: Work) -> BatchAnswer:
    """The answer to one request of many; what is wrong with it is its answer. The blocking part, on a thread."""
    try:
        body = compress_body(content)
        return BatchAnswer(index=number, status=200, answer=answer(compressor, body, ident, work))
    except Exception as e:  # described, whatever it is: a line must not lose its batch
        status, detail = describe(e, ident)
        return BatchAnswer(index=number, status=status, error=detail)


def count(state: State, usage: Usage, stages: dict[str, float]) -> None:
    m = state.metrics
    for stage, seconds in stages.items():
        m.stages.labels(stage).observe(seconds)
    m.tokens_in.inc(usage.tokens_in)
    m.tokens_out.inc(usage.tokens_out)
    m.saved.inc(max(0, usage.tokens_in - usage.tokens_out))
    if usage.tokens_out:
        m.ratio.observe(usage.tokens_in / usage.tokens_out)
