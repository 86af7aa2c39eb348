"""Examples of a page of the documentation: sources, and what commands write of them, filled in again.

A fence `title="FILE"` holds a file of docs/examples/content; one after a `laconic compress` command holds its output.
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Callable
from pathlib import Path

from laconic.compressors import RECIPES, Budget, Compressor, Document, Request

_BEFORE = re.compile(r"^(?P<fence>```|~~~)(?P<head>\w+ title=\"(?P<name>[\w.]+)\")\n.*?^(?P=fence)$", re.M | re.S)
_AFTER = re.compile(
    r"^```sh\n(?P<command>laconic compress [^\n]+)\n```\n\n(?P<fence>```|~~~)(?P<head>\w+)\n(?P<out>.*?)^(?P=fence)$",
    re.M | re.S,
)


def compress(command: str, root: Path, compressor: Compressor) -> str:
    """What a `laconic compress` command of a page writes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--recipe", default="token.v1")
    parser.add_argument("--query")
    parser.add_argument("--rate", type=float)
    args = parser.parse_args(shlex.split(command)[2:])
    budget = Budget(kind="rate", value=args.rate or RECIPES[args.recipe].rate)
    document = Document(text=(root / args.file).read_text())
    return compressor(Request(documents=[document], query=args.query, budget=budget), recipe=args.recipe).text


def filled(page: str, root: Path, compressor: Compressor) -> str:
    """The page with all its examples as they are now."""
    page = _BEFORE.sub(lambda m: fenced(m, (root / "docs" / "examples" / "content" / m["name"]).read_text()), page)
    return examples(page, lambda command: compress(command, root, compressor))


def examples(page: str, run: Callable[[str], str]) -> str:
    return _AFTER.sub(lambda m: f"```sh\n{m['command']}\n```\n\n{fenced(m, run(m['command']))}", page)


def fenced(m: re.Match[str], text: str) -> str:
    return f"{m['fence']}{m['head']}\n{text.rstrip()}\n{m['fence']}"
