"""`laconic batch IN OUT`: a file of requests to a file of answers, in this process; resumable, each line exactly once.

Answers are in the order of the requests and carry a digest of theirs, so a run that was killed goes on where it
stopped, and refuses to go on with another input. Parquet is read and written through the same lines (`OUT.lines`).
The same requests give the same bytes, whoever works on them: `raybatch` writes these very lines.
"""

from __future__ import annotations

import hashlib
import json
import os
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, TypeVar

from laconic.compressors import Compressor
from laconic.models import Work

from .handle import answer_line

T = TypeVar("T")
R = TypeVar("R")
KINDS = (".jsonl", ".parquet")


class BatchError(ValueError):
    """An input or output file that cannot be used; the message says why."""


def digest(line: str) -> str:
    return hashlib.blake2b(line.strip().encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def files(path: Path) -> list[Path]:
    """The file itself, or a folder's .jsonl and .parquet files by name; raises BatchError where it has none."""
    if not path.is_dir():
        return [path]
    if found := sorted(p for p in path.iterdir() if p.suffix in KINDS):
        return found
    raise BatchError(f"{path} holds no .jsonl or .parquet file")


def reads(source: Path, target: Path) -> bool:
    """Whether what is written to `target` would be taken for requests of `source`."""
    beside = target.parent.resolve() == source.resolve() and target.suffix in KINDS
    return beside or target.resolve() == source.resolve()


def requests(path: Path) -> Iterator[str]:
    """The requests of a .jsonl or .parquet file, or of a folder of them, as JSON lines; raises BatchError."""
    for file in files(path):
        yield from (line for _, line in located(file))


def located(path: Path, start: int = 0) -> Iterator[tuple[int, str]]:
    """A file's requests from `start` on, each with where it begins (byte; in Parquet, row), blank lines left out."""
    if path.suffix == ".parquet":
        yield from rows(path, start)
        return
    try:
        with path.open("rb") as file:
            file.seek(start)
            for raw in file:
                line = raw.decode() if start else raw.decode("utf-8-sig")  # Windows' editors put a mark before all
                if line.strip():
                    yield start, line
                start += len(raw)
    except UnicodeDecodeError as e:
        raise BatchError(f"{path} is not UTF-8: {e.reason}") from None
    except OSError as e:
        raise BatchError(f"{path}: {e.strerror}") from None


def rows(path: Path, start: int = 0) -> Iterator[tuple[int, str]]:
    """A Parquet file's rows by number: columns are the request's fields, null ones left out."""
    parquet = _parquet()
    try:
        with parquet.ParquetFile(path) as file:
            sizes = [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)]
            ends = list(accumulate(sizes))
            first = bisect_right(ends, start)  # groups before the start are not read
            number = ends[first - 1] if first else 0
            for some in file.iter_batches(256, row_groups=range(first, len(sizes))):
                for row in some.to_pylist():
                    if number >= start:
                        yield number, json.dumps({k: v for k, v in row.items() if v is not None}, ensure_ascii=False)
                    number += 1
    except (OSError, ValueError) as e:
        raise BatchError(f"{path}: {e}") from None


def _parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise BatchError("Parquet needs pyarrow: pip install 'laconic[cpu,parquet]'") from None
    return pyarrow.parquet


def done(path: Path, lines: Iterator[str]) -> int:
    """How many answers `path` holds; a torn last line is cut off. Raises BatchError where they answer another input."""
    if not path.exists():
        return 0
    count, end = 0, 0
    with path.open("rb+") as file:
        for raw in file:
            if not raw.endswith(b"\n"):
                break
            line = next(lines, None)
            if line is None or json.loads(raw).get("request") != digest(line):
                raise BatchError(f"{path} has answers to another input (line {count + 1}); move it away to begin anew")
            count, end = count + 1, end + len(raw)
        file.truncate(end)
    return count


def one(compressor: Compressor, number: int, line: str) -> str:
    """The answer to one request as a line. What depends on the run, time and what the cache had, is 0 in it."""
    made = answer_line(compressor, number, line, f"line-{number}", Work())
    if found := made.answer:
        found.usage.compute_ms, found.usage.cache_hits = 0.0, 0
        for document in found.documents:
            document.cached = "0/" + document.cached.rpartition("/")[2]
    row = made.model_dump(mode="json", exclude_none=True)
    return json.dumps({"request": digest(line), **row}, ensure_ascii=False) + "\n"


def progress() -> Any:
    """The progress bar of work on a file."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


def in_order(work: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[tuple[T, Future[R]]]:
    """Each item with what its work will come to, in order; no more than twice `workers` are begun ahead."""
    window: deque[tuple[T, Future[R]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for item in items:
            window.append((item, pool.submit(work, item)))
            if len(window) >= 2 * workers:
                yield window.popleft()
        while window:
            yield window.popleft()


def run(compressor: Compressor, source: Path, target: Path, workers: int) -> tuple[int, int]:
    """Answer what is not answered yet, with a progress bar; returns (answers in the file, failures among them)."""
    lines = lines_of(target)
    total = sum(1 for _ in requests(source))
    begun = done(lines, requests(source))
    todo = islice(enumerate(requests(source)), begun, None)
    with lines.open("a", encoding="utf-8") as out, progress() as bar:
        task = bar.add_task(source.name, total=total, completed=begun)
        for _, answered in in_order(lambda item: one(compressor, *item), todo, workers):
            out.write(answered.result())
            out.flush()
            bar.advance(task)
        os.fsync(out.fileno())
    return total, finish(lines, target)


def lines_of(target: Path) -> Path:
    """Where the answers of `target` grow line by line."""
    return target.with_name(target.name + ".lines") if target.suffix == ".parquet" else target


def finish(lines: Path, target: Path) -> int:
    """Make the table, where one is wanted, of all answers; how many of them are errors."""
    if lines != target:
        to_parquet(lines, target)
    return failures(lines)


def failures(path: Path) -> int:
    """How many answers of a file, lines or a table, are errors."""
    if path.suffix == ".parquet":
        return sum(s != 200 for s in _parquet().read_table(path, columns=["status"])["status"].to_pylist())
    with path.open(encoding="utf-8") as answers:
        return sum(json.loads(line)["status"] != 200 for line in answers)


def to_parquet(lines: Path, target: Path) -> None:
    """The answers as a table: index, status, text, tokens, and the whole answer as JSON. Replaces `target` at once."""
    parquet = _parquet()
    import pyarrow

    table = []
    for line in requests(lines):
        row = json.loads(line)
        found = row.get("answer") or {}
        usage = found.get("usage", {})
        table.append(
            {
                "index": row["index"],
                "status": row["status"],
                "text": found.get("text"),
                "tokens_in": usage.get("tokens_in"),
                "tokens_out": usage.get("tokens_out"),
                "error": json.dumps(row["error"]) if "error" in row else None,
                "answer": json.dumps(found, ensure_ascii=False) if found else None,
            }
        )
    whole, number = pyarrow.string(), pyarrow.int64()
    kinds = {"index": number, "status": number, "text": whole, "tokens_in": number, "tokens_out": number}
    schema = pyarrow.schema({**kinds, "error": whole, "answer": whole})
    partial = target.with_name(target.name + ".partial")
    parquet.write_table(pyarrow.Table.from_pylist(table, schema), partial)
    partial.replace(target)
