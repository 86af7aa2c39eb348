"""`PromptCompressor`: tags, JSON and quotations, calls over the embedded model, and all of it beside the package."""

from __future__ import annotations

import inspect
import logging
import math
import random
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import laconic.compressors.llmlingua as room
from laconic.bench import parity, parity_causal
from laconic.compressors import InvalidRequest, UnknownName
from laconic.compressors.llmlingua import PromptCompressor, opening, tags
from laconic.compressors.llmlingua.arguments import LIMITED, NEEDS, Wishes, context_tokens
from laconic.compressors.llmlingua.plan import labelled, outer, without_repeats
from laconic.compressors.llmlingua.tags import Tagged
from laconic.compressors.types import Span
from laconic.models import ModelError

from .needs import NEEDS_PEER
from .strategies import texts
from .test_llmlingua_text import config_of, pieces, written

TOWER = "The Eiffel Tower was built in 1889 by Gustave Eiffel. It stands in Paris. It is made of iron."
FRUIT = "Bananas are yellow. They grow in warm countries. Monkeys like them a lot."
TREATY = "It rained that day. The treaty was signed by Ada in 1932. Lunch was good and everyone was happy about it."
CONTEXTS = [TOWER, FRUIT, TREATY]
ASKED = "Who signed the treaty?"
METHODS = (
    "compress_prompt",
    "compress_prompt_llmlingua2",
    "structured_compress_prompt",
    "compress_json",
    "recover",
    "get_token_length",
)


@pytest.fixture(scope="module")
def front() -> PromptCompressor:
    return PromptCompressor(device_map="cpu")


@pytest.fixture(scope="module")
def lexical() -> PromptCompressor:
    return PromptCompressor(device_map="cpu", recipe="lexical.v1")


def tokens(front: PromptCompressor, text: str) -> int:
    return front.get_token_length(text, use_oai_tokenizer=True)


# --- calls over the embedded model ---


