"""LLMLingua and LongLLMLingua: by hand on letters, on anything at all, and beside their authors' package."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laconic.compressors.llmlingua.budget import Doc, Part, budgeted, slopes, split
from laconic.compressors.llmlingua.iterate import runs, shares_by_part, unbroken, windows_by_rank, windows_of
from laconic.compressors.llmlingua.llmlingua1 import LLMLingua1
from laconic.compressors.llmlingua.reading import SUFFIX, Mode, Reading, bm25, distance

from .needs import NEEDS_PEER

MODES: tuple[Mode, ...] = ("legacy", "fixed")


class Letters:
    """Every character is a token; "^" goes before a text where special tokens are wanted and `first` is set."""

    def __init__(self, first: bool = False) -> None:
        self.first = first

    def encode(self, sequence: str, *, add_special_tokens: bool) -> Any:
        begin = [ord("^")] if self.first and add_special_tokens else []
        return SimpleNamespace(
            ids=begin + [ord(c) for c in sequence], offsets=[(i, i + 1) for i in range(len(sequence))]
        )

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        return "".join(map(chr, ids))


class Table:
    """A digit's loss is its value, any other character's a tenth; behind "?", where that is so, it is 1 for all.

    Remembers what it was asked.
    """

    def __init__(self, knows: bool = False) -> None:
        self.knows = knows
        self.asked: list[tuple[str, int]] = []

    def __call__(self, asked: Sequence[tuple[Sequence[int], int]]) -> list[np.ndarray]:
        return [self.one("".join(map(chr, ids)), at) for ids, at in asked]

    def one(self, text: str, at: int) -> np.ndarray:
        self.asked.append((text, at))
        found = [float(c) if c.isascii() and c.isdigit() else 0.1 for c in text]
        if self.knows and "?" in text:
            found = [1.0] * len(text)
        return np.array(found[at:], np.float32)


def made(mode: Mode, table: Table | None = None, positions: int = 10_000, **more: Any) -> LLMLingua1:
    """Counts characters; a sentence ends with a full stop."""
    tokenizer = Letters(more.pop("first", False))
    cut = lambda text: re.findall(r"[^.]+\.?", text)  # noqa: E731
    return LLMLingua1(tokenizer, table or Table(), len, positions, cut, mode, **more)


def pressed(mode: Mode, context: str | list[str], table: Table | None = None, **how: Any) -> str:
    more = {k: how.pop(k) for k in ("first", "positions", "rankers") if k in how}
    answer: str = made(mode, table, **more).compress(context, **how)["compressed_prompt"]
    return answer


def test_one_window_by_hand() -> None:
    """Legacy keeps what stands before surprising tokens, and all behind the window; fixed keeps the surprising ones."""
    how = {"target_token": 6.5, "iterative_size": 8}
    # tokens 1 to 9 have losses 1 to 9, of which the 4th is 6: 6, 7 and 8 stand before higher ones, 9 is the last
    assert pressed("legacy", "0123456789", **how) == "6789"
    # 65 % of eight is 5, of which the first, of which nothing is known, is one; of two it is one
    assert pressed("fixed", "0123456789", **how) == "045679"
    # with a token before it, the first has a loss as others have
    assert pressed("fixed", "0123456789", first=True, **how) == "345679"


def test_two_windows_by_hand() -> None:
    """The second is read behind what the first left; legacy's threshold is one of all losses, past ones and coming."""
    table = Table()
    # of [1 .1 2 .1 3 .1 4] half is 3: 3 and 4 are over the third, and no token of the first window stands before them;
    # of [.1 3 .1 4], which are left, half is 2: before what is over the second stands the last but one
    assert pressed("legacy", "a1b2c3d4", table, target_token=5.5, iterative_size=4) == "d4"
    assert table.asked == [("a1b2c3d4", 1), ("2c3d", 1)]
    table = Table()
    assert pressed("fixed", "a1b2c3d4", table, target_token=4, iterative_size=4) == "a234"
    assert table.asked == [("a1b2", 1), ("a2c3d4", 2)]


