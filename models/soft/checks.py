"""What files of a checkpoint say they hold, read and doubted before any memory is asked for.

A safetensors file is eight bytes of length, little-endian, that many of JSON, then the data
(https://github.com/huggingface/safetensors#format). Its header is all that is read here; pickle is never opened.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..card import CardError
from ..hf import INDEX, weights

WIDEST = 2**20  # rows, columns, words of a vocabulary: more is a mistake or an attack
DEEPEST = 512  # layers
HEADER = 100_000_000  # bytes; what the format's own library reads at most
BITS = {
    **{"BOOL": 8, "U8": 8, "I8": 8, "I16": 16, "U16": 16, "I32": 32, "U32": 32, "I64": 64, "U64": 64},
    **{"F8_E4M3": 8, "F8_E5M2": 8, "F16": 16, "BF16": 16, "F32": 32, "F64": 64},
}
FLOATS = ("F32", "F16", "BF16")  # what weights may be in
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
ONE = "model.safetensors"


@dataclass(frozen=True)
class Held:
    """A tensor as its file's header declares it."""

    path: Path
    dtype: str
    shape: tuple[int, ...]


def facts(path: Path) -> dict[str, Any]:
    """A JSON object; raises CardError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as e:
        raise CardError(f"{path} cannot be read: {e}") from None
    if not isinstance(found, dict):
        raise CardError(f"{path} is not a configuration")
    return found


def part(found: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    """An object within a configuration; raises CardError."""
    inner = found.get(name)
    if not isinstance(inner, dict):
        raise CardError(f"{path}: {name} is not an object")
    return inner


def size(found: Mapping[str, Any], name: str, path: Path, most: int = WIDEST, least: int = 1) -> int:
    """A whole number of a configuration; raises CardError for one that no model has."""
    value = found.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise CardError(f"{path}: {name} is {value!r}, not a whole number from {least} to {most}")
    return value


def number(found: Mapping[str, Any], name: str, path: Path, default: float) -> float:
    """A positive number of a configuration; raises CardError."""
    value = found.get(name)
    if value is None:
        return default
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < math.inf:
        raise CardError(f"{path}: {name} is {value!r}, not a number above 0")
    return float(value)


def choice(found: Mapping[str, Any], name: str, path: Path, of: Iterable[str]) -> str:
    """One of the names that are known; raises CardError."""
    value = found.get(name)
    if not isinstance(value, str) or value not in of:
        raise CardError(f"{path}: {name} is {value!r}; supported are {', '.join(of)}")
    return value


def plain(path: Path) -> Path:
    """A file of weights that is there; raises CardError, with what to do where there is pickle in its place."""
    if path.is_file():
        return path
    if any(p for kind in PICKLES for p in path.parent.glob(kind)):
        raise CardError(f"{path.parent} has its weights as pickle, which is not opened: save them as {path.name}")
    raise CardError(f"{path} does not exist")


def shards(folder: Path) -> list[str]:
    """Files of a Hugging Face folder's weights, as its own library picks them; raises CardError."""
    if (folder / ONE).is_file() or not (folder / INDEX).is_file():
        return [plain(folder / ONE).name]
    names = weights(folder)
    listed = {str(n) for n in facts(folder / INDEX)["weight_map"].values()}
    if outside := listed - set(names):
        raise CardError(f"{folder / INDEX} lists files of other folders: {', '.join(sorted(outside))}")
    return names


def held(path: Path) -> dict[str, Held]:
    """What a safetensors file's header declares, each part checked against the file's size; raises CardError."""
    try:
        with path.open("rb") as file:
            total = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            header = file.read(length) if length <= min(total - 8, HEADER) else b""
    except OSError as e:
        raise CardError(f"{path} cannot be read: {e.strerror}") from None
    if not header:
        raise CardError(f"{path} is cut short or no safetensors file: {total} bytes, a header of {length}")
    try:
        found = json.loads(header)
    except (ValueError, RecursionError) as e:
        raise CardError(f"{path} is not a safetensors file: {e}") from None
    if not isinstance(found, dict):
        raise CardError(f"{path} is not a safetensors file: its header is no object")
    found.pop("__metadata__", None)
    out, ends = {}, []
    for name, entry in found.items():
        out[name], place = _entry(path, name, entry)
        ends.append(place)
    _places(path, sorted(ends), total - 8 - length)
    return out


def _entry(path: Path, name: str, entry: Any) -> tuple[Held, tuple[int, int]]:
    """One tensor, and where in the data it lies."""
    try:
        dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        whole = all(type(n) is int and n >= 0 for n in (*shape, begin, end))
        if not whole or math.prod(shape) * BITS[dtype] != (end - begin) * 8:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise CardError(f"{path}: the header's entry of {name[:200]} is not a tensor's") from None
    return Held(path, dtype, shape), (begin, end)


def _places(path: Path, places: Iterable[tuple[int, int]], data: int) -> None:
    """Raises CardError unless tensors lie side by side and fill the file."""
    at = 0
    for begin, end in places:
        if begin != at:
            raise CardError(f"{path}: tensors overlap or leave gaps at byte {min(begin, at)} of the data")
        at = end
    if at != data:
        raise CardError(f"{path} is cut short or too long: its header speaks of {at} bytes of data, it has {data}")


def compare(wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, Held], where: Path) -> None:
    """Raises CardError at the first tensor that is missing, of another shape, or no floating-point numbers."""
    for name, shape in wanted.items():
        one = found.get(name)
        if one is None:
            raise CardError(f"{where} lacks the tensor {name} {list(shape)}")
        if one.shape != tuple(shape):
            raise CardError(f"{one.path}: {name} is {list(one.shape)}; the configuration asks for {list(shape)}")
        if one.dtype not in FLOATS:
            raise CardError(f"{one.path}: {name} is in {one.dtype}; supported are {', '.join(FLOATS)}")
