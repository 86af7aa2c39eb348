"""`laconic batch IN OUT --ray`: the bytes of `laconic batch`, made by a pool of actors that Ray Data keeps.

An actor reads a part of the input, answers it with the lines of `filebatch`, and writes it under another name, renamed
in the end. Where one file is wanted, parts are put to its end as their turn comes: it is at any time what `laconic
batch` would have left there, and goes on with or without Ray. The input passes from disk to actor, never through Ray.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any
from uuid import uuid4

from .cache import Tiers
from .filebatch import (
    KINDS,
    BatchError,
    digest,
    done,
    failures,
    finish,
    in_order,
    lines_of,
    one,
    progress,
    requests,
    to_parquet,
)
from .opening import make_compressor
from .parts import Part, attempt, cut, join, sweep, together, written
from .settings import Settings


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Who works: between `least` and `most` actors (None: as many as there is room for), each with `gpus` of a GPU.

    `address` is a cluster's, or `local`: a Ray of our own for as long as the work takes.
    """

    address: str = "local"
    least: int | None = None
    most: int | None = None
    gpus: float = 0.0


class Answers:
    """An actor: a compressor that is opened once, and the parts that it answers."""

    def __init__(self, settings: Settings, folder: str, kind: str) -> None:
        # Ray gives an actor as many cores as it has lanes, not all of its machine's
        self.compressor = make_compressor(settings.model_copy(update={"workers": lanes(settings)}), patient=True)
        self.compressor.warm()
        self.concurrency, self.folder, self.kind = settings.concurrency, Path(folder), kind

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        rows = zip(*(batch[f.name].tolist() for f in fields(Part)), strict=True)
        found = [(part.first, self.write(part)) for part in (Part(*row) for row in rows)]
        return {"first": [first for first, _ in found], "failed": [failed for _, failed in found]}

    def write(self, part: Part) -> int:
        """Write a part's answers; how many of them are errors. Raises BatchError where its input has changed."""
        path = self.folder / part.name(self.kind)
        mark, seen = attempt(path), []
        # a name of one's own: a worker that was thought dead must not rename what another is writing
        partial = mark.with_suffix(f".{uuid4().hex}.partial")
        with partial.open("w", encoding="utf-8") as out:
            items = enumerate(part.lines(), part.first)
            for (_, line), made in in_order(lambda item: one(self.compressor, *item), items, self.concurrency):
                seen.append(digest(line))
                out.write(made.result())
            out.flush()
            os.fsync(out.fileno())
        if together(seen) != part.digest:
            partial.unlink()
            mark.unlink(missing_ok=True)
            raise BatchError(f"{part.file} was changed while it was worked on")
        failed = failures(partial)
        if self.kind == "parquet":
            to_parquet(partial, partial)
        partial.replace(path)
        mark.unlink(missing_ok=True)
        store = self.compressor.store
        if isinstance(store, Tiers) and store.remote is not None:
            store.remote.settle()  # nobody tells an actor that it is about to end
        return failed


def lanes(settings: Settings) -> int:
    return settings.workers or 1


@contextmanager
def connected(pool: Pool, settings: Settings) -> Iterator[Any]:
    """Ray, on the pool's cluster or on one of its own. A program's own `ray.init` is left alone. Raises BatchError."""
    local = pool.address == "local"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # Ray reports to its makers unless it is told not to
    if local:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # Ray's name for: listen on the loopback interface only
    try:
        import ray
        import ray.data
    except ImportError as e:
        raise BatchError(f"{e}: --ray needs pip install 'laconic[ray]'") from None
    if ray.is_initialized():
        yield ray
        return
    own: dict[str, Any] = {
        "include_dashboard": False,
        "num_cpus": pool.most and pool.most * lanes(settings),
        "object_store_memory": 128 * 1024 * 1024,  # holds names of parts, not their texts
    }
    try:
        ray.init(pool.address, logging_level=logging.ERROR, **(own if local else {}))
    except (ConnectionError, ValueError) as e:
        raise BatchError(f"no Ray at {pool.address}: {e}") from None
    try:
        yield ray
    finally:
        ray.shutdown()