def test_contrast_by_hand() -> None:
    """`condition_compare` scores a token by what the question takes from its loss: here all but 1 of it."""
    how = {"question": "?", "condition_compare": True, "iterative_size": 4, "concate_question": False}
    # gains of 5, 2, 9 are 4, 1, 8: over the smaller of the two highest is the last alone
    assert pressed("legacy", "0529", Table(knows=True), target_token=5, **how) == "29"
    assert pressed("legacy", "0529", Table(knows=True), target_token=3.5, **how) == "9"
    table = Table(knows=True)
    assert pressed("fixed", "0529", table, target_token=2, **how) == "09"
    assert table.asked == [("?\n\n0529", 3), ("0529", 1)]
    assert pressed("fixed", "0529", Table(knows=True), target_token=2, first=True, **how) == "59"


def test_short_texts() -> None:
    """Legacy hardly touches a text that is shorter than a window; fixed meets the rate."""
    text = "0123456789" * 3
    assert pressed("legacy", text, rate=0.5) == text
    assert len(pressed("fixed", text, rate=0.5)) == 15


def test_what_is_left_behind_the_last_window() -> None:
    """Legacy leaves it as it is; fixed does not."""
    text = "0123456789" * 3
    how = {"rate": 0.2, "iterative_size": 20}
    assert pressed("legacy", text, **how).endswith("0123456789")
    assert sorted(pressed("fixed", text, **how)) == sorted("0" + "999" + "88")


def test_rate_one_is_the_text() -> None:
    """Nothing goes in fixed, whatever it is; legacy counts separators that the target has no room for."""
    text = ["a\ud800b\n", *(str(i) for i in range(30))]
    how = {"rate": 1.0, "iterative_size": 40}
    assert pressed("fixed", text, **how) == "\n\n".join(text).replace("\ud800", "\ufffd")
    assert len(pressed("legacy", text, **how)) < len("\n\n".join(text))


RANKED = ["1 1", "9 9", "5 5"]  # mean losses of 0.55, 4.55 and 2.55, the first token aside
COARSE = {"use_token_level_filter": False, "context_budget": "*1"}


def test_documents_are_taken_until_the_budget_is_spent() -> None:
    """The most perplexed first, the one that crosses the budget included; forced ones before all."""
    for mode in MODES:
        assert pressed(mode, RANKED, target_token=2, **COARSE) == "9 9"
        assert pressed(mode, RANKED, target_token=3, **COARSE) == "9 9\n\n5 5"
        assert pressed(mode, RANKED, target_token=2, force_context_ids=[0], **COARSE) == "1 1\n\n9 9"
        assert pressed(mode, RANKED, target_token=2, **{**COARSE, "context_budget": "+3"}) == "9 9\n\n5 5"
        assert pressed(mode, RANKED, target_token=2, use_context_level_filter=False, **COARSE) == "\n\n".join(RANKED)


def test_order_of_documents() -> None:
    """As given, by rank, or the best at both ends."""
    for mode in MODES:
        for order, wanted in (("original", "195"), ("sort", "951"), ("two_stage", "915")):
            found = pressed(mode, RANKED, target_token=50, reorder_context=order, **COARSE)
            assert "".join(found.split()[::2]) == wanted


def test_a_number_of_documents() -> None:
    """`force_context_number` does nothing in legacy, and is the number of documents in fixed."""
    how = {"target_token": 2, **COARSE}
    assert pressed("legacy", RANKED, force_context_number=2, **how) == "9 9"
    assert pressed("fixed", RANKED, force_context_number=2, **how) == "9 9\n\n5 5"
    assert pressed("fixed", RANKED, force_context_number=1, target_token=50, **COARSE) == "9 9"


