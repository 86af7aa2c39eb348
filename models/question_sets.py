"""Sets of questions whose evidence is marked: what scorers are trained on, calibrated by and judged with.

A set is two files of JSON lines, `NAME.passages` and `NAME.queries` and then `.jsonl.xz` or `.jsonl`
(docs/training.md). Spans are `[start, end)` in code points of the passage.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

from pydantic import BaseModel, ValidationError

ENDINGS = ".jsonl.xz", ".jsonl"
QUERIES, PASSAGES = ".queries", ".passages"
Spans = list[tuple[int, int]]


class SetError(ValueError):
    """A set that is missing or cannot be understood; names the file, and the line if it is one."""


class _Passage(BaseModel):
    pid: str
    group: str
    text: str
    title: str | None = None


class _Label(BaseModel):
    pid: str
    evidence: Spans = []
    answers: Spans = []
    level: str = "annotated"


class _Query(BaseModel):
    query: str
    group: str
    labels: list[_Label]
    answers: list[str] = []
    context: list[str] = []


class QuestionSet(TypedDict):
    """Passages by name, and questions, every label of which is inside a passage."""

    passages: dict[str, dict[str, Any]]
    queries: list[dict[str, Any]]


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines, compressed or not; raises SetError where it cannot be unpacked."""
    try:
        with lzma.open(path, "rt", encoding="utf-8") if path.suffix == ".xz" else path.open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)
    except (EOFError, lzma.LZMAError) as e:  # as after a copy that was broken off
        raise SetError(f"{path} is no whole .xz file: {e}") from None


def names(folder: Path) -> list[str]:
    """The sets of a folder, in order; none raises SetError."""
    found = {p.name.removesuffix(QUERIES + e) for e in ENDINGS for p in folder.glob(f"*{QUERIES}{e}")}
    if not found:
        raise SetError(f"{folder} holds no set: NAME.queries.jsonl.xz and NAME.passages.jsonl.xz")
    return sorted(found)


def file_of(folder: Path, name: str) -> Path:
    """One file of a set, compressed or not; neither raises SetError."""
    for path in (folder / f"{name}{e}" for e in ENDINGS):
        if path.exists():
            return path
    raise SetError(f"{folder / name}{ENDINGS[0]} is missing")


def read_set(folder: Path, name: str) -> QuestionSet:
    """A set, checked; raises SetError where a row lacks something or a label lies outside of its passage."""
    passages = {p["pid"]: p for _, p in _checked(file_of(folder, name + PASSAGES), _Passage)}
    path, queries = file_of(folder, name + QUERIES), []
    for number, q in _checked(path, _Query):
        unknown = {*q["context"], *(label["pid"] for label in q["labels"])} - passages.keys()
        if unknown:
            raise SetError(f"{path}, line {number}: no passage is named {min(unknown)!r}")
        for label in q["labels"]:
            length = len(passages[label["pid"]]["text"])
            for a, b in (*label["evidence"], *label["answers"]):
                if not 0 <= a < b <= length:
                    raise SetError(f"{path}, line {number}: [{a}, {b}] is no span of {label['pid']!r} ({length} long)")
        queries.append(q)
    return {"passages": passages, "queries": queries}


def _checked(path: Path, kind: type[BaseModel]) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    try:
        for number, row in enumerate(rows(path), 1):
            yield number, kind.model_validate(row).model_dump()
    except ValidationError as e:
        first = e.errors(include_url=False)[0]
        raise SetError(f"{path}, line {number}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as e:
        raise SetError(f"{path}, line {number + 1}: {e}") from None
