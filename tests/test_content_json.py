"""JSON stays JSON: whatever is kept of it, closed under heads, parses again and is source text."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laconic.compressors.content.json import lay
from laconic.compressors.content.laid import Laid
from laconic.compressors.render import render

from .laid_checks import closed
from .strategies import texts

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.sampled_from(['x\\y"z\n', "A long sentence stands here. " * 20, "é \u2028 \\u0041", "{[,:]}"]),
)  # fmt: skip
values = st.recursive(
    scalars, lambda v: st.lists(v, max_size=6) | st.dictionaries(st.text(max_size=4), v, max_size=6), max_leaves=40
)
written = st.builds(
    lambda v, indent, plain: json.dumps(v, indent=indent, ensure_ascii=plain),
    values,
    st.sampled_from([None, 2]),
    st.booleans(),
)
lines = st.lists(values.map(lambda v: json.dumps([v])), min_size=2, max_size=5).map("\n".join)


def some(laid: Laid, seed: int) -> np.ndarray:
    """A selection of any size that the pipeline could make."""
    rng = np.random.default_rng(seed)
    assert laid.units.heads is not None
    return closed(rng.random(len(laid.units)) < rng.random() ** 3, laid.units.heads)


def check(text: str, laid: Laid, seed: int) -> str:
    """What is written of a selection: ordered, disjoint spans of the source; units tile it. The whole is the text."""
    units = laid.units
    assert units.starts[0] == 0
    assert units.ends[-1] == len(text)
    assert (units.starts[1:] == units.ends[:-1]).all()
    spans, marks = laid.form(some(laid, seed))
    flat = [at for span in spans for at in span]
    assert flat == sorted(flat)
    assert all(a < b for a, b in spans)
    assert render(text, *laid.form(np.ones(len(units), bool))) == text.rstrip()
    return render(text, spans, marks)


@settings(max_examples=150)
@given(text=written, marker=st.sampled_from(["…", "", '"\\']), seed=st.integers(0, 1 << 32))
def test_what_is_kept_parses(text: str, marker: str, seed: int) -> None:
    """Any selection of a JSON text is JSON, or nothing."""
    laid = lay(text, marker)
    if laid is not None:
        out = check(text, laid, seed)
        assert not out.strip() or json.loads(out) is not None


@settings(max_examples=60)
@given(text=lines, seed=st.integers(0, 1 << 32))
def test_lines_stay_lines(text: str, seed: int) -> None:
    """Of lines of JSON, every line that is kept is JSON."""
    laid = lay(text, "…")
    if laid is not None:
        for line in check(text, laid, seed).split("\n"):
            assert not line or json.loads(line) is not None


@given(text=st.one_of(texts, written.map(lambda t: t[:-1]), written.map(lambda t: t.replace(",", ",,"))))
def test_nothing_else_is_json(text: str) -> None:
    """What does not parse is not laid out, and nothing raises."""
    try:
        json.loads(text)
    except ValueError:
        if "\n" not in text:
            assert lay(text, "…") is None
    lay(text, "…")


@pytest.mark.parametrize("text", ["[" * 5000 + "]" * 5000, '[{"a": "' + "x. " * 50_000 + '"}]'])
def test_depth_and_length_are_no_matter(text: str) -> None:
    """Deep and long texts neither raise nor hang."""
    laid = lay(text, "…")
    assert laid is None or check(text, laid, 1) is not None
