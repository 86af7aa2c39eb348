"""What a cache holds of a segment, as bytes: versioned, checked, without pickle and without text.

A score is one of 256 levels, so a token costs one byte of score and two of span: its gap from the token before and its
length, four bytes each where one does not hold them. `seal` binds a value to its key: a value that was cut, damaged or
copied from another key opens as None.
"""

from __future__ import annotations

import hashlib
import hmac
import struct

import numpy as np

from .score_token import BOUND, STEP, quantize
from .types import Discourse

FORMAT = 1
_HEAD = struct.Struct("<BBI")  # format, wide spans, tokens
_SEAL = 12  # bytes
_LOGITS = (np.arange(256) * STEP - BOUND).astype(np.float32)


def level(logits: np.ndarray) -> np.ndarray:
    """Quantized logits as uint8."""
    return np.round((quantize(logits) + BOUND) / STEP).astype(np.uint8)


def logit(levels: np.ndarray) -> np.ndarray:
    """uint8 levels as float32 logits; the inverse of `level`."""
    found: np.ndarray = _LOGITS[levels]
    return found


def pack(spans: np.ndarray, rows: np.ndarray) -> bytes:
    """Spans [N, 2] and whole bytes, uint8 or int8 of any shape."""
    gaps = np.diff(spans.reshape(-1), prepend=0)  # before, length, before, length …
    # some tokenizers give one character to several tokens: such gaps are negative
    wide = bool(len(gaps)) and not 0 <= gaps.min() <= gaps.max() <= 255
    head = _HEAD.pack(FORMAT, wide, len(spans))
    return head + gaps.astype("<i4" if wide else np.uint8).tobytes() + rows.tobytes()


def unpack(value: bytes) -> tuple[np.ndarray, bytes] | None:
    """Spans, int64 [N, 2], and the bytes of the rows; None where the value is not of this format."""
    if len(value) < _HEAD.size:
        return None
    version, wide, count = _HEAD.unpack_from(value)
    end = _HEAD.size + 2 * count * (4 if wide else 1)
    if version != FORMAT or wide > 1 or end > len(value):
        return None
    gaps = np.frombuffer(value, "<i4" if wide else np.uint8, 2 * count, _HEAD.size)
    return gaps.cumsum(dtype=np.int64).reshape(-1, 2), value[end:]


def pack_scores(spans: np.ndarray, keep: np.ndarray, relevance: float) -> bytes:
    """One segment's scores, spans relative to the segment."""
    return pack(spans, np.append(level(keep), level(np.float32(relevance))))


def unpack_scores(value: bytes) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Spans [N, 2], keep logits [N], relevance logit; exactly as they were packed."""
    if (found := unpack(value)) is None or len(found[1]) != len(found[0]) + 1:
        return None
    levels = logit(np.frombuffer(found[1], np.uint8))
    return found[0], levels[:-1], float(levels[-1])


def pack_codes(spans: np.ndarray, ids: np.ndarray, codes: np.ndarray) -> bytes:
    """One segment's text spans [N, 2], and its whole input's token ids [M] (below 65,536) and int8 codes [M, C]."""
    rows = np.concatenate([ids.astype("<u2").view(np.uint8).reshape(-1, 2), codes.view(np.uint8)], 1)
    return pack(spans, rows)


def unpack_codes(value: bytes, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Spans [N, 2], token ids int64 [M] and int8 codes [M, width], exactly as they were packed."""
    if (found := unpack(value)) is None or len(found[1]) % (width + 2):
        return None
    rows = np.frombuffer(found[1], np.uint8).reshape(-1, width + 2)
    if len(rows) < len(found[0]):
        return None
    ids = np.ascontiguousarray(rows[:, :2]).view("<u2").reshape(-1).astype(np.int64)
    return found[0], ids, np.ascontiguousarray(rows[:, 2:]).view(np.int8)


def pack_edus(d: Discourse) -> bytes:
    """One segment's discourse units as starts and heads, four bytes each."""
    return _HEAD.pack(FORMAT, 0, len(d.starts)) + np.concatenate([d.starts, d.heads]).astype("<i4").tobytes()


def unpack_edus(value: bytes) -> Discourse | None:
    """Discourse units exactly as they were packed; None where the value is not of this format."""
    if len(value) < _HEAD.size:
        return None
    version, wide, count = _HEAD.unpack_from(value)
    if version != FORMAT or wide or len(value) != _HEAD.size + 8 * count:
        return None
    starts, found = np.frombuffer(value, "<i4", offset=_HEAD.size).astype(np.int64).reshape(2, count)
    return Discourse(starts=starts, heads=found)


_LATENTS = struct.Struct("<BBII")  # format, kind, latents, width
_HALF, _BYTE, _FULL = range(3)  # kinds: halves; int8 with a float32 scale for each latent; floats


def pack_latents(values: np.ndarray, precision: str) -> bytes:
    """One segment's latents, float32 [N, width], as `float16` or `int8`; what a half cannot hold stays as it is."""
    kind = _BYTE if precision == "int8" else _HALF
    if kind == _HALF and len(values) and not np.abs(values).max() < np.finfo(np.float16).max:
        kind = _FULL
    head = _LATENTS.pack(FORMAT, kind, *values.shape)
    if kind == _BYTE:
        scale = np.maximum(np.abs(values).max(1, keepdims=True, initial=0.0), 1e-12).astype("<f4") / 127
        scales: bytes = scale.astype("<f4").tobytes()
        whole: bytes = np.round(values / scale).astype(np.int8).tobytes()
        return head + scales + whole
    rows: bytes = values.astype("<f2" if kind == _HALF else "<f4").tobytes()
    return head + rows


def unpack_latents(value: bytes) -> np.ndarray | None:
    """Latents, float32 [N, width], always the same of the same bytes; None where the value is not of this format."""
    if len(value) < _LATENTS.size:
        return None
    version, kind, count, width = _LATENTS.unpack_from(value)
    size = {_HALF: 2 * width, _BYTE: 4 + width, _FULL: 4 * width}.get(kind)
    if version != FORMAT or size is None or len(value) != _LATENTS.size + count * size:
        return None
    if kind != _BYTE:
        rows = np.frombuffer(value, "<f2" if kind == _HALF else "<f4", offset=_LATENTS.size)
        return rows.astype(np.float32).reshape(count, width)
    scale = np.frombuffer(value, "<f4", count, _LATENTS.size).astype(np.float32)
    rows = np.frombuffer(value, np.int8, offset=_LATENTS.size + 4 * count)
    return rows.reshape(count, width).astype(np.float32) * scale[:, None]


def seal(key: bytes, value: bytes, secret: bytes) -> bytes:
    """The value with a keyed digest (blake2b) over itself and its key."""
    return hashlib.blake2b(key + value, digest_size=_SEAL, key=secret).digest() + value


def unseal(key: bytes, sealed: bytes, secret: bytes) -> bytes | None:
    """The value, or None where it was not sealed by this secret for this key."""
    value = sealed[_SEAL:]
    # in constant time: how far a forged seal agrees must not be measurable
    return value if hmac.compare_digest(sealed, seal(key, value, secret)) else None