def test_longllmlingua_ranks_by_the_question_given_each() -> None:
    """Its sentence behind each document, the least perplexed first; "_condition" does not change that in fixed."""
    how = {"question": "who?", "rank_method": "longllmlingua", "target_token": 1, "concate_question": False, **COARSE}
    for mode in MODES:
        table = Table()
        pressed(mode, ["ab", "c"], table, first=True, **how)
        assert table.asked == [(f"^{d}who?{SUFFIX}", 1 + len(d)) for d in ("ab", "c")]
    for mode, wanted in (("legacy", ("^ab", 1)), ("fixed", (f"^abwho?{SUFFIX}", 3))):
        table = Table()
        pressed(mode, ["ab", "c"], table, first=True, condition_in_question="none_condition", **how)
        assert table.asked[0] == wanted
    table = Table()
    pressed("fixed", ["ab", "c"], table, first=True, **{**how, "condition_in_question": "before"})
    assert table.asked[0] == (f"^who?{SUFFIX}ab", 1 + len(f"who?{SUFFIX}"))


def test_rankers() -> None:
    """BM25, compression, and those that are given; others are named where they are not there."""
    texts = ["a tall bridge", "a red bridge a a a a a", "the cat"]
    assert np.argmax(bm25("the cat", texts)) == 2
    assert bm25("dog", texts) == [0.0, 0.0, 0.0]
    assert distance("abc" * 20, "abc" * 21) < distance("abc" * 20, "xyzuvw" * 10)
    how = {"question": "the cat", "target_token": 1, "concate_question": False, **COARSE}
    for mode in MODES:
        assert pressed(mode, texts, rank_method="bm25", **how) == "the cat"
        assert pressed(mode, texts, rank_method="gzip", **how) == "the cat"
        mine = {"mine": lambda query, found: [float(query in t or "red" in t) for t in found]}
        assert pressed(mode, texts[:2], rank_method="mine", rankers=mine, **how) == texts[1]
        with pytest.raises(ValueError, match="'bge' is none of bm25, gzip, llmlingua, longllmlingua, mine"):
            pressed(mode, texts, rank_method="bge", rankers=mine, **how)


def test_bm25_is_rank_bm25s() -> None:
    """To the last digit, words in most texts included."""
    peer = pytest.importorskip("rank_bm25", reason="the package's BM25")
    texts = ["a b c a", "a  b", "a d", ""]
    assert bm25("a b d x a", texts) == list(
        peer.BM25Okapi([t.split(" ") for t in texts]).get_scores(["a", "b", "d", "x", "a"])
    )


def test_slopes() -> None:
    """More for the best, as much less for the last, nothing for one alone."""
    assert slopes(3, 0.3) == [0.3, 0.0, -0.3]
    assert (slopes(1, 0.3), slopes(2, 0.0)) == ([0.0], [0.0, 0.0])


def test_sentences_by_hand() -> None:
    """The most perplexed until the target times the ratio is spent; all of what lies between them goes with them."""
    how = {"use_sentence_level_filter": True, "use_token_level_filter": False, "target_token": 3}
    text = " 1a. 9b. 5c."
    for mode in MODES:
        assert pressed(mode, text, token_budget_ratio=1, **how) == " 9b."
        assert pressed(mode, text, token_budget_ratio=1.4, **how) == " 9b. 5c."
        assert pressed(mode, "9a.", token_budget_ratio=0.01, **how) == "9a."
    assert pressed("legacy", [text, "0d."], token_budget_ratio=1, **how) == " 9b.\n\n"
    assert pressed("fixed", [text, "0d."], token_budget_ratio=1, **how) == " 9b."


def test_sentences_to_be_kept() -> None:
    """Legacy hears of them from longllmlingua alone, and then holds them back; fixed prefers them."""
    how = {"use_sentence_level_filter": True, "use_token_level_filter": False, "token_budget_ratio": 1}
    how |= {"target_token": 2, "question": "why?", "concate_question": False}
    text = "a1.b9.c5."
    for option, kept in (("keep_first_sentence", "a1."), ("keep_last_sentence", "c5.")):
        assert pressed("legacy", text, **how, **{option: 1}) == "b9."
        assert pressed("fixed", text, **how, **{option: 1}) == kept
        # every sentence has the same loss of the question behind it: ties keep their order
        long = {**how, "rank_method": "longllmlingua", option: 1}
        assert pressed("legacy", text, **long) == ("b9." if kept == "a1." else "a1.")
        assert pressed("fixed", text, **long) == kept
    best = {**how, "target_token": 5, "keep_sentence_number": 1}
    assert pressed("fixed", ["a1.b9.", "c5.d6."], use_context_level_filter=False, **best) == "b9.\n\nd6."


