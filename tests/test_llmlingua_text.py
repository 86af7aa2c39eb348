"""What `PromptCompressor` reads and writes around texts: tags, JSON and quotations, ours and the package's."""

from __future__ import annotations

import json
import math
import random
import re
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from laconic.compressors import InvalidRequest
from laconic.compressors.llmlingua import PromptCompressor, jsondata, tags
from laconic.compressors.llmlingua.recover import recover
from laconic.compressors.llmlingua.tags import Tagged
from laconic.models import TextTokenizer

from .needs import NEEDS_PEER
from .strategies import texts

TOWER = "The Eiffel Tower was built in 1889 by Gustave Eiffel. It stands in Paris. It is made of iron."
TREATY = "It rained that day. The treaty was signed by Ada in 1932. Lunch was good and everyone was happy about it."


@pytest.fixture(scope="module")
def front() -> PromptCompressor:
    return PromptCompressor(device_map="cpu")


# --- tags ---


def test_nothing_between_tags_is_lost() -> None:
    """Untagged text is a segment of its own; arguments come in any order; "<" is text."""
    text = "a < b<llmlingua, compress=False, rate=0.3>if x<y: </llmlingua> mid <llmlingua,rate = 0.4>z</llmlingua>\n"
    assert tags.segments(text) == [
        Tagged("a < b", None, True),
        Tagged("if x<y: ", 0.3, False),
        Tagged(" mid ", None, True),
        Tagged("z", 0.4, True),
        Tagged("\n", None, True),
    ]


def test_what_only_looks_like_a_tag_is_text() -> None:
    """A longer name is another word."""
    assert tags.segments("<llmlingua2> and <llmlingua-x>") == [Tagged("<llmlingua2> and <llmlingua-x>")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<llmlingua>a", "not closed"),
        ("a</llmlingua>", "closes no tag"),
        ("<llmlingua>a<llmlingua>b</llmlingua></llmlingua>", "do not nest"),
        ("<llmlingua rate=0.4>a</llmlingua>", "not of the form"),
        ("<llmlingua, speed=3>a</llmlingua>", "not of the form"),
        ("<llmlingua, rate=0.4, rate=0.5>a</llmlingua>", "not of the form"),
        ("<llmlingua, rate=0.4", "not of the form"),
        ("<llmlingua, rate=1.5>a</llmlingua>", "in (0, 1]"),
        ("<llmlingua, rate=0>a</llmlingua>", "in (0, 1]"),
        ("<llmlingua, rate=nan>a</llmlingua>", "in (0, 1]"),
        ("<llmlingua, rate=fast>a</llmlingua>", "in (0, 1]"),
        ("<llmlingua, compress=maybe>a</llmlingua>", "True or False"),
    ],
)
def test_malformed_tags_raise(front: PromptCompressor, text: str, says: str) -> None:
    """The message says what is wrong, `param` which context it is in."""
    with pytest.raises(InvalidRequest, match=re.escape(says)) as e:
        front.structured_compress_prompt(["fine", text])
    assert e.value.param == "context.1"


content = texts.filter(lambda t: "llmlingua" not in t)
pieces = st.lists(
    st.builds(Tagged, content.filter(bool), st.sampled_from([None, 0.3, 1.0]), st.booleans()), min_size=1, max_size=5
)


def written(found: list[Tagged]) -> str:
    """Segments as a prompt; those with the defaults stand outside tags."""
    out = []
    for text, rate, compress in found:
        head = f"{'' if rate is None else f', rate={rate}'}{'' if compress else ', compress=False'}"
        out.append(f"<llmlingua{head}>{text}</llmlingua>" if head else text)
    return "".join(out)


@given(found=pieces)
def test_tags_read_back(found: list[Tagged]) -> None:
    """What was written in tags and around them is what is read, neighbours outside tags joined."""
    wanted: list[Tagged] = []
    for t in found:
        if wanted and t[1:] == wanted[-1][1:] == (None, True):
            wanted[-1] = wanted[-1]._replace(text=wanted[-1].text + t.text)
        else:
            wanted.append(t)
    assert tags.segments(written(found)) == wanted


# --- JSON ---

DATA = {
    "id": 7,
    "ratio": 0.25,
    "title": "A title that stays as it is",
    "tags": ["a first tag of quite many words", 3, None, ["and one that is nested in a list"]],
    "more": {"x": "some text that is long enough to compress", "y": True, "\u00e9/~": "and here is some more of it"},
    "note": "this one may be left out if there is no room for it",
}
KINDS = {"id": "int", "ratio": "number", "title": "str", "tags": "list", "more": "dict", "note": "string"}
CONFIG = {
    k: {"rate": 0.5, "compress": k != "title", "value_type": v, "pair_remove": k == "note"} for k, v in KINDS.items()
}