def test_no_arguments_no_network(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's defaults work offline: an embedded model, and the CPU, with a line in the log, without a GPU."""
    monkeypatch.setattr(opening, "has_gpu", lambda: False)
    with caplog.at_level(logging.WARNING):
        found = PromptCompressor()(CONTEXTS, question=ASKED)
    assert "signed by Ada" in found["compressed_prompt"]
    assert [r.message for r in caplog.records] == ["device_map='cuda': running on the CPU instead"]


def test_answers_have_the_packages_keys_and_ours(front: PromptCompressor) -> None:
    """Counts are of the whole prompt; spans give each context's text; scores say which context it was."""
    found = front.compress_prompt(CONTEXTS, instruction="Answer briefly.", question=ASKED, rate=0.5)
    prompt = found["compressed_prompt"]
    assert prompt.startswith("Answer briefly.\n\n")
    assert prompt.endswith(f"\n\n{ASKED}")
    assert found["origin_tokens"] == tokens(front, "\n\n".join(["Answer briefly.", *CONTEXTS, ASKED]))
    assert found["compressed_tokens"] == tokens(front, prompt) <= found["origin_tokens"] / 2
    assert found["ratio"] == f"{found['origin_tokens'] / found['compressed_tokens']:.1f}x"
    assert found["rate"].endswith("%")
    assert found["saving"] == ", Saving $0.0 in GPT-4."
    assert found["compressed_prompt_list"] == [d["text"] for d in found["documents"] if d["text"]]
    for text, d in zip(CONTEXTS, found["documents"], strict=True):
        assert d["text"] == "".join(text[a:b] for a, b in d["spans"])
    scores = [d["score"] for d in found["documents"]]
    assert max(scores) == scores[2]
    assert all(0 < s < 1 for s in scores)


def test_rate_one_changes_nothing(front: PromptCompressor) -> None:
    """Byte for byte, white space and all."""
    odd = [" a\n", "", "b  c "]
    assert front(odd, rate=1.0)["compressed_prompt"] == " a\n\n\nb  c "
    assert front(odd[0], rate=1)["compressed_prompt"] == " a\n"


def test_a_string_is_one_context(front: PromptCompressor) -> None:
    assert front(TREATY, rate=0.4) == front([TREATY], rate=0.4)


def test_question_counts_in_the_rate(front: PromptCompressor) -> None:
    """Left out of the prompt, it leaves its room to the contexts; named tokens are of the contexts alone."""
    total = tokens(front, "\n\n".join([*CONTEXTS, ASKED]))
    without = front(CONTEXTS, question=ASKED, rate=0.5, concate_question=False)
    assert ASKED not in without["compressed_prompt"]
    assert total / 2 - 3 < without["compressed_tokens"] <= total / 2
    named = front(CONTEXTS, question=ASKED, target_token=20)
    assert 17 < sum(tokens(front, t) for t in named["compressed_prompt_list"]) <= 20
    assert named["compressed_prompt"].endswith(ASKED)


def test_instruction_may_join_the_query(front: PromptCompressor) -> None:
    """`add_instruction`: what is asked for in the instruction is kept."""
    plain, joined = (
        front(CONTEXTS, "Who built the Eiffel Tower?", "Say it.", target_token=12, add_instruction=a)["documents"]
        for a in (False, True)
    )
    assert joined[0]["score"] > 2 * plain[0]["score"]


def test_context_filter_decides_who_competes(front: PromptCompressor) -> None:
    """On, what matters less goes first; off, every context keeps its share, as do those forced to stay."""
    on = front(CONTEXTS, question=ASKED, target_token=21)
    assert [bool(d["text"]) for d in on["documents"]] == [False, False, True]
    off = front(CONTEXTS, question=ASKED, target_token=30, use_context_level_filter=False)
    assert all(d["tokens_in"] / 2 - 4 < d["tokens_out"] <= d["tokens_in"] / 2 for d in off["documents"])
    forced = front(CONTEXTS, question=ASKED, target_token=30, force_context_ids=[1])
    share = [d["tokens_out"] for d in forced["documents"]]
    assert 5 <= share[1] <= 10
    assert share[0] < share[2]
    best = front(CONTEXTS, question="What do monkeys like?", target_token=30, force_context_number=1)
    assert best["documents"][1]["tokens_out"] >= 5


def test_limits_of_contexts(front: PromptCompressor) -> None:
    """A number of contexts, a share of their tokens, tokens, and a budget over those wanted."""
    for limit in (
        {"target_context": 1},
        {"context_level_rate": 0.2},
        {"context_level_target_token": 5},
        {"context_budget": "*0.1"},
    ):
        found = front(CONTEXTS, question=ASKED, rate=0.9, **limit)
        assert [bool(d["text"]) for d in found["documents"]] == [False, False, True], limit
    both = front(CONTEXTS, question=ASKED, rate=0.9, target_context=1, force_context_ids=[0])
    assert [bool(d["text"]) for d in both["documents"]] == [True, False, False]
    two = front(CONTEXTS, rate=1.0, target_context=2)
    assert sorted(two["compressed_prompt_list"])[0] in CONTEXTS
    assert len(two["compressed_prompt_list"]) == 2


def test_order_of_contexts(front: PromptCompressor) -> None:
    """Best first, or best at both ends."""
    sort, ends = (
        front(CONTEXTS, question=ASKED, rate=1.0, reorder_context=o)["compressed_prompt_list"]
        for o in ("sort", "two_stage")
    )
    assert sort[0] == ends[0] == TREATY
    assert ends == [sort[0], sort[2], sort[1]]


def test_rates_by_rank(front: PromptCompressor) -> None:
    """The best context's rate is raised, the last one's lowered, none is dropped."""
    found = front(CONTEXTS, question=ASKED, target_token=34, dynamic_context_compression_ratio=0.3)
    rates = {d["id"]: d["tokens_out"] / d["tokens_in"] for d in found["documents"]}
    assert rates["2"] > 0.7
    assert 0.05 < min(rates.values()) < 0.4


def test_ranks_without_a_model(front: PromptCompressor) -> None:
    """BM25 and compression distance rank by words in common."""
    for method in ("bm25", "gzip"):
        found = front(CONTEXTS, question="Monkeys like bananas a lot?", rate=0.8, target_context=1, rank_method=method)
        assert [bool(d["text"]) for d in found["documents"]] == [False, True, False]


def test_sentences_and_whole_contexts(front: PromptCompressor) -> None:
    """Without the token filter nothing smaller than a sentence, or a context, is left out."""
    some = front(
        CONTEXTS, question=ASKED, target_token=24, use_sentence_level_filter=True, use_token_level_filter=False
    )
    assert "The treaty was signed by Ada in 1932." in some["compressed_prompt"]
    for text in some["compressed_prompt_list"]:
        source = next(c for c in CONTEXTS if text[:10] in c)
        assert all(f"{s}." in source for s in text.rstrip(".").split(". "))
    whole = front(CONTEXTS, question=ASKED, target_token=50, use_token_level_filter=False)
    assert whole["compressed_prompt_list"][-1] == TREATY
    assert set(whole["compressed_prompt_list"]) < set(CONTEXTS)
    first = front(CONTEXTS, question=ASKED, target_token=26, use_sentence_level_filter=True, token_budget_ratio=1.0)
    assert first["compressed_tokens"] <= 26 + tokens(front, ASKED)
    none = front(TREATY, target_token=5, use_token_level_filter=False)
    assert none["compressed_prompt"] == TREATY
    assert none["warnings"] == ["every filter is off: nothing is compressed"]


def test_sentences_that_are_kept(front: PromptCompressor) -> None:
    """The first and the last of all contexts, or the best of each, whatever the filters are."""
    ends = front(CONTEXTS, target_token=40, keep_first_sentence=1, keep_last_sentence=1)["compressed_prompt"]
    assert ends.startswith("The Eiffel Tower was built in 1889 by Gustave Eiffel.")
    assert ends.endswith("Lunch was good and everyone was happy about it.")
    best = front(CONTEXTS, question=ASKED, target_token=40, keep_sentence_number=1)["compressed_prompt_list"]
    assert len(best) == 3
    assert "The treaty was signed by Ada in 1932." in best[2]
    assert outer(["It rained. We left. ", "Why?"], 1, 2) == [(0, 0, 10), (0, 11, 19), (1, 0, 4)]


def test_forced_strings_and_digits(front: PromptCompressor) -> None:
    """Units with a string or a digit stay; repeats go if asked."""
    found = front(CONTEXTS, target_token=16, force_tokens=["Monkeys", "Paris"], force_reserve_digit=True)
    assert all(word in found["compressed_prompt"] for word in ("Monkeys", "Paris", "1889", "1932"))
    breaks = "one two\n\n\nthree four\n\n\nfive six seven eight nine ten"
    kept, dropped = (
        front(breaks, rate=0.5, force_tokens=["\n"], drop_consecutive=d)["compressed_prompt"] for d in (False, True)
    )
    assert "\n\n\n" in kept
    assert dropped.count("\n") == 2
    assert dropped.replace("\n", "") == kept.replace("\n", "")
    split = front("First lines here.\n\nSecond lines there. " * 5, rate=0.3, keep_split=True)["compressed_prompt"]
    assert split.count("here.") == 5
    assert split.count("\n\n") == 4  # and none at the end


def test_what_must_stay_may_exceed_the_budget(front: PromptCompressor) -> None:
    """Then it stays, and a warning says by how much."""
    found = front(TREATY, target_token=1, force_tokens=["rained", "signed", "Lunch"])
    assert {"rained", "signed", "Lunch"} <= set(found["compressed_prompt"].split())
    assert re.fullmatch(r"what must be kept exceeds the budget by \d+ tokens", found["warnings"][0])
    found = front(TREATY, question="word " * 300, rate=0.3)
    assert found["documents"][0]["text"] == ""
    assert found["warnings"]


def test_words_with_labels(front: PromptCompressor) -> None:
    """Every word of every context, 1 for those in the prompt."""
    found = front(CONTEXTS, rate=0.4, return_word_label=True, word_sep="|", label_sep="=")
    pairs = [p.rsplit("=", 1) for p in found["fn_labeled_original_prompt"].split("|")]
    assert [w for w, _ in pairs] == " ".join(CONTEXTS).split()
    assert [w for w, label in pairs if label == "1"] == found["compressed_prompt"].split()
    assert labelled("  ab  cd", [Span(0, 2)]) == [("ab", 0), ("cd", 0)]


def test_repeats_are_cut_from_spans() -> None:
    """Longer strings go first; what stands between counts, white space aside."""
    text = "a..b. .c.\n.d"
    assert without_repeats(text, [Span(0, len(text))], ["."]) == [Span(0, 2), Span(3, 6), Span(7, 10), Span(11, 12)]
    assert without_repeats("xx!!!!", [Span(1, 6)], ["!", "!!"]) == [Span(1, 4)]
    assert without_repeats("ab", [], ["a"]) == []


STRUCTURED = (
    "<llmlingua, compress=False>Speaker 4:</llmlingua><llmlingua, rate=0.4> Thank you. And can we do the functions for"
    " content? Items I believe are 11, three, 14, 16 and 28, I believe.</llmlingua><llmlingua, compress=False>\n"
    "Speaker 0:</llmlingua><llmlingua, rate=0.4> Item 11 is a communication from Council on Price recommendation to"
    " increase appropriation in the general fund group.</llmlingua> That was it, thank you all for coming here today."
)


@pytest.mark.parametrize("recipe", ["token.v1", "late.v1", "edu.v1", "sentence.v1", "lexical.v1"])
def test_structured_prompts_with_every_recipe(recipe: str) -> None:
    """Pieces join without a seam, each to its own rate; words do not run together; what is not to change does not."""
    front = PromptCompressor(device_map="cpu", recipe=recipe)
    found = front.structured_compress_prompt([STRUCTURED], question="Which items?", rate=0.6)
    prompt = found["compressed_prompt"]
    (one,) = found["documents"]
    assert prompt == f"{one['text']}\n\nWhich items?"
    assert "Speaker 4:" in prompt
    assert "\nSpeaker 0:" in prompt
    plain = "".join(t.text for t in tags.segments(STRUCTURED))
    assert one["text"] == "".join(plain[a:b] for a, b in one["spans"])
    assert not set(prompt.split()) - set(plain.split()) - {"Which", "items?"}
    assert 5 < one["tokens_out"] < 0.6 * one["tokens_in"]


def test_structured_prompts_meet_named_tokens(front: PromptCompressor) -> None:
    """`target_token` is the most there is, whatever the tags say; the same pieces as segments give the same prompt."""
    found = front.structured_compress_prompt([STRUCTURED, STRUCTURED], target_token=50)
    assert found["compressed_tokens"] <= 50
    assert not found["warnings"]
    cut = tags.segments(STRUCTURED)
    segs = {
        "context_segs": [[t.text for t in cut]] * 2,
        "context_segs_rate": [[t.rate for t in cut]] * 2,
        "context_segs_compress": [[t.compress for t in cut]] * 2,
    }
    plain = "".join(t.text for t in cut)
    assert front.compress_prompt([plain] * 2, target_token=50, **segs) == found
    with pytest.raises(InvalidRequest, match="must be the context's text"):
        front.compress_prompt([plain, "other"], **segs)


def test_structured_prompts_choose_contexts_first(front: PromptCompressor) -> None:
    """The call's rate decides which contexts stay; those with uncompressed runs do, unless strictness is off."""
    contexts = [f"<llmlingua, rate=0.9>{c}</llmlingua>" for c in CONTEXTS[:2]]
    contexts.append(f"<llmlingua, compress=False>{TREATY}</llmlingua>")
    ask = {"question": "What do monkeys like?", "rate": 0.4, "context_budget": "*0.5"}
    kept = [bool(d["text"]) for d in front.structured_compress_prompt(contexts, **ask)["documents"]]
    assert kept == [False, False, True]
    loose = front.structured_compress_prompt(contexts, **ask, strict_preserve_uncompressed=False)["documents"]
    assert [bool(d["text"]) for d in loose] == [False, True, False]


@settings(deadline=None, max_examples=40)
@given(
    contexts=st.lists(pieces, min_size=1, max_size=3),
    rate=st.sampled_from([0.05, 0.5, 1.0]),
    target=st.sampled_from([-1, 1, 25]),
    question=st.sampled_from(["", "who built the bridge?"]),
)
def test_uncompressed_pieces_are_verbatim(
    front: PromptCompressor, contexts: list[list[Tagged]], rate: float, target: int, question: str
) -> None:
    """In order, whatever the budget; what exceeds it is said; named tokens are met otherwise."""
    found = front.structured_compress_prompt(
        [written(c) for c in contexts], question=question, rate=rate, target_token=target
    )
    for c, d in zip(contexts, found["documents"], strict=True):
        at = 0
        for text, _, compress in c:
            if not compress:
                at = d["text"].index(text, at) + len(text)
    kept = "\n\n".join(found["compressed_prompt_list"])
    assert target == -1 or tokens(front, kept) <= target or found["warnings"]


CALLS = st.fixed_dictionaries(
    {"rate": st.sampled_from([0.01, 0.3, 0.9, 1.0])},
    optional={
        "instruction": texts,
        "target_token": st.sampled_from([1, 15, 200]),
        "use_sentence_level_filter": st.booleans(),
        "use_context_level_filter": st.just(True),
        "use_token_level_filter": st.booleans(),
        "keep_split": st.booleans(),
        "keep_first_sentence": st.integers(0, 3),
        "keep_last_sentence": st.integers(0, 3),
        "keep_sentence_number": st.integers(0, 2),
        "context_budget": st.sampled_from(["+100", "*1.5", "-5", "/2"]),
        "reorder_context": st.sampled_from(["original", "sort", "two_stage"]),
        "dynamic_context_compression_ratio": st.sampled_from([0.0, 0.3]),
        "rank_method": st.sampled_from(["llmlingua", "bm25", "gzip"]),
        "concate_question": st.booleans(),
        "target_context": st.integers(1, 3),
        "force_context_ids": st.just([0]),
        "force_context_number": st.integers(0, 2),
        "force_tokens": st.lists(texts, max_size=2),
        "force_reserve_digit": st.booleans(),
        "return_word_label": st.booleans(),
    },
)


@settings(deadline=None, max_examples=80)
@given(contexts=st.lists(texts, min_size=1, max_size=4), call=CALLS, question=texts, model=st.booleans())
def test_odd_strings_are_answered(
    front: PromptCompressor,
    lexical: PromptCompressor,
    contexts: list[str],
    call: dict[str, Any],
    question: str,
    model: bool,
) -> None:
    """Any text in any argument: an answer of source text within the budget, or a warning."""
    assume(call.get("rank_method", "llmlingua") == "llmlingua" or question.strip())
    one = front if model else lexical
    found = one.compress_prompt(contexts, question=question, **call)
    for text, d in zip(contexts, found["documents"], strict=True):
        assert d["text"] == "".join(text[a:b] for a, b in d["spans"])
    if not found["warnings"]:
        limit = call.get("target_token", math.floor(call["rate"] * found["origin_tokens"]))
        kept = found["compressed_prompt"]
        if "target_token" in call:
            kept = "\n\n".join(found["compressed_prompt_list"])
        assert tokens(one, kept) <= limit


# --- what raises ---


@pytest.mark.parametrize("name", [*LIMITED])
def test_arguments_that_mean_nothing_raise(front: PromptCompressor, name: str) -> None:
    """The message names the argument and the recipe; the default passes."""
    other = {
        "iterative_size": 100,
        "high_priority_bonus": 50,
        "condition_in_question": "after_condition",
        "condition_compare": True,
        "token_to_word": "first",
        "chunk_end_tokens": [";"],
    }[name]
    with pytest.raises(InvalidRequest, match=f"{name}=.* means nothing to recipe token.v1") as e:
        front.compress_prompt(TREATY, **{name: other})
    assert e.value.param == name
    default = LIMITED[name][0]
    front.compress_prompt(TREATY, **{name: list(default) if isinstance(default, tuple) else default})


@pytest.mark.parametrize("name", [*NEEDS])
def test_arguments_that_need_another_raise(front: PromptCompressor, name: str) -> None:
    """Half of a setting is no setting."""
    own = {
        "target_context": 1,
        "context_level_rate": 0.5,
        "context_level_target_token": 9,
        "context_budget": "*2",
        "dynamic_context_compression_ratio": 0.2,
        "token_budget_ratio": 2.0,
        "word_sep": "|",
        "label_sep": "|",
        "drop_consecutive": True,
        "add_instruction": True,
    }[name]
    with pytest.raises(InvalidRequest, match=f"{name} means nothing without {NEEDS[name]}"):
        front.compress_prompt(TREATY, use_context_level_filter=False, **{name: own})


@pytest.mark.parametrize(
    ("param", "value"),
    [
        *(("rate", v) for v in (0.0, 1.5, -1, math.nan)),
        *(("target_token", v) for v in (0, -2, math.inf, math.nan)),
        ("target_context", 0),
        ("context_level_rate", 2),
        ("keep_last_sentence", -1),
        ("reorder_context", "shuffled"),
        ("rank_method", "openai"),
        *(("context_budget", v) for v in ("__import__('os')", "+", "100", "/0", "**2", None)),
        ("force_tokens", "abc"),
        ("force_context_ids", [3]),
        ("force_tokens", ["x"] * 101),
    ],
)
def test_values_that_mean_nothing_raise(front: PromptCompressor, param: str, value: Any) -> None:
    with pytest.raises(InvalidRequest) as e:
        front.compress_prompt(CONTEXTS, **{param: value})
    assert e.value.param == param


def test_ranks_by_a_question_need_one(front: PromptCompressor) -> None:
    with pytest.raises(InvalidRequest, match="needs a question"):
        front.compress_prompt(CONTEXTS, rank_method="longllmlingua")
    assert front.compress_prompt(CONTEXTS, question=ASKED, rank_method="longllmlingua")["compressed_prompt"]


def test_contexts_are_strings(front: PromptCompressor) -> None:
    with pytest.raises(InvalidRequest) as e:
        front.compress_prompt(["a", 1])
    assert e.value.param == "context.1"


def test_json_takes_no_instruction(front: PromptCompressor) -> None:
    with pytest.raises(InvalidRequest, match="instruction"):
        front.compress_json({"a": "x"}, {"a": {}}, instruction="Do it.")


@pytest.mark.parametrize(
    ("error", "given_"),
    [
        (InvalidRequest, {"device_map": "tpu"}),
        (InvalidRequest, {"model_config": {"revision": "main"}}),
        (InvalidRequest, {"model_config": {"trust_remote_code": True}}),
        (InvalidRequest, {"model_config": {"torch_dtype": "int3"}}),
        (InvalidRequest, {"open_api_config": {"api_key": "x"}}),
        (InvalidRequest, {"llmlingua2_config": {"max_force_token": 9}}),
        (InvalidRequest, {"use_llmlingua2": True, "llmlingua2_config": {"max_batch_size": 9}}),
        (InvalidRequest, {"mode": "exact"}),
        (InvalidRequest, {"mode": "legacy", "recipe": "token.v1"}),
        (InvalidRequest, {"token_counter": len}),
        (UnknownName, {"recipe": "token.v9"}),
    ],
)
def test_constructor_arguments_that_mean_nothing_raise(error: type[Exception], given_: dict[str, Any]) -> None:
    with pytest.raises(error):
        PromptCompressor(**{"device_map": "cpu", **given_})


def test_constructor_arguments_that_mean_something() -> None:
    """Forced strings are limited as told; a reader by name counts; no default is refused."""
    made = PromptCompressor(
        "laconic-mini",
        "cpu",
        {"torch_dtype": "auto", "trust_remote_code": False},
        {},
        True,
        {"max_batch_size": 50, "max_force_token": 1},
        reader="laconic-mini",
    )
    with pytest.raises(InvalidRequest, match="max_force_token"):
        made(TREATY, force_tokens=["a", "b"])
    with pytest.raises(UnknownName):
        PromptCompressor(device_map="cpu", reader="nobody's")(TREATY)
    with pytest.raises(InvalidRequest, match="needs a classifier model"):
        PromptCompressor("laconic-mini", "cpu", use_llmlingua2=True, mode="legacy")(TREATY)


def test_a_gpu_that_fails_is_left(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver without a working device: the reason is logged, and the CPU answers."""
    monkeypatch.setattr(opening, "has_gpu", lambda: True)
    original = opening.Compressor.model_of

    def broken(self: Any, *args: Any) -> Any:
        if self.profile.startswith("gpu"):
            raise ModelError("no device")
        return original(self, *args)

    monkeypatch.setattr(opening.Compressor, "model_of", broken)
    with caplog.at_level(logging.WARNING):
        made = PromptCompressor(device_map="auto", model_config={"torch_dtype": "bfloat16"})
    assert [r.getMessage() for r in caplog.records] == [
        "device_map='auto': no device",
        "device_map='auto': running on the CPU instead",
    ]
    assert made(TREATY)["compressed_prompt"]


def test_context_budgets() -> None:
    """Parsed, never evaluated."""
    assert [context_tokens(b, 200) for b in ("+100", "-50", "*1.5", "/ 4")] == [300, 150, 300, 50]


def test_the_front_loads_at_first_use() -> None:
    """The room's recipes may import from here without the front above them."""
    script = (
        "import sys, laconic.compressors.llmlingua as m; print('laconic.compressors.llmlingua.front' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        room.Nothing  # noqa: B018


# --- the migration page ---

PAGE = Path(__file__).parent.parent / "docs" / "migrating-from-llmlingua.md"


@pytest.mark.parametrize("block", re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL))
def test_the_pages_blocks_run(block: str) -> None:
    """As they stand, in a fresh interpreter, and they print something."""
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_page_names_every_argument() -> None:
    """Each argument of the calls that has a meaning of its own, or none, is on the page."""
    page = PAGE.read_text()
    names = {f.name for f in fields(Wishes)} | set(LIMITED)
    assert not {n for n in names if f"`{n}" not in page}


# --- beside the package ---


@pytest.fixture(scope="module")
def package() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("llmlingua", reason=NEEDS_PEER)


def test_signatures_are_the_packages(package: Any) -> None:
    """Names, order and defaults of the constructor and the methods; ours add keyword arguments to the constructor."""

    def of(method: Callable[..., Any]) -> list[tuple[str, Any]]:
        found = [p for p in inspect.signature(method).parameters.values() if p.kind is not p.KEYWORD_ONLY]
        defaults = [list(p.default) if isinstance(p.default, tuple) else p.default for p in found]
        return [(p.name, None if d in ([], {}) else d) for p, d in zip(found, defaults, strict=True)]

    for name in ("__init__", *METHODS):
        assert of(getattr(PromptCompressor, name)) == of(getattr(package.PromptCompressor, name)), name


@pytest.mark.filterwarnings("ignore")  # of the package and what it imports
def test_legacy_calls_are_the_packages(package: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LLMLingua-2 over one random checkpoint: prompts, tagged ones, JSON that is none, quotations, lengths."""
    monkeypatch.setenv("PYTHONHASHSEED", "0")  # the package sets it; this puts it back
    folder = parity.build(tmp_path, "bert", 4)
    theirs = parity.package(folder, alike=True)
    ours = PromptCompressor(
        str(folder), "cpu", use_llmlingua2=True, mode="legacy", token_counter=parity.counter(folder)
    )
    rng = random.Random(8)
    for _ in range(8):
        context = [parity.text(rng) for _ in range(3)]
        how = parity.settings(rng, 3)
        assert answer_of(ours, context, **how) == answer_of(theirs, list(context), **how)
        tagged = [f"<llmlingua, rate=0.3>{c}</llmlingua>" for c in context]
        call = {"rate": 0.6, "question": "What?", "instruction": "Do."}
        wanted = answer_of(theirs.structured_compress_prompt, list(tagged), **call)
        found = ours.structured_compress_prompt(tagged, **call)
        assert wanted in (found, "ZeroDivisionError")  # where it has lost all of the text
        response = " ".join(rng.choices(parity.PROSE.split(), k=9))
        assert ours.recover(context[0], parity.PROSE, response) == theirs.recover(context[0], parity.PROSE, response)
        for more in ({}, {"add_special_tokens": False}, {"use_oai_tokenizer": True}):
            assert ours.get_token_length(context[1], **more) == theirs.get_token_length(context[1], **more)
    data, config = {"a": "some text"}, {"a": config_of("str")}
    failures = {answer_of(c.compress_json, data, config) for c in (ours, theirs)}
    assert failures <= {"JSONDecodeError", "ZeroDivisionError"}  # its tags do not survive this tokenizer
    fixed = PromptCompressor(str(folder), "cpu", use_llmlingua2=True)
    assert fixed.opened.recipe_for({}) == "llmlingua2.v1"
    found = fixed(CONTEXTS, question=ASKED, rate=0.5, target_context=2)
    assert 0 < found["compressed_tokens"] <= found["origin_tokens"] / 2


@pytest.mark.filterwarnings("ignore")  # of the package and what it imports
def test_legacy_calls_of_causal_models_are_the_packages(package: Any, tmp_path: Path) -> None:
    """LLMLingua over one random model, within one window: prompts, tagged ones, JSON; and the recipe it would be."""
    folder = tmp_path / "gpt2"
    parity_causal.build(folder, "gpt2", 5)
    theirs = parity_causal.package(folder)
    ours = PromptCompressor(str(folder), "cpu", mode="legacy", token_counter=parity.counter(folder))
    call = {"instruction": "Do.", "question": "What?", "rate": 0.5}
    assert ours(TREATY, **call) == theirs(TREATY, **call)
    contexts = [
        f"<llmlingua, rate=0.4>{c}</llmlingua><llmlingua, compress=False> end.</llmlingua>" for c in CONTEXTS[:2]
    ]
    assert ours.structured_compress_prompt(contexts, **call) == theirs.structured_compress_prompt(contexts, **call)
    data = {"a": "The committee met on Monday", "b": ["x y, z", "the bridge"]}
    config = {"a": config_of("str"), "b": config_of("list")}
    assert ours.compress_json(data, config) == theirs.compress_json(dict(data), config)
    fixed = PromptCompressor(str(folder), "cpu")
    assert fixed.opened.recipe_for({}) == "llmlingua.v1"
    asking = {"question": ASKED, "rank_method": "longllmlingua", "condition_in_question": "after_condition"}
    assert fixed.opened.recipe_for(asking) == "longllmlingua.v1"
    found = fixed(CONTEXTS, rate=0.6, condition_compare=True, dynamic_context_compression_ratio=0.3, **asking)
    assert 0 < found["compressed_tokens"] <= 0.6 * found["origin_tokens"]
    with pytest.raises(InvalidRequest, match="token classifier"):
        PromptCompressor(str(folder), "cpu", use_llmlingua2=True)


def answer_of(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What it answers, or by what it fails."""
    try:
        return call(*args, **kwargs)
    except Exception as e:
        return type(e).__name__
