"""The tree of a document: sections, items, paragraphs, and the units in them."""

from __future__ import annotations

import httpx
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from laconic.compressors import Node, Span, Units, tree

from .strategies import texts

GUIDE = """# Guide

Intro text here. More of it.

## Install

- first step
  - nested one
- second

After the list.

Plain Title

Body.
```
# not a heading
- not an item
```
"""


def named(nodes: list[Node], text: str) -> dict[str, Node]:
    """Blocks by the line they begin with."""
    return {text[n.start : n.end].split("\n")[0].strip(): n for n in nodes if n.kind not in ("edu", "sentence")}


def test_blocks_nest() -> None:
    """Sections by level, items by indentation; what stands between fences is text."""
    nodes = tree(GUIDE, None, [])
    found = named(nodes, GUIDE)
    assert {k: v.kind for k, v in found.items()} == {
        "# Guide": "section",
        "Intro text here. More of it.": "paragraph",
        "## Install": "section",
        "- first step": "item",
        "- nested one": "item",
        "- second": "item",
        "After the list.": "paragraph",
        "Plain Title": "section",
        "Body.": "paragraph",
    }

    def above(name: str) -> str | None:
        at = found[name].parent
        return None if at is None else GUIDE[nodes[at].start :].split("\n")[0].strip()

    assert above("# Guide") is None
    assert above("Intro text here. More of it.") == above("## Install") == "# Guide"
    assert above("- first step") == above("- second") == above("After the list.") == "## Install"
    assert above("- nested one") == "- first step"
    assert above("Body.") == "Plain Title"
    assert found["# Guide"].end == len(GUIDE)


def test_kept_goes_up() -> None:
    """A node is kept where a sentence in it is."""
    at = GUIDE.index("nested")
    kept = {GUIDE[n.start : n.end].split("\n")[0].strip() for n in tree(GUIDE, None, [Span(at, at + 6)]) if n.kept}
    assert kept == {"# Guide", "## Install", "- first step", "- nested one"}


def test_units_hang_from_their_heads() -> None:
    """A discourse unit's parent is its head where both lie in one block, else the block."""
    text = "- One, because two.\n- Three."
    units = Units(starts=np.array([0, 7, 20]), ends=np.array([7, 20, 28]), heads=np.array([-1, 0, 0]))
    nodes = tree(text, units, [Span(7, 19)])
    edus = [n for n in nodes if n.kind == "edu"]
    assert [nodes[n.parent].kind for n in edus if n.parent is not None] == ["item", "edu", "item"]
    assert [n.kept for n in edus] == [False, True, False]


@settings(deadline=None, max_examples=150)
@given(text=st.one_of(texts, st.text(alphabet="#-* \n\tab.1`=)", max_size=60)))
def test_any_text(text: str) -> None:
    """Leaves tile the text, blocks hold what they are parents of, and parents form no cycle."""
    nodes = tree(text, None, [Span(0, len(text))] if text else [])
    leaves = [n for n in nodes if n.kind == "sentence"]
    assert "".join(text[n.start : n.end] for n in leaves) == text
    assert all(n.kept for n in leaves)
    for i, n in enumerate(nodes):
        if n.parent is not None:
            assert n.parent < i
            above = nodes[n.parent]
            assert above.start <= n.start < above.end


def test_over_http(address: str) -> None:
    """`return: ["tree"]` gives the nodes with the document, and nothing else gives them."""
    body = {"text": GUIDE, "budget": {"rate": 0.3}, "query": "install", "recipe": "sentence.v1"}
    asked = httpx.post(f"{address}/v1/compress", json={**body, "return": ["tree"]}).json()["documents"][0]
    assert "text" not in asked
    assert asked["tree"][0] == {"kind": "section", "start": 0, "end": len(GUIDE), "kept": True}
    kept = [n for n in asked["tree"] if n["kind"] == "sentence" and n["kept"]]
    assert 0 < len(kept) < len([n for n in asked["tree"] if n["kind"] == "sentence"])
    assert "tree" not in httpx.post(f"{address}/v1/compress", json=body).json()["documents"][0]
