"""Hooks of the documentation site: pages that stand elsewhere in the repository, and links between all of them.

Files keep their links as the repository has them, so that they also work where the repository is read.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
ELSEWHERE = {
    "index.md": "README.md",
    "architecture.md": "ARCHITECTURE.md",
    "changelog.md": "CHANGELOG.md",
    "glossary.md": "GLOSSARY.md",
    "log.md": "bench/LOG.md",
}
PAGES = {source: page for page, source in ELSEWHERE.items()}
ROOMS = ("client", "compressors", "models")
MADE = (*ELSEWHERE, "settings.md", *(f"reference/{room}.md" for room in (*ROOMS, "wire")))
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_startup(**_: object) -> None:
    """The rooms as the package they are imported as, for what reads their docstrings."""
    layout = ROOT / "build" / "layout" / "laconic"
    layout.mkdir(parents=True, exist_ok=True)
    for room in ROOMS:
        link = layout / room
        link.unlink(missing_ok=True)  # it may lead nowhere, or to another checkout
        link.symlink_to(ROOT / room)


def on_config(config: MkDocsConfig) -> None:
    """A folder in the navigation stands for its pages; a page that is not there is left out."""
    config.nav = list(entries(config.nav or []))


def entries(nav: list[Any]) -> Iterator[Any]:
    for entry in nav:
        if isinstance(entry, str):
            if entry in MADE or (ROOT / "docs" / entry).exists():
                yield entry
            continue
        ((title, value),) = entry.items()
        if isinstance(value, str) and value.endswith("/"):
            yield {title: [f"{value}{p.name}" for p in sorted((ROOT / "docs" / value).glob("*.md"))]}
        elif isinstance(value, str):
            yield from ({title: found} for found in entries([value]))
        else:
            yield {title: list(entries(value))}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for page, source in ELSEWHERE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    files.append(File.generated(config, "settings.md", content=settings()))
    files.append(File.generated(config, "reference/wire.md", content="# The wire\n\n::: laconic.client.wire\n"))
    for room in ROOMS:
        files.append(File.generated(config, f"reference/{room}.md", content=reference(room)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links that are right in the repository become right on the site; what is not on it is named without one."""
    here = page.file.src_uri
    folder = posixpath.dirname(ELSEWHERE.get(here, f"docs/{here}"))

    def moved(found: re.Match[str]) -> str:
        image, text, target, anchor = found.groups(default="")
        target = posixpath.normpath(posixpath.join(folder, target))
        if (ROOT / target).is_dir():
            target = min(f"{target}/{p.name}" for p in (ROOT / target).glob("*.md"))
        there = PAGES.get(target) or target.removeprefix("docs/")
        if target not in PAGES and not target.startswith("docs/"):
            return text
        return f"{image}[{text}]({posixpath.relpath(there, posixpath.dirname(here) or '.')}{anchor})"

    return LINK.sub(moved, markdown)


def settings() -> str:
    """Every setting with its flag, its variable and what it is, as the service itself has them."""
    from laconic.service.settings import Settings

    rows = [
        "# Settings",
        "",
        "A flag of `laconic serve`, a variable or a line of `laconic.toml` (the name without `--`,",
    ]
    rows += ["with underscores); the first of these that says something counts.", ""]
    rows += ["| flag | variable | default | |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "–" if field.default_factory or field.default is None else f"`{field.default}`"
        flag = f"--{name.replace('_', '-')}"
        rows.append(f"| `{flag}` | `LACONIC_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows) + "\n"


def reference(room: str) -> str:
    """A room's public names, each with its docstring."""
    module = ast.parse((ROOT / room / "__init__.py").read_text())
    lists = (n.value for n in module.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__all__")
    names = [name for found in lists for name in ast.literal_eval(found)]
    title = f"# laconic.{room}\n\n{ast.get_docstring(module)}\n\n"
    tables = "    options: {show_attribute_values: false}\n"  # a table's rows are not for reading as code
    return title + "".join(f"::: laconic.{room}.{n}\n{tables if n.isupper() else ''}\n" for n in names)
