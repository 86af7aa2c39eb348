"""The `laconic` command: serve, compress, encode, batch, warm, mcp, models, doctor, key, bench."""

from __future__ import annotations

from . import early as early  # first: to read what follows takes a second

# isort: split
import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from . import shell
from .keys import SCOPES
from .settings import Settings, SettingsError, load
from .telemetry import logs

N = TypeVar("N", int, float)
USAGE, FAILED = 2, 1  # exit codes: wrong call, right call that failed


def add_settings(parser: argparse.ArgumentParser, *names: str) -> None:
    """One flag for every setting (or the named ones); the default shown is the setting's own."""
    for name, field in Settings.model_fields.items():
        if not names or name in names:
            note = f"{field.description} [{field.get_default(call_default_factory=True)}]"
            parser.add_argument(f"--{name.replace('_', '-')}", dest=name, default=None, help=note)


def between(text: str) -> tuple[int, int]:
    """`N` or `N-M`; raises ValueError."""
    least, _, most = text.partition("-")
    found = int(least), int(most or least)
    if not 1 <= found[0] <= found[1]:
        raise ValueError(text)
    return found


def positive(kind: Callable[[str], N]) -> Callable[[str], N]:
    def number(text: str) -> N:
        if (found := kind(text)) <= 0:
            raise ValueError(text)
        return found

    return number


def build() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="laconic", description="Prompt and context compression for RAG.")
    sub = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = sub.add_parser("serve", help="start the service")
    add_settings(serve)
    serve.set_defaults(run=shell.serve)

    c = sub.add_parser("compress", help="compress a file or standard input")
    c.add_argument("file", help="a text file, or - for standard input")
    c.add_argument("--query", help="what the reader wants to know")
    budget = c.add_mutually_exclusive_group()
    budget.add_argument("--rate", type=float, help="share of the tokens to keep (default 0.5)")
    budget.add_argument("--tokens", type=int, help="number of tokens to keep")
    budget.add_argument("--threshold", type=float, help="least probability to keep")
    budget.add_argument("--recall", type=float, help="share of the evidence expected to be kept")
    units = ("token", "word", "phrase", "edu", "sentence")
    c.add_argument("--unit", choices=units, help="what is kept or dropped as a whole")
    c.add_argument("--recipe", default="token.v1")
    c.add_argument("--reader", help="whose tokens count (default: the model's own)")
    c.add_argument("--json", action="store_true", help="the answer of the REST API instead of text")
    c.add_argument("--tree", action="store_true", help="headings, lists, paragraphs and clauses, kept ones in bold")
    c.add_argument("--plain", action="store_true", help="kept text only, also on a terminal")
    add_settings(c, "model", "profile", "workers", "models_dir", "readers_dir", "tiktoken_cache")
    c.set_defaults(run=shell.compress)

    e = sub.add_parser("encode", help="turn a file or standard input into latents")
    e.add_argument("file", help="a text file, or - for standard input")
    e.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    e.add_argument("--rate", type=int, default=4, help="tokens per latent [4]")
    e.add_argument("--soft-model", default="laconic-soft", help="who makes the latents [laconic-soft]")
    e.add_argument("--decoder", help="who will read them (default: the model's own)")
    e.add_argument("--dtype", choices=("float16", "float32", "bfloat16"), default="float16")
    e.add_argument("--json", action="store_true", help="print what the file's header says")
    add_settings(e, "profile", "workers", "models_dir")
    e.set_defaults(run=shell.encode)

    for name, run, note in (
        ("models", shell.models, "list models, their profiles and whether their files verify"),
        ("doctor", shell.doctor, "check that this installation can work, and say what is missing"),
    ):
        p = sub.add_parser(name, help=note)
        p.add_argument("--json", action="store_true")
        redis = ("redis_url", "cache_prefix") if name == "doctor" else ()
        add_settings(p, "model", "profile", "models_dir", "readers_dir", "tiktoken_cache", *redis)
        p.set_defaults(run=run)

    m = sub.add_parser("batch", help="answer a file of requests, resumably")
    m.add_argument(
        "source", type=Path, help=".jsonl with one request of POST /v1/compress per line, .parquet, or a folder of them"
    )
    m.add_argument("target", type=Path, help=".jsonl or .parquet of answers; an unfinished one is continued")
    m.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="by Ray's actors: of this cluster, or of one's own here",
    )
    m.add_argument(
        "--actors", type=between, metavar="N[-M]", help="how many at least and at most [as there is room for]"
    )
    m.add_argument(
        "--gpus-per-actor", type=positive(float), metavar="X", help="share of a GPU, or GPUs, for each actor"
    )
    m.add_argument(
        "--part-size", type=positive(int), metavar="N", help="requests that an actor answers at a time [500]"
    )
    m.add_argument(
        "--parts-as", choices=("jsonl", "parquet"), help="with --ray and a folder as target: files in it [jsonl]"
    )
    add_settings(m, "model", "profile", "workers", "concurrency", "models_dir", "readers_dir", "tiktoken_cache")
    add_settings(
        m, "redis_url", "cache_bytes", "cache_ttl_seconds", "cache_prefix", "cache_shared", "cache_secret_file"
    )
    m.set_defaults(run=shell.batch)

    w = sub.add_parser("warm", help="score a corpus ahead of its questions, into Redis")
    w.add_argument("source", type=Path, help=".jsonl with one document (text, title) per line, or .parquet")
    w.add_argument("--recipe", default="late.v1", help="late.v1 serves any question from it; others only no question")
    w.add_argument("--key", default="anonymous", help="name of the API key it is for [anonymous: no keys file]")
    add_settings(w, "model", "profile", "workers", "concurrency", "models_dir")
    add_settings(
        w, "redis_url", "cache_bytes", "cache_ttl_seconds", "cache_prefix", "cache_shared", "cache_secret_file"
    )
    w.set_defaults(run=shell.warm)

    p = sub.add_parser("mcp", help="serve the Model Context Protocol on standard input and output")
    add_settings(p, "model", "profile", "workers", "models_dir", "cache_bytes", "expand_ttl_seconds")
    p.set_defaults(run=shell.mcp)

    k = sub.add_parser("key", help="make an API key and the lines that admit it")
    k.add_argument("name", help="whose key it is; appears in metrics and logs")
    k.add_argument("--scope", dest="scopes", action="append", choices=SCOPES, help="what it may, repeatable [compress]")
    k.set_defaults(run=shell.key)

    b = sub.add_parser("bench", help="measure: quality on question answering data, throughput beside peers")
    b.add_argument("rest", nargs=argparse.REMAINDER, help="quality --data DIR | peers")
    b.set_defaults(run=shell.bench)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build().parse_args(argv)
    given = {k: v for k, v in vars(args).items() if k in Settings.model_fields}
    try:
        settings = load(**given)
        logs(settings.log_level, settings.log_format)
        code: int = args.run(args, settings)
    except SettingsError as e:
        for line in str(e).splitlines():
            print(f"laconic: {line}", file=sys.stderr)
        return USAGE
    return code


if __name__ == "__main__":
    sys.exit(main())
