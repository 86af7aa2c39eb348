"""Units tile the text; sentences survive abbreviations, lists, tables, CJK and code."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laconic.compressors import Units
from laconic.compressors.units import containing, owners, printable, sentences, tokens, words

from .strategies import AWKWARD, texts


def cut(text: str, units: Units) -> list[str]:
    return [text[a:b] for a, b in zip(units.starts, units.ends, strict=True)]


@settings(deadline=None, max_examples=300)
@given(text=texts)
def test_units_tile_the_text(text: str) -> None:
    """Joined, the units are the text; none is empty."""
    for units in (words(text), sentences(text), tokens(list(range(0, len(text), 3)), len(text))):
        assert "".join(cut(text, units)) == text
        assert all(units.starts < units.ends)


@pytest.mark.parametrize("text", AWKWARD)
def test_awkward_text_tiles(text: str) -> None:
    """So they do for text no splitter was made for."""
    assert "".join(cut(text, sentences(text))) == text
    assert "".join(cut(text, words(text))) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Dr. Smith came at 3 p.m. on Monday. He left.", ["Dr. Smith came at 3 p.m. on Monday.", "He left."]),
        ("It grew 3.5 % in Q2. See Fig. 3 for details.", ["It grew 3.5 % in Q2.", "See Fig. 3 for details."]),
        ('He said "Stop! Now!" and ran. Why?', ['He said "Stop! Now!" and ran.', "Why?"]),
        ("J. K. Rowling wrote it. I read it.", ["J. K. Rowling wrote it.", "I read it."]),
        ("Visit www.example.com. It is e.g. good.", ["Visit www.example.com.", "It is e.g. good."]),
        ("Intro:\n- one item\n- two items\n", ["Intro:", "- one item", "- two items"]),
        ("# Title\n\nText here. More.\n", ["# Title", "Text here.", "More."]),
        ("| a. b | c |\n|---|---|\n| 1. x | 2 |", ["| a. b | c |", "|---|---|", "| 1. x | 2 |"]),
        ("你好。真的吗？好！", ["你好。", "真的吗？", "好！"]),
        ("これはペンです。「はい。」と言った。", ["これはペンです。", "「はい。」", "と言った。"]),
        ("```\na = b. c\nd. e\n```\nDone. Good.", ["```", "a = b. c", "d. e", "```", "Done.", "Good."]),
        ("The bridge was\nbuilt in 1932. It\nstands still.", ["The bridge was\nbuilt in 1932.", "It\nstands still."]),
        ("def f(x):\n    return x.y\n", ["def f(x):", "return x.y"]),
        ("no full stop", ["no full stop"]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    """Sentence boundaries where a person would put them."""
    assert [s.strip() for s in cut(text, sentences(text)) if s.strip()] == expected


def test_words_of_scripts_without_spaces() -> None:
    """A Han or kana character is a word of its own; Latin runs stay whole."""
    assert cut("東京tower 3階", words("東京tower 3階")) == ["東", "京", "tower ", "3", "階"]


@settings(deadline=None, max_examples=300)
@given(text=texts | st.text(st.sampled_from("a \t\n\x1c\x85\xa0\u2003\u3000é東カกﾊ𠀀🙂\u200b"), max_size=60))
def test_words_by_definition(text: str) -> None:
    """White space ends a word and belongs to it; a character of a script without spaces is a word."""
    alone = (
        "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f"
        "\U00020000-\U0003ffff"
    )
    starts = [m.start() for m in re.finditer(rf"[{alone}]\s*|[^\s{alone}]+\s*", text)]
    assert list(words(text).starts) == sorted({0, *starts} if text else set())


def test_owners_and_ranges() -> None:
    """Positions and ranges find the units they touch."""
    units = words("one two three")
    assert list(owners(units, units.starts)) == [0, 1, 2]
    assert list(containing(units, 2, 5)) == [0, 1]
    assert list(containing(units, 4, 4)) == []


def test_printable_keeps_length() -> None:
    """Lone surrogates are replaced one for one, so that offsets stay true."""
    assert printable("a\ud800b\udfff") == "a\ufffdb\ufffd"
