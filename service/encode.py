"""`POST /v1/encode` and `POST /v1/expand`: documents to latents, and segments' names back to their texts."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from laconic.client.latents import Tensor, torch_bytes
from laconic.client.wire import ModelAnswer
from laconic.client.wire_latents import (
    EncodeAnswer,
    EncodeRequest,
    ExpandAnswer,
    ExpandedSegment,
    ExpandRequest,
    LatentsAnswer,
    LatentsUsage,
)
from laconic.compressors import Compressor, InvalidRequest, Latents, TooLarge, UnknownName
from laconic.models import Work, current

from . import convert
from .handle import Call
from .keys import Key
from .telemetry import coarse

if TYPE_CHECKING:
    from .app import State

NAMES = {"float16": "F16", "float32": "F32", "bfloat16": "BF16"}  # of dtypes in safetensors


class Encoded:
    """An answer and the numbers that belong to it, as little-endian bytes under their names."""

    def __init__(self, answer: EncodeAnswer, tensors: dict[str, Tensor], form: str) -> None:
        self.answer, self.tensors, self.form = answer, tensors, form
        self.usage, self.warnings = answer.usage, answer.warnings


def encoding(
    state: State,
    body: EncodeRequest,
    ident: str,
    key: Key,
    work: Work,
    gone: asyncio.Future[None],
    seconds: float,
) -> Call[Encoded]:
    """The call of a `/v1/encode` body."""
    return Call(
        texts=convert.texts(body),
        query="",
        needs_model=True,
        run=partial(encode, state.compressor, body, ident),
        key=key,
        work=work,
        gone=gone,
        seconds=seconds,
        stages={},
        beside=convert.beside(body),
    )


def encode(compressor: Compressor, body: EncodeRequest, ident: str, work: Work) -> Encoded:
    """The blocking part, on a thread. Raises UnknownName or InvalidRequest."""
    current.set(work)
    work.check()
    start = time.perf_counter()
    encoder = compressor.encoder(body.model)
    documents = convert.documents(body)
    found = encoder(documents, body.rate, body.decoder)
    if body.format == "json" and encoder.most and sum(f.values.size for f in found) > encoder.most // 16:
        raise TooLarge("too many numbers for JSON: ask for safetensors", param="format")
    if compressor.texts is not None:
        compressor.texts.keep([d.text[p.start : p.end] for d, f in zip(documents, found, strict=True) for p in f.parts])
    model, facts, decoder = encoder.model, encoder.facts, encoder.decoder(body.decoder)
    rows = [document(f, compressor.texts is not None) for f in found]
    for row, d in zip(rows, body.documents or [], strict=False):  # a bare text has no metadata
        row.metadata = d.metadata
    answer = EncodeAnswer(
        id=ident,
        model=ModelAnswer(name=model.card.name, revision=model.card.revision, profile=model.profile),
        decoder=decoder,
        rate=body.rate,
        dtype=body.dtype,
        width=facts.decoders[decoder],
        before=facts.before,
        after=facts.after,
        spread=facts.spread,
        documents=rows,
        usage=usage(found, (time.perf_counter() - start) * 1000),
        warnings=[],
    )
    return Encoded(answer, tensors(found, body), body.format)


def document(f: Latents, named: bool) -> LatentsAnswer:
    return LatentsAnswer(
        id=f.id,
        latents=len(f.values),
        tokens_in=f.tokens_in,
        segments=[(p.start, p.end, p.first, p.count, p.tokens) for p in f.parts],
        ids=[p.ident for p in f.parts] if named else None,
        cached=f"{sum(p.cached for p in f.parts)}/{len(f.parts)}",
    )


def usage(found: list[Latents], elapsed: float) -> LatentsUsage:
    tokens, made = sum(f.tokens_in for f in found), sum(len(f.values) for f in found)
    return LatentsUsage(
        tokens_in=tokens,
        latents=made,
        rate=round(tokens / made, 4) if made else 0.0,
        segments=sum(len(f.parts) for f in found),
        cache_hits=sum(p.cached for f in found for p in f.parts),
        compute_ms=coarse(elapsed / 1000),
    )


def tensors(found: list[Latents], body: EncodeRequest) -> dict[str, Tensor]:
    """Each document's numbers by its number, or those of all as `latents`."""
    named = {str(n): f.values for n, f in enumerate(found)}
    if body.join:
        named = {"latents": np.concatenate([f.values for f in found])} if found else {}
    return {name: tensor(name, values, body.dtype) for name, values in named.items()}


def tensor(name: str, values: np.ndarray, dtype: str) -> Tensor:
    """float32 [N, width] in another format; raises InvalidRequest for what a half cannot hold."""
    if dtype == "float16":
        if values.size and np.abs(values).max() > np.finfo(np.float16).max:
            raise InvalidRequest("these latents are too large for float16; bfloat16 holds them", param="dtype")
        data = values.astype("<f2").tobytes()
    elif dtype == "bfloat16":
        bits = np.ascontiguousarray(values, "<f4").view("<u4")
        data = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2").tobytes()  # to the nearest, ties to even
    else:
        data = np.ascontiguousarray(values, "<f4").tobytes()
    return Tensor(name=name, dtype=NAMES[dtype], shape=(values.shape[0], values.shape[1]), data=data)


def package(found: Encoded) -> tuple[bytes | str, str]:
    """The body of an answer and its media type."""
    if found.form == "safetensors":
        return safetensors(found), "application/octet-stream"
    put = vllm if found.form == "vllm" else numbers
    for name, t in found.tensors.items():
        place: Any = found.answer if name == "latents" else found.answer.documents[int(name)]
        put(place, t)
    return found.answer.model_dump_json(exclude_none=True), "application/json"


def vllm(place: Any, t: Tensor) -> None:
    place.data = base64.b64encode(torch_bytes(t)).decode()


def numbers(place: Any, t: Tensor) -> None:
    place.values = t.rows()


def safetensors(found: Encoded) -> bytes:
    """A file of the tensors, the rest of the answer as JSON in its header's metadata."""
    header: dict[str, Any] = {"__metadata__": {"laconic": found.answer.model_dump_json(exclude_none=True)}}
    end = 0
    for name, t in found.tensors.items():
        header[name] = {"dtype": t.dtype, "shape": list(t.shape), "data_offsets": [end, end + len(t.data)]}
        end += len(t.data)
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    return b"".join((len(head).to_bytes(8, "little"), head, *(t.data for t in found.tensors.values())))


def expanded(compressor: Compressor, body: ExpandRequest, owner: str) -> ExpandAnswer:
    """Raises UnknownName where this service keeps no texts."""
    texts = compressor.texts
    if texts is None:
        raise UnknownName("this service keeps no texts of segments: see --expand-ttl-seconds", param="ids")
    current.set(Work(key=owner))
    found = texts.find(body.ids)
    return ExpandAnswer(segments=[ExpandedSegment(id=i, text=t) for i, t in zip(body.ids, found, strict=True)])
