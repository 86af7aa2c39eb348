"""What each command does; `__main__` parses, this acts. Exit codes: 0 done, 1 failed, 2 wrong call."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from laconic.client.wire import BudgetBody, CompressRequest
from laconic.client.wire_latents import EncodeRequest
from laconic.compressors import RECIPES, LaconicError, Result, tree_of
from laconic.models import ModelError, Work
from laconic.models.card import CardError
from laconic.models.hf import read_card
from laconic.models.readers import TIKTOKEN, ReaderError, open_reader

from . import convert
from .opening import make_compressor
from .settings import Settings


def serve(args: argparse.Namespace, settings: Settings) -> int:
    from .door import ListenError
    from .keys import KeysError
    from .server import run

    try:
        return run(settings)
    except KeysError as e:
        return fail(f"setting api_keys_file: {e}", 2)
    except ListenError as e:
        return fail(str(e))
    except ImportError as e:  # what a setting asked for comes with an extra
        return fail(f"{e}: traces need pip install 'laconic[cpu,otel]'")


def mcp(args: argparse.Namespace, settings: Settings) -> int:
    from .app import package_version

    try:
        from .mcp_server import make
    except ImportError as e:
        return fail(f"{e}: pip install 'laconic[cpu,mcp]'")
    kept = settings.model_copy(update={"expand_ttl_seconds": settings.expand_ttl_seconds or 24 * 3600})
    try:
        make(make_compressor(kept), package_version()).run("stdio")
    except LaconicError as e:
        return fail(str(e), 2)
    return 0


def batch(args: argparse.Namespace, settings: Settings) -> int:
    from .filebatch import BatchError, reads, run

    if reads(args.source, args.target):
        return fail("the answers need a place of their own: they would be read as requests")
    if args.ray is None and (args.actors or args.gpus_per_actor or args.part_size or args.parts_as):
        return fail("--actors, --gpus-per-actor, --part-size and --parts-as go with --ray", 2)
    try:
        if args.ray is not None:
            total, failed = by_ray(args, settings)
        else:
            with closing(make_compressor(settings, patient=True)) as compressor:
                compressor.warm()
                total, failed = run(compressor, args.source, args.target, settings.concurrency)
    except (BatchError, ModelError, OSError) as e:
        return fail(str(e))
    print(f"{total} answers in {args.target}, {failed} of them errors")
    return 0 if not failed else 1


def by_ray(args: argparse.Namespace, settings: Settings) -> tuple[int, int]:
    from .raybatch import Pool, run

    least, most = args.actors or (None, None)
    pool = Pool(address=args.ray, least=least, most=most, gpus=args.gpus_per_actor or 0.0)
    return run(settings, args.source, args.target, pool, size=args.part_size or 500, kind=args.parts_as or "jsonl")


def warm(args: argparse.Namespace, settings: Settings) -> int:
    from .cache import Tiers
    from .filebatch import BatchError
    from .warm import run

    if settings.redis_url is None:
        return fail("warming fills the Redis that services share: say --redis-url", 2)
    recipe = RECIPES.get(args.recipe)
    if recipe is None or not recipe.scores:
        return fail(
            f"--recipe {args.recipe}: known and cached are {', '.join(n for n in RECIPES if RECIPES[n].scores)}", 2
        )
    try:
        with closing(make_compressor(settings, patient=True)) as compressor:
            compressor.warm()
            store = compressor.store
            assert isinstance(store, Tiers) and store.remote is not None
            done = run(
                compressor, store.remote, args.source, recipe=args.recipe, key=args.key, workers=settings.concurrency
            )
    except (BatchError, ModelError, OSError) as e:
        return fail(str(e))
    remote = store.remote
    print(
        f"{done.documents} documents, {done.segments} segments: {done.held} were there, {remote.written} values written"
    )
    if remote.dropped or remote.errors:
        return fail(f"{remote.dropped} values were not written: Redis failed {remote.errors} times; run this again")
    if done.wrong:
        return fail(f"{len(done.wrong)} lines hold no document, the first is line {done.wrong[0]}")
    return 0


def key(args: argparse.Namespace, settings: Settings) -> int:
    from .keys import new

    try:
        made, lines = new(args.name, args.scopes or ["compress"])
    except ValueError as e:
        return fail(str(e))
    print(f"# the key, shown once: {made}\n# add to the file of --api-keys-file:\n{lines}", end="")
    return 0


class Unreadable(Exception):
    """A file that is not text; the message says why."""


def text_of(name: str) -> str:
    """A file's text, or standard input's for `-`; raises Unreadable."""
    try:
        raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return raw.decode("utf-8-sig")
    except OSError as e:
        raise Unreadable(f"{name}: {e.strerror}") from None
    except UnicodeDecodeError as e:
        raise Unreadable(f"{name}: not UTF-8 at byte {e.start}") from None


def encode(args: argparse.Namespace, settings: Settings) -> int:
    from .encode import encode as run
    from .encode import safetensors

    try:
        given = {"model": args.soft_model, "rate": args.rate, "decoder": args.decoder, "dtype": args.dtype}
        body = EncodeRequest(text=text_of(args.file), **given)
        made = run(make_compressor(settings), body, "local", Work())
        args.out.write_bytes(safetensors(made))
    except ValidationError as e:
        problem = e.errors(include_input=False, include_url=False)[0]
        return fail(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}", 2)
    except (LaconicError, ModelError, OSError, Unreadable) as e:
        return fail(str(e), 2 if isinstance(e, LaconicError) else 1)
    found = made.answer
    if args.json:
        print(found.model_dump_json(exclude_none=True))
    else:
        u = found.usage
        print(f"{u.tokens_in} tokens → {u.latents} latents of {found.width} in {args.out}, {u.compute_ms:.0f} ms")
    return 0


def compress(args: argparse.Namespace, settings: Settings) -> int:
    try:
        text = text_of(args.file)
    except Unreadable as e:
        return fail(str(e))
    try:
        given = {k: getattr(args, k) for k in ("rate", "tokens", "threshold", "recall") if getattr(args, k) is not None}
        own = {"budget": BudgetBody(**given)} if given else {}
        fields = {"query": args.query, "unit": args.unit, "recipe": args.recipe, "reader": args.reader}
        body = CompressRequest.model_validate({"text": text, **fields, **own})
    except ValidationError as e:
        problem = e.errors(include_input=False, include_url=False)[0]
        return fail(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}", 2)
    compressor = make_compressor(settings)
    start = time.perf_counter()
    try:
        pipeline = compressor.pipeline(body.recipe, None, body.reader)
        result = pipeline(convert.request(body))
        model = compressor.model_of(body.recipe)
    except (LaconicError, ModelError) as e:
        return fail(str(e), 2 if isinstance(e, LaconicError) else 1)
    elapsed = (time.perf_counter() - start) * 1000
    if args.json:
        made = convert.answer(body, result, "local", pipeline.reader.name, model, elapsed)
        print(made.model_dump_json(exclude_none=True))
    elif args.tree:
        show_tree(text, result)
    else:
        show(text, result, plain=args.plain or not sys.stdout.isatty(), elapsed=elapsed)
    return 0


def show(text: str, result: Result, *, plain: bool, elapsed: float) -> None:
    """Kept text for pipes; on a terminal the whole text with what was dropped dimmed, and a line of figures."""
    coded = result.text and not result.documents[0].spans  # by meta.v1: no part of it is the source's
    if plain or coded:
        sys.stdout.write(result.text + ("\n" if result.text and not result.text.endswith("\n") else ""))
    else:
        painted = Text(text, style="dim strike")
        for start, end in result.documents[0].spans:
            painted.stylize("not dim not strike bold", start, end)
        Console().print(painted, soft_wrap=True)
    rate = result.tokens_out / result.tokens_in if result.tokens_in else 0.0
    figures = f"{result.tokens_in} → {result.tokens_out} tokens ({rate:.0%}), {elapsed:.0f} ms"
    Console(stderr=True).print(figures, *result.warnings, sep="; ", style="cyan", highlight=False)


MARKS = {"section": "§", "item": "•", "paragraph": "¶"}


def show_tree(text: str, result: Result) -> None:
    """The document's structure: what is kept bold, what is dropped dimmed."""
    nodes = tree_of(text, result.documents[0])
    below = defaultdict(list)
    for number, node in enumerate(nodes):
        below[node.parent].append(number)

    def grow(branch: Tree, at: int | None) -> None:
        for number in below[at]:
            node = nodes[number]
            shown = MARKS.get(node.kind) or " ".join(text[node.start : node.end].split())
            if shown:
                grow(branch.add(Text(shown, style="bold" if node.kept else "dim")), number)

    root = Tree("", hide_root=True)
    grow(root, None)
    Console().print(root)


