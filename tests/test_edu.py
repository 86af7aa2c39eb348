"""Discourse units: they tile the text, depend without cycles, are selected with what they depend on, and are cached."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laconic.compressors import (
    Budget,
    Compressor,
    Document,
    InvalidRequest,
    Keep,
    Pipeline,
    Request,
    Result,
    Segment,
    Units,
    codec,
    parts,
)
from laconic.compressors.edu import EduSegmenter, assemble, depth, heads, inside, without_cycles
from laconic.compressors.types import Discourse
from laconic.compressors.units import printable, sentences
from laconic.models import HfReader, Model, TextTokenizer, marks
from laconic.service.cache import Lru, Tiers

from .strategies import keeps, requests, texts

steady = settings(deadline=None, max_examples=120)
TEXT = "Although it rained, the treaty was signed by Ada, who was tired. Lunch was late, because the cook had left."


@pytest.fixture(scope="module")
def pipeline(fake_model: Model, reader: HfReader) -> Pipeline:
    return Pipeline(parts("edu.v1", fake_model), reader)


def kept_units(result: Result, request: Request) -> list[np.ndarray]:
    """Which units of each document have a kept character that is not white space."""
    out = []
    for d, source in zip(result.documents, request.documents, strict=True):
        inside = {i for s, e in d.spans for i in range(s, e) if not source.text[i].isspace()}
        ends = zip(d.units.starts, d.units.ends, strict=True) if d.units else ()
        out.append(np.array([bool(inside & set(range(a, b))) for a, b in ends], bool))
    return out


def test_units_are_clauses(pipeline: Pipeline) -> None:
    """The fake head cuts after commas and full stops; each unit depends on the one before it in its sentence."""
    result = pipeline(Request(documents=[Document(text=TEXT)], budget=Budget(kind="rate", value=0.5)))
    units = result.documents[0].units
    assert units is not None and units.heads is not None
    found = [TEXT[a:b] for a, b in zip(units.starts, units.ends, strict=True)]
    assert found[:3] == ["Although it rained, ", "the treaty was signed by Ada, ", "who was tired. "]
    assert "".join(found) == TEXT
    assert units.heads.tolist() == [-1, 0, 1, -1, 3]


@steady
@given(request_=requests(keep=keeps))
def test_kept_units_have_their_heads(pipeline: Pipeline, request_: Request) -> None:
    """A kept unit has with it the unit of its sentence that it depends on."""
    request_ = replace(request_, unit="edu", keep=Keep(), scope="global")
    request_ = replace(request_, documents=[replace(d, compress=True, budget=None) for d in request_.documents])
    result = pipeline(request_)
    for d, kept, source in zip(result.documents, kept_units(result, request_), request_.documents, strict=True):
        if d.units is None or d.units.heads is None:
            continue
        needed = inside(d.units, sentences(printable(source.text)))
        assert needed is not None
        for unit in np.flatnonzero(kept):
            head = int(needed[unit])
            blank = head >= 0 and not source.text[d.units.starts[head] : d.units.ends[head]].strip()
            assert head < 0 or kept[head] or blank


@steady
@given(text=texts)
def test_units_tile_the_text(fake_model: Model, text: str) -> None:
    """Discourse units tile any text exactly, and their heads form no cycle."""
    made = parts("edu.v1", fake_model)
    assert made.segmenter is not None
    clean = printable(text)
    segments = made.splitter([Document(text=text)], [sentences(clean)])
    units = assemble(len(text), segments, made.segmenter(segments))
    assert "".join(clean[a:b] for a, b in zip(units.starts, units.ends, strict=True)) == clean
    assert all(a < b for a, b in zip(units.starts, units.ends, strict=True))
    if units.heads is not None:
        assert len(units.heads) == len(units)
        assert (depth(units) < max(1, len(units))).all()


@steady
@given(data=st.data(), count=st.integers(1, 12))
def test_no_cycles(data: st.DataObject, count: int) -> None:
    """Whatever the scores, following heads ends; a unit whose best link makes no cycle keeps it."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    score = rng.normal(size=(count, count + 1))
    np.fill_diagonal(score, -np.inf)
    found = without_cycles(score)
    for unit in range(count):
        seen, at = set(), unit
        while at >= 0:
            assert at not in seen
            seen.add(at)
            at = int(found[at])
    best = np.where(score.argmax(1) == count, -1, score.argmax(1))
    assert ((found == best) | (found == -1)).all()
    assert (found == -1).sum() <= max(1, (best == -1).sum() + count // 2)


def test_links_are_means_of_tokens() -> None:
    """Two units of one dimension: the second's dependent vector points at the first's head vector."""
    links = np.array([[0, 3, 0, 5], [0, 3, 0, 5], [4, 0, 0, 0], [2, 0, 0, 0]], np.float32)
    assert heads(links, np.array([0, 0, 1, 1]), (0.0,)).tolist() == [-1, 0]


def test_depth_counts_heads() -> None:
    """A chain of three: none, one and two units above."""
    units = Units(starts=np.arange(3), ends=np.arange(1, 4), heads=np.array([-1, 0, 1]))
    assert depth(units).tolist() == [0, 1, 2]


@pytest.mark.parametrize("count", [1, 2, 300])
def test_codec(count: int) -> None:
    """Packed units open exactly as they were; anything else as None."""
    made = Discourse(starts=np.arange(count) * 7, heads=np.arange(count) - 1)
    value = codec.pack_edus(made)
    opened = codec.unpack_edus(value)
    assert opened is not None
    assert np.array_equal(opened.starts, made.starts) and np.array_equal(opened.heads, made.heads)
    assert codec.unpack_edus(value[:-1]) is None
    assert codec.unpack_edus(b"") is None


def test_cached_units_are_the_same(fake_model: Model, reader: HfReader) -> None:
    """The second request cuts nothing again, and answers the same."""
    store = Tiers(Lru(1 << 20))
    cached, plain = (Pipeline(parts("edu.v1", fake_model, s), reader) for s in (store, None))
    request = Request(documents=[Document(text=TEXT * 9)], budget=Budget(kind="rate", value=0.4), query="treaty?")
    first = cached(request)
    before = fake_model.backend.forwards
    second = cached(request)
    assert fake_model.backend.forwards == before
    for found in (first, second):
        assert found.text == plain(request).text
        assert np.array_equal(found.documents[0].units.heads, plain(request).documents[0].units.heads)


def test_threshold_brings_heads(pipeline: Pipeline) -> None:
    """A threshold keeps a unit with all it depends on, however low those score."""
    request = Request(
        documents=[Document(text="It rained all day, so we stayed inside, reading treaty.")],
        budget=Budget(kind="threshold", value=0.5),
        query="treaty",
    )
    result = pipeline(request)
    units = result.documents[0].units
    kept = kept_units(result, request)[0]
    assert units is not None and units.heads is not None
    assert kept.any()
    assert all(kept[h] for h in units.heads[kept] if h >= 0)


def test_other_recipes_may_use_them(fake_model: Model, reader: HfReader) -> None:
    """`unit: edu` goes with any recipe whose model has the head; without a model it is refused."""
    request = Request(documents=[Document(text=TEXT)], budget=Budget(kind="rate", value=0.5), unit="edu")
    for recipe in ("token.v1", "late.v1"):
        units = Pipeline(parts(recipe, fake_model), reader)(request).documents[0].units
        assert units is not None and units.heads is not None
    with pytest.raises(InvalidRequest, match="discourse"):
        Pipeline(parts("lexical.v1", None), reader)(request)
    bare = replace(fake_model, card=replace(fake_model.card, edu=None))
    with pytest.raises(InvalidRequest, match="discourse"):
        parts("edu.v1", bare)


def test_marks() -> None:
    """Marks by hand: a line break, a word that goes on, marks before, capitals."""
    tokenizer_spans = np.array([[0, 3], [3, 5], [5, 6], [7, 9], [10, 11], [11, 14]])
    text = "Unhim, it\n(Yes"
    found = marks(text, tokenizer_spans)
    assert found[:, 0].tolist() == [0, 0, 0, 0, 1, 0]
    assert found[:, 1].tolist() == [0, 1, 0, 0, 0, 0]
    assert found[:, 2].tolist() == [0, 0, 0, 1, 0, 1]
    assert found[:, 4].tolist() == [1, 0, 0, 0, 0, 1]
    assert found[:, 5].tolist() == [1, 1, 0, 1, 0, 1]
    assert marks("", np.zeros((0, 2), np.int64)).shape == (0, 6)


def test_a_bullet_goes_with_its_item(compressor: Compressor) -> None:
    """No unit is a mark alone, unless that is its whole line."""
    text = "- The film failed in Oslo\n- Critics praised it\n***\nThe end came."
    request = Request(documents=[Document(text=text)], budget=Budget(kind="threshold", value=0.0))
    units = compressor(request, recipe="edu.v1").documents[0].units
    assert units is not None
    found = [text[a:b] for a, b in zip(units.starts, units.ends, strict=True)]
    assert found == ["- The film failed in Oslo\n", "- Critics praised it\n", "***\n", "The end came."]


def test_a_segment_without_tokens(fake_model: Model, tokenizer: TextTokenizer) -> None:
    """A segment of characters that the tokenizer drops is one unit."""
    assert fake_model.card.edu is not None
    made = EduSegmenter(fake_model.backend, tokenizer, fake_model.card.edu)
    found = made([Segment(document=0, start=0, text="\u200b\x00")])
    assert found[0].starts.tolist() == [0]
    assert found[0].heads.tolist() == [-1]


CLAUSES = [
    "Although it rained all day, ",
    "the treaty was signed by Ada Lovelace, ",
    "who had travelled from London ",
    "because her ship was late. ",
    "Lunch was served ",
    "when the ceremony ended, ",
    "and the guests danced until midnight. ",
]


def test_the_embedded_model_finds_clauses(compressor: Compressor) -> None:
    """Real weights: the clauses of plain sentences, a relative clause after what it describes, within the budget."""
    document = Document(text="".join(CLAUSES).rstrip())
    request = Request(documents=[document], budget=Budget(kind="rate", value=0.4), query="Who signed the treaty?")
    result = compressor(request, recipe="edu.v1")
    units = result.documents[0].units
    assert units is not None and units.heads is not None
    found = [document.text[a:b].rstrip() for a, b in zip(units.starts, units.ends, strict=True)]
    assert found == [c.rstrip() for c in CLAUSES]
    assert units.heads[2] == 1
    assert "signed by Ada Lovelace" in result.text
    assert result.tokens_out <= 0.4 * result.tokens_in