def test_json_keeps_its_shape(front: PromptCompressor) -> None:
    """Same keys and types; numbers, null and what is not to be compressed stay; texts shrink to their rates."""
    found = front.compress_json(DATA, CONFIG)
    out = found["compressed_prompt"]
    same(DATA, out)
    assert out["title"] == DATA["title"]
    places = {d["id"]: d for d in found["documents"]}
    assert set(places) == {"/tags/0", "/tags/3/0", "/more/x", "/more/\u00e9~1~0", "/note"}
    assert all(0 < d["tokens_out"] <= d["tokens_in"] / 2 for d in places.values())


def test_json_pairs_go_only_where_they_may(front: PromptCompressor) -> None:
    """With the key-value filter, the pair that may go does; `target_token` is met; `reorder_keyvalue` sorts keys."""
    found = front.compress_json(
        DATA, CONFIG, question="title?", target_token=80, use_keyvalue_level_filter=True, context_budget="*1"
    )
    assert list(found["compressed_prompt"]) == [k for k in DATA if k != "note"]
    assert found["compressed_tokens"] <= 80
    assert not found["warnings"]
    ordered = front.compress_json(DATA, CONFIG, question="note left out", reorder_keyvalue="sort", rank_method="bm25")
    assert next(iter(ordered["compressed_prompt"])) == "note"


def same(a: Any, b: Any) -> None:
    """Raises where two values differ in more than their texts."""
    if isinstance(a, dict):
        assert list(a) == list(b)
        for k in a:
            same(a[k], b[k])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif isinstance(a, str):
        assert isinstance(b, str)
        assert len(b) <= len(a)
    else:
        assert b == a
        assert type(b) is type(a)


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**9), 10**9), st.floats(-1e6, 1e6), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)


@settings(deadline=None, max_examples=40)
@given(
    data=st.dictionaries(texts, values, max_size=4),
    rate=st.sampled_from([None, 0.01, 0.4, 1]),
    kind=st.sampled_from([*sorted(jsondata.KNOWN)]),
    target=st.sampled_from([-1, 1, 30]),
    removable=st.booleans(),
)
def test_any_json_stays_json(
    front: PromptCompressor, data: dict[str, Any], rate: float | None, kind: str, target: int, removable: bool
) -> None:
    """Whatever the texts: valid JSON, the same keys and types, nothing within values lost but text."""
    config = {k: {"rate": rate, "value_type": kind, "pair_remove": removable} for k in data}
    found = front.compress_json(data, config, target_token=target, use_keyvalue_level_filter=True)
    out = found["compressed_prompt"]
    assert json.loads(json.dumps(out, allow_nan=False)) == out
    assert set(out) == set(data) if not removable else set(out) <= set(data)
    same({k: data[k] for k in out}, out)
    assert found["compressed_tokens"] <= max(target, 0) or target == -1 or found["warnings"]


@pytest.mark.parametrize(
    ("data", "config", "param"),
    [
        ({"a": "x"}, {}, "json_config"),
        ({"a": "x"}, ["a"], "json_config"),
        ({"a": "x"}, "nowhere.yaml", "json_config"),
        ({"a": "x"}, {"a": {"rat": 1}}, "json_config.a"),
        ({"a": "x"}, {"a": {"rate": 2}}, "json_config.a.rate"),
        ({"a": "x"}, {"a": {"rate": True}}, "json_config.a.rate"),
        ({"a": "x"}, {"a": {"value_type": "set"}}, "json_config.a.value_type"),
        ({"a": "x"}, {"a": {"compress": "no"}}, "json_config.a.compress"),
        ({"a": {1, 2}}, {"a": {}}, "json_data"),
        ({"a": math.nan}, {"a": {}}, "json_data"),
        ({1: "x"}, {1: {}}, "json_data"),
        (["x"], {}, "json_data"),
    ],
)
def test_bad_json_raises(front: PromptCompressor, data: Any, config: Any, param: str) -> None:
    """`param` names what is wrong, down to the field."""
    with pytest.raises(InvalidRequest) as e:
        front.compress_json(data, config)
    assert e.value.param == param


