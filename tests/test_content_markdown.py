"""Markdown: headings, items, rows and fences come with what they hold, lines stay lines."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laconic.compressors import Budget, Compressor, Document, Request
from laconic.compressors.content.laid import Laid
from laconic.compressors.content.markdown import lay
from laconic.compressors.content.markdown_blocks import blocks
from laconic.compressors.render import render

from .laid_checks import closed, cut, mutated

PAGE = """---
title: Bridges
---
# The old bridge

It was built in 1932 by Ada,
in [Paris](https://example.org/a_(b)). It cost 3 million. Nobody minded.

Rivers
------

* Seine
* Rhine, with these towns:
  * Basel
  * Cologne

  A paragraph of the Rhine.
* Elbe

## Tolls

The tolls are:

| Vehicle | Toll |
|---------|-----:|
| Car     |    3 |
| Horse   |    1 |
| Lorry   |    9 |

> A quotation. It has
> two lines.

```python
toll = 3

# half for horses
toll = toll / 2
```

1. Pay.
2. Go.

[docs]: https://example.org/docs
"""
PIECES = ["", "\n", "\n\n", "```\n", "| a | b |\n|---|---|\n", "- ", "  - x\n", "# ", "\n---\n", "    ", "> ", "\t"]


def laid(text: str, marker: str = "") -> Laid:
    found = lay(text, marker)
    assert found is not None
    return found


def kept(words: str, text: str = PAGE, marker: str = "") -> str:
    """What is written where only the unit with `words` is wanted."""
    found = laid(text, marker)
    assert found.units.heads is not None
    chosen = np.array([words in text[a:b] for a, b in zip(found.units.starts, found.units.ends, strict=True)])
    assert chosen.any()
    return render(text, *found.form(closed(chosen, found.units.heads)))


def test_blocks() -> None:
    """Every block is seen for what it is."""
    kinds = [b.kind for b in blocks(PAGE)]
    assert kinds == (
        ["fence", "heading", "paragraph", "heading"]
        + ["item"] * 4
        + ["paragraph", "item", "heading", "paragraph", "table", "lines", "fence", "item", "item", "definition"]
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            "Horse",
            "# The old bridge\n\n## Tolls\n\nThe tolls are:\n\n"
            "| Vehicle | Toll |\n|---------|-----:|\n| Horse   |    1 |",
        ),
        ("Cologne", "# The old bridge\n\nRivers\n------\n\n* Rhine, with these towns:\n  * Cologne"),
        ("half", "# The old bridge\n\n## Tolls\n\n```python\ntoll = 3\n\n# half for horses\ntoll = toll / 2\n```"),
        ("It cost", "# The old bridge\n\nIt cost 3 million."),
        ("Paris", "# The old bridge\n\nIt was built in 1932 by Ada,\nin [Paris](https://example.org/a_(b))."),
        (
            "paragraph of",
            "# The old bridge\n\nRivers\n------\n\n* Rhine, with these towns:\n\n  A paragraph of the Rhine.",
        ),
    ],
)
def test_what_comes_along(words: str, expected: str) -> None:
    """A row brings its header, an item its parent, anything its headings; code between fences is whole."""
    assert kept(words) == expected


def test_what_is_gone_is_counted() -> None:
    """The marker takes a row's place in a table, an item's in a list; nested lists say it for themselves."""
    assert kept("Horse", marker="…").endswith("| Horse   |    1 |\n| … 2 |")
    assert kept("Cologne", marker="…").endswith("* Rhine, with these towns:\n  * Cologne\n  * … 1\n* … 2")


def test_long_code_keeps_its_fences() -> None:
    """Fences stand around what is kept of long code, and nowhere where nothing of it is."""
    stanza = "".join(f"line_{n} = {n}\n" for n in range(60))
    text = f"# Code\n\n```python\n{stanza}\nwanted = 1\n\n{stanza}```\n\nAfter. Done.\n"
    assert kept("wanted", text) == "# Code\n\n```python\nwanted = 1\n\n```"
    found = laid(text)
    fences = np.array([text[a:b].startswith("```") for a, b in zip(found.units.starts, found.units.ends, strict=True)])
    assert render(text, *found.form(fences)) == ""


def test_everything_is_the_text() -> None:
    """All units kept are the text, white space at its end aside."""
    found = laid(PAGE, "…")
    assert render(PAGE, *found.form(np.ones(len(found.units), bool))) == PAGE.rstrip()


@settings(max_examples=200)
@given(seed=st.integers(0, 10**9))
def test_mutated_pages_keep_the_promises(seed: int) -> None:
    """Whatever is done to a page, units tile it, spans are in order, and no table's row is cut."""
    text = mutated(PAGE, seed, PIECES)
    if found := lay(text, "…"):
        _, at = cut(text, found, 0.3, seed)
        rows = [(a, b) for t in blocks(text) if t.kind == "table" for a, b in t.lines]
        for a, b in rows:
            assert len({i for i in at if a <= i < b and not text[i].isspace()}) in (
                0,
                sum(not c.isspace() for c in text[a:b]),
            )


@settings(max_examples=150)
@given(text=st.text(st.sampled_from("#-*|>` \n\t1.ab[]()"), max_size=120) | st.text(max_size=80))
def test_any_text_is_taken(text: str) -> None:
    """No text raises; one without structure is prose."""
    if found := lay(text, "…"):
        cut(text, found, 0.5)
    assert lay("Plain. Prose.", "") is None


def test_the_pipeline_keeps_the_row(compressor: Compressor) -> None:
    """With the embedded model the row that is asked for comes with its header, within the budget."""
    request = Request(documents=[Document(text=PAGE)], query="toll of a horse", budget=Budget(kind="rate", value=0.5))
    result = compressor(request, recipe="markdown.v1")
    assert "| Vehicle | Toll |\n|---------|-----:|\n| Horse   |    1 |" in result.text.replace(
        "| Car     |    3 |\n", ""
    )
    assert result.tokens_out <= 0.5 * result.tokens_in