def test_sentences_tile_a_document() -> None:
    """With what stands between them and their share of its parts; what a splitter invents is not there."""
    doc = Doc("  a. b.  c", (Part(3, 0.5, True), Part(7, 1.0, False)))
    found = split(doc, lambda _: ["a.", "b.", "z", "c"])
    assert [d.text for d in found] == ["  a. ", "b.  ", "c"]
    assert [d.parts for d in found] == [
        (Part(3, 0.5, True), Part(2, 1.0, False)),
        (Part(4, 1.0, False),),
        (Part(1, 1.0, False),),
    ]
    assert split(Doc(""), lambda _: []) == []


def test_segments_have_rates_of_their_own() -> None:
    """What may not be compressed stays, and so does the document it is in."""
    segs = {
        "context_segs": [["0123", "4567"], ["89"]],
        "context_segs_rate": [[0.5, 0.5], [1.0]],
        "context_segs_compress": [[True, False], [True]],
    }
    assert pressed("fixed", ["01234567", "89"], target_token=50, **segs) == "034567\n\n89"
    how = {"target_token": 1, "use_token_level_filter": False, "context_budget": "*1"}
    for mode in MODES:
        assert pressed(mode, ["01234567", "89"], **how, **segs) == "01234567\n\n89"
        assert pressed(mode, ["01234567", "89"], **how, **segs, strict_preserve_uncompressed=False) == "89"
        sentence = {"use_sentence_level_filter": True, "token_budget_ratio": 0.1, "strict_preserve_uncompressed": False}
        assert (
            pressed(mode, ["01234567", "89"], **how, **segs, **sentence, force_context_ids=[0]).strip()
            == "01234567\n\n89"
        )
        with pytest.raises(ValueError, match="must be its text when joined"):
            pressed(mode, ["01234567", "98"], **segs)
        with pytest.raises(ValueError, match="one list for each context"):
            pressed(mode, ["01234567"], **segs)


def test_windows() -> None:
    """By rank with two more tokens for each document and a first one left out; by token in runs of one share."""
    assert windows_by_rank([10], 6.5, 8, [0.0]) == [[(7, 0.5)], [(5, 0.5)]]
    assert windows_by_rank([1, 1, 22], 15.5, 8, [0.5, 0.0, -0.5]) == [
        [(3, 1), (3, 0.5), (1, 0.0)],
        [(8, 0.0)],
        [(8, 0.0)],
        [(7, 0.0)],
    ]
    assert windows_of([1, 1, 0.5, 0.5, 0.5], 3) == [[(2, 1), (1, 0.5)], [(2, 0.5)]]


def test_shares_of_tokens() -> None:
    """A token over the seam of two parts has the smaller share, unless one of them stays as it is."""
    parts = [Part(3, 0.5, True), Part(2, 0.2, True), Part(2, 0.9, False)]
    assert shares_by_part([2, 2, 1, 2], parts) == [0.5, 0.2, 0.2, 1.0]
    assert shares_by_part([4, 2, 1], parts) == [0.2, 1.0, 1.0]
    assert shares_by_part([0, 3, 2, 2, 1], parts) == [0.5, 0.5, 0.2, 1.0, 1.0]


