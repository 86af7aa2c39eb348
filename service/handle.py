"""One request from its parsed body to its answer: checks, admission, a slot, a thread. No blocking on the loop."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio.to_thread

from laconic.client.wire import CompressAnswer, CompressRequest
from laconic.compressors import RECIPES, Compressor
from laconic.models import Cancelled, DeadlineExceeded, Work, current

from . import convert
from .admission import PER_DOCUMENT, Overloaded
from .errors import NotReady, TooLarge
from .keys import Key

if TYPE_CHECKING:
    from .app import State


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A parsed request and whose it is: wanted within `seconds`; `gone` is done once the client has left."""

    body: CompressRequest
    ident: str
    key: Key
    work: Work
    gone: asyncio.Future[None]
    seconds: float
    stages: dict[str, float]  # seconds of each part, filled in on the way


async def serve(state: State, call: Call) -> CompressAnswer:
    """Check, admit, wait for a slot, run on a thread."""
    key, characters = call.key, measured(state, call.body)
    try:
        state.keys.allow(key)
        with state.admission.admit(characters, call.seconds, same(call.body, key)):
            found = await attend(state, call)
    except Overloaded:
        state.metrics.rejected.labels("overloaded").inc()
        raise
    except (Cancelled, DeadlineExceeded) as e:
        state.metrics.cancelled.labels("client" if isinstance(e, Cancelled) else "deadline").inc()
        raise
    state.keys.spend(key, found.usage.tokens_in)
    count(state, found, call.stages)
    return found


def same(body: CompressRequest, key: Key) -> int:
    """Equal for the same texts from the same key: how a request that was told to come back is known."""
    return hash((key.name, body.query, body.text, *(d.text for d in body.documents or [])))


def measured(state: State, body: CompressRequest) -> float:
    """What a request counts as, in characters; raises TooLarge or NotReady."""
    documents = body.documents or []
    if len(documents) > state.settings.max_documents:
        raise TooLarge(f"a request may have {state.settings.max_documents} documents", param="documents")
    characters = len(body.text or "") + sum(len(d.text) for d in documents)
    if characters > state.settings.max_characters:
        raise TooLarge(f"documents may have {state.settings.max_characters} characters in all", param="documents")
    needs_model = body.recipe in RECIPES and RECIPES[body.recipe].kind is not None
    if (refusal := state.refusal()) and (needs_model or state.draining):
        raise NotReady(refusal)
    return characters + PER_DOCUMENT * len(documents)


async def attend(state: State, call: Call) -> CompressAnswer:
    start, work = time.perf_counter(), call.work
    await state.slots.acquire(work, call.gone)
    try:
        waited = time.perf_counter() - start
        found = await anyio.to_thread.run_sync(
            answer, state.compressor, call.body, call.ident, work, limiter=state.threads
        )
    finally:
        state.slots.release(work)
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
    pipeline = compressor.pipeline(body.recipe, body.model, body.reader)
    result = pipeline(convert.request(body))
    model = compressor.model_of(body.recipe, body.model) if RECIPES[body.recipe].kind else None
    elapsed = (time.perf_counter() - start) * 1000
    return convert.answer(body, result, ident, pipeline.reader.name, model, elapsed)


def count(state: State, found: CompressAnswer, stages: dict[str, float]) -> None:
    m, usage = state.metrics, found.usage
    for stage, seconds in stages.items():
        m.stages.labels(stage).observe(seconds)
    m.tokens_in.inc(usage.tokens_in)
    m.tokens_out.inc(usage.tokens_out)
    m.saved.inc(max(0, usage.tokens_in - usage.tokens_out))
    if usage.tokens_out:
        m.ratio.observe(usage.tokens_in / usage.tokens_out)
