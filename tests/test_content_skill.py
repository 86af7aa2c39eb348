"""Instruction files: what an agent chooses a skill by and what it must do outlive what the skill is like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from laconic.compressors import Budget, Compressor, Document, Request
from laconic.compressors.content.skill import front_matter, lay
from laconic.compressors.render import render

from .strategies import texts
from .test_content_json import check

SAMPLE = (Path(__file__).parent.parent / "docs" / "examples" / "content" / "skill.md").read_text()


def order() -> list[str]:
    """The units of the sample by what they are worth without a query or a model, best first."""
    laid = lay(SAMPLE, "…")
    assert laid is not None
    best = np.argsort(-laid.prior, kind="stable")
    return [SAMPLE[laid.units.starts[n] : laid.units.ends[n]].strip() for n in best]


def test_routing_links_rules_then_background() -> None:
    """Name and description first, then links, rules and steps; examples and background last."""
    ranked = order()
    first = ("description: Writes", "references/labels.md", "Never mention", "Group changes")
    last = ("usually a nice", "by hand", "For example")
    place = [next(n for n, said in enumerate(ranked) if key in said) for key in (*first, *last)]
    assert place == sorted(place)


@settings(max_examples=80)
@given(
    text=st.one_of(texts, st.sampled_from([SAMPLE, SAMPLE[120:], SAMPLE.replace("\n", "\r\n")])),
    seed=st.integers(0, 999),
)
def test_nothing_is_made_up(text: str, seed: int) -> None:
    """Whatever is kept is source text in order, and everything is the text."""
    for given_ in (text, f"---\nname: x\n---\n{text}", f"---\n\n{text}"):
        laid = lay(given_, "…")
        if laid is not None:
            check(given_, laid, seed)


def test_front_matter_stays_between_its_lines() -> None:
    """A field brings both lines of its front matter, and the body begins on a line of its own."""
    laid = lay(SAMPLE, "")
    assert laid is not None
    kept = np.zeros(len(laid.units), bool)
    kept[[0, 1, len(laid.units) - 1]] = True
    kept[next(n for n, a in enumerate(laid.units.ends) if a == front_matter(SAMPLE))] = True
    assert render(SAMPLE, *laid.form(kept)).startswith("---\nname: release-notes\n---\n")
    kept[0] = False
    assert "---" not in render(SAMPLE, *laid.form(kept))


def test_the_pipeline_keeps_the_rules(compressor: Compressor) -> None:
    """At half of the tokens name, description, link and rules are there, and the background is not."""
    request = Request(documents=[Document(text=SAMPLE)], budget=Budget(kind="rate", value=0.5))
    result = compressor(request, recipe="skill.v1")
    for said in ("name: release-notes", "description: Writes", "`references/labels.md`", "Never mention"):
        assert said in result.text
    assert "by hand" not in result.text
    assert result.documents[0].kind == "skill.v1"
    assert result.tokens_out <= 0.5 * result.tokens_in