def test_line_breaks_stay() -> None:
    """Runs of them do; of single ones that come to stand side by side, one goes."""
    breaks = np.array([c == "\n" for c in "a\n\nb\nc\nd"])
    assert np.flatnonzero(runs(breaks)).tolist() == [1, 2]
    need = np.array([c != "c" for c in "a\n\nb\nc\nd"])
    unbroken(need, breaks, runs(breaks), 0, 8)
    assert np.flatnonzero(need).tolist() == [0, 1, 2, 3, 4, 7]
    found = pressed("fixed", "12345\n\n67890", rate=0.2, keep_split=True)
    assert found == "1\n\n9"
    assert "\n" not in pressed("fixed", "12345\n\n67890", rate=0.2)
    # id 13, Llama's line break, is what legacy looks for: here a carriage return
    how = {"target_token": 0, "iterative_size": 12, "keep_split": True}
    assert pressed("legacy", "12345\r\r67890", **how) == "\r\r0"
    assert pressed("legacy", "12345\n\n67890", **how) == "0"


def test_a_condition_too_long_is_shortened() -> None:
    """To its first hundred tokens and what room two windows leave."""
    table = Table()
    how = {"question": "?" + "q" * 500, "condition_compare": True, "iterative_size": 10, "concate_question": False}
    pressed("legacy", "0123456789", table, positions=300, **how)
    [(asked, since), _] = table.asked
    assert since == 1
    assert asked == "?" + "q" * 277 + "\n\n0123456789"
    assert len(asked) < 300


@pytest.mark.parametrize("mode", MODES)
def test_texts_beyond_the_positions(mode: Mode) -> None:
    """Nothing longer is ever read; the first tokens are, in front of the nearest."""
    table = Table()
    text = "".join(str(i % 10) for i in range(1000))
    found = pressed(mode, [text, text[::-1]], table, positions=64, rate=0.5, iterative_size=40, first=True)
    assert max(len(t) for t, _ in table.asked) <= 64
    assert 300 < len(found) < 1600
    reading = Reading(tokenizer=Letters(), losses=table, positions=20, mode=mode)
    table.asked.clear()
    assert reading.surprisal([ord(c) for c in text[:50]], 1, 3).tolist() == [i % 10 for i in range(1, 50)]
    assert table.asked[0] == ("01234567890", 1)
    assert table.asked[-1] == ("012" + "34567890" + "123456789", 11)


def test_source_is_rendered() -> None:
    """Fixed cuts the source, so that half a character is a whole one and spaces that no token has stay before words."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    words = Tokenizer(models.WordLevel({"[UNK]": 0, "ada": 1, "9": 2, "8": 3}, unk_token="[UNK]"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()

    def losses(asked: Sequence[tuple[Sequence[int], int]]) -> list[np.ndarray]:
        return [np.array([{1: 5.0, 2: 9.0, 3: 8.0}.get(i, 0.0) for i in ids[at:]], np.float32) for ids, at in asked]

    found = LLMLingua1(words, losses, len, 100, lambda t: [t], "fixed").compress("It is  9 Ada   8, ok", rate=0.6)
    assert found["compressed_prompt"] == "It  9 Ada   8"
    raw = Tokenizer(
        models.BPE(vocab={c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, merges=[])
    )
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    third = [float(i % 3 == 2) for i in range(9)]

    def bytewise(asked: Sequence[tuple[Sequence[int], int]]) -> list[np.ndarray]:
        return [np.array(third[at:], np.float32) for _, at in asked]

    bytes_ = LLMLingua1(raw, bytewise, len, 100, lambda t: [t], "fixed").compress("日本語", target_token=3)
    assert bytes_["compressed_prompt"] == "日本"


@pytest.mark.parametrize("change", ["__import__('os')", "**2", "100", "/0", "+1e3", "+-1", "*", "%2", "+1;"])
def test_a_budget_is_parsed(change: str) -> None:
    """Whatever is not one of four signs and a number raises, and is not run."""
    with pytest.raises(ValueError, match="context_budget"):
        pressed("legacy", "a", context_budget=change)


def test_budgets() -> None:
    """The four signs, spaces, and nothing."""
    found = [budgeted(10, c) for c in ("+100", "-50", "*1.5", "/2", "", " + .5 ")]
    assert found == [110, -40, 15, 5, 10, 10.5]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"rate": 1.1}, "at most 1"),
        ({"iterative_size": 0}, "1 or more"),
        ({"reorder_context": "best"}, "original, sort, two_stage"),
        ({"condition_in_question": "behind"}, "none, before, after, none_condition"),
        ({"rank_method": "longllmlingua"}, "question"),
        ({"force_context_ids": [3]}, "there are 2"),
    ],
)
def test_what_has_no_meaning_raises(how: dict[str, Any], said: str) -> None:
    """And says what would have one."""
    with pytest.raises(ValueError, match=said):
        pressed("legacy", ["a", "b"], **how)
    with pytest.raises(TypeError, match="token_to_word"):
        pressed("legacy", "a", token_to_word="mean")


def test_the_answer() -> None:
    """The package's keys, counted with what was given, instruction and question around the text."""
    found = made("legacy").compress(["01234", "56789"], instruction="do", question="why?", use_token_level_filter=False)
    text = "do\n\n01234\n\n56789\n\nwhy?"
    assert found == {
        "compressed_prompt": text,
        "origin_tokens": len(text),
        "compressed_tokens": len(text),
        "ratio": "1.0x",
        "rate": "100.0%",
        "saving": ", Saving $0.0 in GPT-4.",
    }


