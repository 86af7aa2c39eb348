"""Each kind of text is seen for what it is, prose for prose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laconic.bench.detection import files, made, measure, table
from laconic.compressors.content import LAYOUTS, auto
from laconic.compressors.content.detect import detect

from .test_content_html import PAGE as HTML
from .test_content_markdown import PAGE as MARKDOWN

PROSE = """The bridge was built in 1932. It cost 3 million - nobody minded.

In 1990 (see Fig. 3) it was painted; import duties fell.
"""
ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (HTML, "html.v1"),
        ("<div><p>One.</p><p>Two.</p></div>", "html.v1"),
        (json.dumps({"a": [1, 2]}), "json.v1"),
        ('{"a": 1}\n{"a": 2}\n', "json.v1"),
        ("[1] Ada, Bridges. [2] Bob, Tunnels.", None),
        ('{"a": 1, broken', None),
        (MARKDOWN, "markdown.v1"),
        ("# Title\n\nText with `code` and **weight**.\n", "markdown.v1"),
        ("#include <stdio.h>\n\nint main(void) {\n  return 0;\n}\n", "code.v1"),
        ("import os\n\n\ndef f(x):\n    return os.getcwd()\n", "code.v1"),
        (
            "# Use it\n\n```python\nimport os\nos.getcwd()\n```\n\nThat is all there is to say about it.\n",
            "markdown.v1",
        ),
        (PROSE, None),
        ("Public school may refer to:", None),
        ("", None),
        (" \n\ufeff", None),
    ],
)
def test_kinds(text: str, kind: str | None) -> None:
    """One small text of every kind, and some that look like another."""
    assert detect(text) == kind


def test_logs_in_their_usual_forms() -> None:
    """A dozen forms of log lines, stack traces among them."""
    assert {path: detect(text) for _, path, text in made(36)} == {f"made {i}": "log.v1" for i in range(36)}


def test_the_repository_itself() -> None:
    """Our own files are seen for what their suffixes say; the bench measures it."""
    result = measure([ROOT / "compressors", ROOT / "docs", ROOT / "service" / "playground"], 40)
    assert result["wrong"] == [] and result["accuracy"]["code.v1"] == 1 and "| markdown.v1 |" in table(result)
    assert len(list(files([ROOT / "docs"], 5))) > 5


@given(text=st.text(max_size=200) | st.text(st.sampled_from("<>#{}[]|-`:;= \n1a"), max_size=200))
def test_any_text_has_a_kind(text: str) -> None:
    """Nothing raises, the answer is a recipe or None, and `auto` lays out what it can."""
    assert detect(text) in (*LAYOUTS, None)
    laid = auto(text, "…")
    assert laid is None or laid.kind == detect(text)