def models(args: argparse.Namespace, settings: Settings) -> int:
    compressor = make_compressor(settings)
    rows = []
    for name, folder in compressor.catalogue.folders().items():
        row: dict[str, object] = {"name": name, "folder": str(folder)}
        try:
            card = read_card(folder)
            row.update(revision=card.revision, profiles=sorted(card.files), licence=card.licence, summary=card.summary)
            card.verify(folder, sorted(card.sha256))
            row["files"] = "verified"
        except CardError as e:
            row["files"] = str(e)
        rows.append(row)
    if args.json:
        print(json.dumps({"models": rows}))
    else:
        for row in rows:
            profiles = ", ".join(map(str, row.get("profiles", [])))  # type: ignore[call-overload]
            print(f"{row['name']}  revision {row.get('revision', '?')}  [{profiles}]  {row['files']}")
            print(f"  {row.get('summary', '')}\n  {row['folder']}")
    return 0 if rows and all(r["files"] == "verified" for r in rows) else 1


def doctor(args: argparse.Namespace, settings: Settings) -> int:
    """Each check is (name, ok, note); only a model that does not answer makes the exit code 1."""
    checks: list[tuple[str, bool, str]] = []
    for package in ("onnxruntime", "tokenizers", "fastapi", "uvicorn", "sentencex", "google-re2"):
        try:
            checks.append((package, True, version(package)))
        except PackageNotFoundError:
            checks.append((package, False, "not installed"))
    try:
        start = time.perf_counter()
        compressor = make_compressor(settings)
        model = compressor.warm()
        took = time.perf_counter() - start
        checks.append((f"model {model.card.name}", True, f"{model.profile}, first answer after {took:.2f} s"))
    except (LaconicError, ModelError) as e:
        checks.append((f"model {settings.model}", False, str(e)))
    optional = [("redis", why is None, why or "answers") for why in redis_checks(settings)]
    for name in TIKTOKEN:
        try:
            open_reader(name, settings.readers_dir, settings.tiktoken_cache)
            optional.append((f"reader {name}", True, "ready"))
        except ReaderError as e:
            optional.append((f"reader {name}", False, str(e)))
    if args.json:
        fields = ("name", "ok", "note")
        named = [dict(zip(fields, c, strict=True)) for c in checks]
        print(json.dumps({"checks": named, "optional": [dict(zip(fields, c, strict=True)) for c in optional]}))
    else:
        for name, ok, note in checks:
            print(f"{'ok  ' if ok else 'FAIL'}  {name}: {note}")
        for name, ok, note in optional:
            print(f"{'ok  ' if ok else '-   '}  {name} (optional): {note}")
    return 0 if all(ok for _, ok, _ in checks) else 1


def redis_checks(settings: Settings) -> list[str | None]:
    """What is wrong with the Redis of the settings, None for nothing; empty where there is none."""
    if settings.redis_url is None:
        return []
    from .cache import Remote

    with closing(Remote(settings.redis_url.get_secret_value(), 1, settings.cache_prefix)) as remote:
        return [remote.check()]


def bench(args: argparse.Namespace, settings: Settings) -> int:
    try:
        from laconic.bench.__main__ import main
    except ImportError as e:
        return fail(f"{e}: pip install 'laconic[bench]'")
    return main(args.rest)


def fail(message: str, code: int = 1) -> int:
    print(f"laconic: {message}", file=sys.stderr)
    return code