TEXTS = st.lists(st.text("a1.9 \n\r日?\ud800", max_size=30), max_size=4)
HOW = st.fixed_dictionaries(
    {},
    optional={
        "question": st.sampled_from(["", "who?", "who? " * 30]),
        "rate": st.sampled_from([0.0, 0.1, 0.5, 1.0]),
        "target_token": st.sampled_from([-1, 0, 5, 1000]),
        "iterative_size": st.integers(1, 40),
        "use_sentence_level_filter": st.booleans(),
        "use_token_level_filter": st.booleans(),
        "keep_split": st.booleans(),
        "keep_first_sentence": st.integers(0, 3),
        "keep_sentence_number": st.integers(0, 3),
        "condition_in_question": st.sampled_from(["none", "before", "after_condition"]),
        "condition_compare": st.booleans(),
        "reorder_context": st.sampled_from(["original", "sort", "two_stage"]),
        "dynamic_context_compression_ratio": st.sampled_from([0.0, 0.4]),
        "rank_method": st.sampled_from(["llmlingua", "bm25", "gzip"]),
        "concate_question": st.just(False),
    },
)


@settings(max_examples=300, deadline=None)
@given(TEXTS, HOW, st.sampled_from(MODES), st.sampled_from([8, 50, 1000]), st.booleans())
def test_anything_is_answered(texts: list[str], how: dict[str, Any], mode: Mode, positions: int, first: bool) -> None:
    """No text and no settings crash it; what comes out is made of characters that went in."""
    found = pressed(mode, texts, Table(knows=True), positions=positions, first=first, **how)
    assert set(found) <= set("".join(texts).replace("\ud800", "\ufffd") + "\n" + how.get("question", ""))


@settings(max_examples=200, deadline=None)
@given(st.text("a159 .", min_size=1, max_size=80), st.floats(0, 1), st.integers(1, 40))
def test_fixed_meets_the_target(text: str, rate: float, size: int) -> None:
    """Within half a token a window, the first token aside, in source order."""
    found = pressed("fixed", text, Table(), first=True, target_token=rate * len(text), iterative_size=size)
    if found:
        assert abs(len(found) - rate * len(text)) <= 0.5 * -(-len(text) // size) + 1e-6
    rest = iter(text)
    assert all(c in rest for c in found)


PEER = ("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::SyntaxWarning", "ignore::UserWarning")


@pytest.mark.skipif(not all(map(find_spec, ("torch", "transformers", "llmlingua"))), reason=NEEDS_PEER)
@pytest.mark.filterwarnings(*PEER)
def test_answers_are_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random texts and settings over the same random weights: every answer it gives is ours."""
    from laconic.bench.parity_causal import compare_llmlingua1

    found = compare_llmlingua1(80, 11)
    assert found["first_difference"] is None
    for family in found["families"].values():
        assert family["one_window"]["compared"] > 25
        assert family["one_window"]["shortened"] > 5
        for group in (family["one_window"], family["more_windows"]):
            assert group["equal"] == group["compared"]