def test_configuration_in_yaml(front: PromptCompressor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is read as YAML; a broken file and a missing package are told apart."""
    pytest.importorskip("yaml", reason="PyYAML is not installed")
    path = tmp_path / "config.yaml"
    path.write_text("a: {rate: 0.5, compress: false, value_type: str, pair_remove: false}\n")
    assert front.compress_json({"a": TOWER}, str(path))["compressed_prompt"] == {"a": TOWER}
    path.write_text("a: [\n")
    with pytest.raises(InvalidRequest, match="cannot be read"):
        front.compress_json({"a": TOWER}, path)
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(InvalidRequest, match="pip install pyyaml"):
        front.compress_json({"a": TOWER}, path)


# --- quotations ---


def test_quotations_are_source_text(front: PromptCompressor) -> None:
    """What a response takes from the compressed prompt is quoted in full; the rest stays."""
    original = "The quick brown fox jumps over the lazy dog. It was happy."
    assert front.recover(original, "quick fox lazy dog", "A quick fox is a lazy dog indeed") == (
        "A quick brown fox is a lazy dog indeed"
    )


@given(original=texts, compressed=texts, response=texts)
@example("", "", "")
@example("a b", "a  b", "a  b")
def test_recover_never_raises(front: PromptCompressor, original: str, compressed: str, response: str) -> None:
    """Empty and odd input: words that are not in the prompt come back as they were."""
    found = front.recover(original, compressed, response)
    assert all(w in compressed or w in found.split(" ") for w in response.split(" "))
    assert front.recover(original, "", response) == response


# --- beside the package ---


@pytest.fixture(scope="module")
def package() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("llmlingua", reason=NEEDS_PEER)


TAGS = """<llmlingua>
<llmlingua, rate=0.4>
<llmlingua, compress=False>
<llmlingua,rate = .3 , compress=True >
<llmlingua, compress=False, rate=0.2>
<llmlingua, rate=0.1, rate=0.2>
<llmlingua, rate=0.5, rate=0.5, rate=0.5>
<llmlingua, compress=True, rate=0.5, compress=False>
<llmlingua, rate=0>
<llmlingua, rate=1.5>
<llmlingua, rate=0..4>
<llmlingua, compress=no>
<llmlinguax>
<llmlingua rate=1>
<llmlingua
</llmlingua
, rate=0.3>
a < b
x>y"""
FRAGMENTS = [*TAGS.splitlines(), "\n", " ", *["some text", "more of it. ", "</llmlingua>"] * 4]


def test_legacy_tags_are_the_packages(package: Any) -> None:
    """Mixtures of tags whole and broken: the same texts, segments, rates and flags, or neither reads them."""
    rng = random.Random(6)
    read = 0
    for _ in range(2000):
        context = ["".join(rng.choices(FRAGMENTS, k=rng.randint(0, 9))) for _ in range(rng.randint(1, 3))]
        rate = rng.choice((0.5, 0.25, 1.0))
        try:
            wanted = package.PromptCompressor.segment_structured_context(None, context, rate)
        except (AssertionError, ValueError):
            with pytest.raises(InvalidRequest):
                tags.legacy(context, rate)
            continue
        assert tags.legacy(context, rate) == wanted
        read += sum(map(len, wanted[1]))
    assert read > 500


def test_legacy_json_is_the_packages(package: Any) -> None:
    """The same tagged texts and the same numbers of those that stay, for every type, quotes and all."""
    from llmlingua.utils import process_structured_json_data

    data = {
        "s": 'a "quoted" text \u00e9',
        "string": 5,
        "i": 12.9,
        "f": "2",
        "b": "TRUE",
        "boolean": False,
        "l": ['one "1"', 2],
        "empty": [],
        "d": {"x": 1, "y": ["z"]},
        "t": ("p", "q"),
        "k\n": "key",
    }
    kinds = ("str", "string", "int", "number", "bool", "boolean", "list", "List", "dictionary", "tuple", "str")
    rng = random.Random(1)
    for _ in range(200):
        keys = rng.sample(list(data), rng.randint(0, len(data)))
        config = {
            k: {"rate": rng.choice((0.4, 1, 0.125)), "compress": rng.random() < 0.8, "pair_remove": rng.random() < 0.5}
            | {"value_type": dict(zip(data, kinds, strict=True))[k]}
            for k in keys
        }
        part = {k: data[k] for k in keys}
        assert jsondata.legacy(part, config) == process_structured_json_data(part, config)
    for value, kind in (("x", "set"), ("maybe", "bool")):
        with pytest.raises(InvalidRequest):
            jsondata.legacy({"a": value}, {"a": {**config_of(kind)}})


def config_of(kind: str) -> dict[str, Any]:
    return {"rate": 0.5, "compress": True, "value_type": kind, "pair_remove": False}


def test_recover_is_the_packages(package: Any, tokenizer: TextTokenizer) -> None:
    """Responses out of the words of random prompts: the same quotations, wherever the package has any."""
    rng = random.Random(2)
    words = [*TREATY.split(), *TOWER.split()]

    def encode(text: str) -> list[int]:
        return list(tokenizer.encode([text])[0].ids)

    stub = SimpleNamespace(
        tokenizer=type(
            "Stub",
            (),
            {
                "__call__": lambda self, text, add_special_tokens: {"input_ids": encode(text)},
                "decode": lambda self, ids: tokenizer.inner.decode(ids),
            },
        )()
    )
    compared = quoted = 0
    for _ in range(400):
        original = rng.choices(words, k=rng.randint(1, 40))
        compressed = " ".join(w for w in original if rng.random() < 0.5)
        response = " ".join(rng.choices([*words, *original, "other", ""], k=rng.randint(0, 12)))
        try:
            wanted = package.PromptCompressor.recover(stub, " ".join(original), compressed, response)
        except IndexError:  # an empty word
            continue
        found = recover(" ".join(original), compressed, response, encode, lambda ids: tokenizer.inner.decode(list(ids)))
        assert found == wanted
        compared, quoted = compared + 1, quoted + (wanted != response)
    assert compared > 150 < quoted + 100