def actors(has: dict[str, float], pool: Pool, settings: Settings, parts: int) -> tuple[int, int]:
    """The least and the most actors for so many parts on a cluster that has these resources."""
    room = has.get("GPU", 0) // pool.gpus if pool.gpus else has.get("CPU", 0) // lanes(settings)
    most = min(pool.most or max(1, int(room)), parts)
    return min(pool.least or most, most), most


def worked(todo: list[Part], settings: Settings, folder: Path, kind: str, pool: Pool) -> Iterator[tuple[Part, int]]:
    """Each part when it is written, in any order, and how many of its answers are errors; raises BatchError."""
    numbered = {part.first: part for part in todo}
    with connected(pool, settings) as ray:
        ray.data.DataContext.get_current().enable_progress_bars = False  # ours counts requests
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        least, most = actors(ray.cluster_resources(), pool, settings, len(todo))
        found = ray.data.from_items([asdict(part) for part in todo], override_num_blocks=len(todo)).map_batches(
            Answers,
            fn_constructor_args=(settings, str(folder.resolve()), kind),
            # one at work and one at hand: more would wait behind a slow actor while others are idle
            compute=ray.data.ActorPoolStrategy(min_size=least, max_size=most, max_tasks_in_flight_per_actor=2),
            batch_size=1,
            num_cpus=lanes(settings),
            num_gpus=pool.gpus or None,
        )
        try:
            for row in found.iter_rows():
                yield numbered[row["first"]], row["failed"]
        except ray.exceptions.RayError as e:
            raise BatchError(f"Ray gave up: {(str(e).strip().splitlines() or [type(e).__name__])[-1]}") from None


def run(settings: Settings, source: Path, target: Path, pool: Pool, *, size: int, kind: str) -> tuple[int, int]:
    """Answer what is not answered yet, with a progress bar; returns (answers, failures among them). Raises BatchError.

    A target that ends in .jsonl or .parquet is one file, in order; any other a folder of parts, files of that `kind`.
    """
    parts = list(cut(source, size))
    total = parts[-1].end if parts else 0
    if target.suffix in KINDS and not target.is_dir():
        lines, folder = lines_of(target), target.with_name(target.name + ".parts")
        in_one(settings, lines, folder, parts, pool, done(lines, requests(source)))
        return total, finish(lines, target)
    target.mkdir(parents=True, exist_ok=True)
    sweep(target)
    ready = written(target, {p.name(kind) for p in parts})
    failed = sum(failures(target / name) for name in ready)
    todo = [p for p in parts if p.name(kind) not in ready]
    with progress() as bar:
        task = bar.add_task(target.name, total=total, completed=total - sum(p.count for p in todo))
        for part, bad in worked(todo, settings, target, kind, pool) if todo else ():
            failed += bad
            bar.advance(task, part.count)
    sweep(target)
    return total, failed


def in_one(settings: Settings, lines: Path, folder: Path, parts: list[Part], pool: Pool, begun: int) -> None:
    """Bring `lines`, of which `begun` are there, to the end of the last part."""
    folder.mkdir(exist_ok=True)
    sweep(folder)
    lines.touch()
    ready = written(folder, {p.name("jsonl") for p in parts})
    for part in parts:
        if part.end <= begun and part.name("jsonl") in ready:  # joined, and then there was no time to remove it
            (folder / part.name("jsonl")).unlink()
    owed = deque(p for p in parts if p.end > begun)
    todo = [p for p in owed if p.name("jsonl") not in ready]

    def catch_up() -> None:
        while owed and owed[0].name("jsonl") in ready:
            part = owed.popleft()
            join(lines, folder / part.name("jsonl"), max(0, begun - part.first))

    catch_up()
    with progress() as bar:
        task = bar.add_task(lines.name, total=sum(p.count for p in parts))
        bar.advance(task, sum(p.count for p in parts) - sum(p.count for p in todo))
        for part, _ in worked(todo, settings, folder, "jsonl", pool) if todo else ():
            ready.add(part.name("jsonl"))
            catch_up()
            bar.advance(task, part.count)
    sweep(folder)
    folder.rmdir()
