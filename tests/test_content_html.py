"""HTML: what is kept parses to the nesting it had, boilerplate goes first, and no page breaks it."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laconic.compressors import Budget, Compressor, Document, Request
from laconic.compressors.content.html import lay
from laconic.compressors.content.html_page import BLOCKS, Page
from laconic.compressors.content.html_tree import UNSEEN, parse
from laconic.compressors.content.laid import Laid
from laconic.compressors.render import render

from .laid_checks import closed, cut, mutated

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Bridges &amp; tunnels</title>
<style>p { color: red }</style><script>if (a < b && c > d) { document.write("<p>no</p>") }</script></head>
<body class="page"><!-- built <b>today</b> -->
<nav id="top"><ul><li><a href="/">Home</a><li><a href="/about">About us</a><li><a href="/map">Map</a></ul></nav>
<div class="wrap"><div class="inner"><main>
<h1 id="x">The old bridge</h1>
<p class="lead">The bridge was built in <b>1932</b> by <a href="/ada">Ada</a>. It cost 3&nbsp;million.
<p>It spans <i>two</i> rivers, H<sub>2</sub>O &lt; 5 m deep.
<h2>Traffic</h2>
<div><table class="t"><thead><tr><th>Year<th colspan="2">Cars</thead>
<tbody><tr><td>1990<td>12<td>a<tr><td>2000<td>3,400<td>b<tr><td>2010<td>9,100<td>c</table></div>
<ul>
  <li>Lorries<ul><li>heavy</li><li>light</li></ul></li>
  <li>Bicycles</li>
</ul>
<pre>  toll = 3
    # keep   this</pre>
<h2>Tolls</h2>
<dl><dt>Car<dd>Three crowns.<dt>Horse<dd>One crown.</dl>
</main></div></div>
<footer><p>All rights reserved. <a href="/c">Contact</a></p></footer></body></html>
"""
PIECES = [
    "",
    "<p>",
    "</div>",
    "<div>",
    '"',
    "<",
    "</li>",
    "<table>",
    "&",
    "<td>",
    "</p>",
    "<b>",
    "<!--",
    "-->",
    "<script>",
]


def laid(text: str, marker: str = "") -> Laid:
    found = lay(text, marker)
    assert found is not None
    return found


def nests(text: str, *, kept: bool) -> dict[int, tuple[str, ...]]:
    """The blocks around every visible character; `kept`: those only whose tags are kept."""
    page = Page(text, parse(text))
    out: dict[int, tuple[str, ...]] = {}
    todo: list[tuple[int, tuple[str, ...]]] = [(0, ())]
    while todo:
        n, path = todo.pop()
        for part in page.elements[n].parts:
            if isinstance(part, tuple):
                out |= {i: path for i in range(*part) if not text[i].isspace()}
            elif (name := page.elements[part].name) not in UNSEEN:
                named = page.tags[part] if kept else name in BLOCKS
                todo.append((part, (*path, name) if named else path))
    return out


def everything(text: str) -> str:
    found = laid(text)
    return render(text, *found.form(np.ones(len(found.units), bool)))


def test_cleaning_keeps_what_is_seen() -> None:
    """Scripts, styles, comments and attributes are never kept; tags that say what text is, and spans of cells, are."""
    out = everything(PAGE)
    assert not any(x in out for x in ("script", "color", "built <b>", "class=", "href", "<div", "<b>", "meta"))
    assert "<title>Bridges &amp; tunnels</title>" in out and '<th colspan="2">Cars' in out and "H<sub>2</sub>O" in out
    assert "<pre>  toll = 3\n    # keep   this</pre>" in out


@pytest.mark.parametrize("seed", range(12))
def test_the_nesting_stays(seed: int) -> None:
    """Every kept character lies in the blocks that it lay in, whatever is kept of the page."""
    out, at = cut(PAGE, laid(PAGE), (0.05, 0.2, 0.6)[seed % 3], seed)
    before = nests(PAGE, kept=True)
    assert {i: before[at[i]] for i in nests(out, kept=False)} == nests(out, kept=False)


def test_rows_bring_their_header_and_text_its_headings() -> None:
    """A row is kept with the table's header, a definition with its term, a paragraph with the headings above it."""
    found = laid(PAGE)
    for words, wanted in (("3,400", "Cars"), ("One crown", "Horse"), ("3,400", "Traffic"), ("light", "Lorries")):
        unit = next(
            n for n, (a, b) in enumerate(zip(found.units.starts, found.units.ends, strict=True)) if words in PAGE[a:b]
        )
        kept = np.arange(len(found.units)) == unit
        assert found.units.heads is not None
        out = render(PAGE, *found.form(closed(kept, found.units.heads)))
        assert words in out and wanted in out and "Bicycles" not in out


def test_lists_and_tables_say_what_is_gone() -> None:
    """The marker stands at the end of a list or table with the number of what is not there, where it is asked for."""
    found = laid(PAGE, "…")
    kept = np.array(["3,400" in PAGE[a:b] for a, b in zip(found.units.starts, found.units.ends, strict=True)])
    assert found.units.heads is not None
    assert "<tr><td>… 2</td></tr></table>" in render(PAGE, *found.form(closed(kept, found.units.heads)))
    assert laid(PAGE).form(kept).marks == []


def test_boilerplate_goes_first() -> None:
    """Navigation, footers and lists of links have a lower prior than what the page is about."""
    found = laid(PAGE)
    low = "".join(PAGE[a:b] for a, b, p in zip(found.units.starts, found.units.ends, found.prior, strict=True) if p < 0)
    assert "About us" in low and "rights reserved" in low and "bridge" not in low


@settings(max_examples=150)
@given(seed=st.integers(0, 10**9))
def test_malformed_pages_keep_the_promises(seed: int) -> None:
    """Whatever is done to a page, units tile it and what is kept are spans in order."""
    text = mutated(PAGE, seed, PIECES)
    if found := lay(text, "…"):
        cut(text, found, 0.2, seed)


@settings(max_examples=150)
@given(text=st.text(st.sampled_from("<>/!-\"'= abptdliu&;\n"), max_size=120) | st.text(max_size=80))
def test_any_text_is_taken(text: str) -> None:
    """No text raises; one without tags, or with nothing but tags, is no page."""
    if found := lay(text, "…"):
        cut(text, found, 0.5)
    assert lay("no tags at all, 3 < 5", "") is None and lay("<p></p><script>x</script>", "") is None


@pytest.mark.parametrize(
    "piece", ["<div>a", "<a b='", "<!--", "<b>x</i>", "<title>", "<table><tr><td>", "<li>a", "<p =="]
)
def test_time_is_linear(piece: str) -> None:
    """A hundred thousand characters of any one thing take seconds at most."""
    begun = time.process_time()
    lay(piece * (100_000 // len(piece)), "…")
    assert time.process_time() - begun < 5


def test_the_pipeline_prunes_a_page(compressor: Compressor) -> None:
    """With the embedded model, what is asked for survives a small budget among navigation and scripts."""
    request = Request(
        documents=[Document(text=PAGE)], query="What does a horse pay?", budget=Budget(kind="tokens", value=75)
    )
    result = compressor(request, recipe="html.v1")
    assert result.documents[0].kind == "html.v1" and result.tokens_out <= 75
    assert "<dt>Horse<dd>One crown." in result.text and "<script" not in result.text
