"""What is handed over is whole and says what the source says: cases by hand and from patterns, and the checks' own."""

from __future__ import annotations

import pytest

from laconic.bench.faithful.cases import Case, by_hand, made
from laconic.bench.faithful.checks import KINDS, aligned, faults
from laconic.bench.faithful.measure import cases, judge, table
from laconic.bench.faithful.patterns import PATTERNS
from laconic.compressors import Compressor, Request, Span

SOURCE = (
    "Ben: I do not think that the ferry leaves on 14 October 2024. It never did.\n"
    'Cara Holm Smith: She said "we are late" (twice), at 7.30 for 25 mg. We saw Ada Lind there. Good.'
)


def spans(*parts: str) -> list[Span]:
    return [Span(SOURCE.index(p), SOURCE.index(p) + len(p)) for p in parts]


@pytest.mark.parametrize(
    ("kept", "kind"),
    [
        (["Ben: I", " think that"], "sentence"),
        (["the ferry leaves on 14 October"], "date"),
        (["at 7", " for 25 mg."], "number"),
        (["We saw Ada", " there."], "name"),
        (['She said "we', " (twice), at 7.30 for 25 mg."], "quotation"),
        (["(twi", " at 7.30"], "bracket"),
        (["Ben: I do", " think that the ferry leaves on 14 October 2024."], "negation"),
        (["It never did.", " We saw Ada Lind there."], "join"),
    ],
)
def test_each_fault_is_seen(kept: list[str], kind: str) -> None:
    found = faults(SOURCE, spans(*kept))
    assert found[kind]


@pytest.mark.parametrize(
    "kept",
    [
        [SOURCE],
        ["Ben: I do not think that the ferry leaves on 14 October 2024."],
        ["Ben: ", "It never did.", "\nCara Holm Smith: ", "We saw Ada Lind there. Good."],
        [],
    ],
)
def test_whole_things_are_no_faults(kept: list[str]) -> None:
    assert faults(SOURCE, spans(*kept)) == dict.fromkeys(KINDS, 0)


def test_answers_without_offsets_are_found_again() -> None:
    text = "Do not take it. It is red, and round."
    assert [text[a:b] for a, b in aligned(text, "take it. red round.")] == ["take it.", "red", "round."]


def test_cases_are_many_of_every_kind_and_always_the_same() -> None:
    every = cases()
    assert len(every) >= 400 and len(by_hand()) >= 80
    assert {c.kind for c in made(1)} == set(PATTERNS)
    assert list(made(2)) == list(made(2))
    for case in made(3):  # the whole text is what it says
        assert not case.faults("\n\n".join(case.documents)), case


def test_what_a_case_finds() -> None:
    case = Case(kind="k", documents=("a",), must=("x",), mustnot=("y+",), together=(("take", "not"),))
    assert case.faults("do take y") == ["says y+", "'take' without 'not'"]
    assert not case.faults("do not take") and case.lacks("y") == ["x"] and not case.lacks("x")


@pytest.mark.parametrize("recipe", ["token.v1", "late.v1"])
def test_meaning_is_kept_by_default(compressor: Compressor, recipe: str) -> None:
    """Every case by hand and every pattern; the rest of them are the bench's."""
    few = [*by_hand(), *made(5)]
    found = judge(lambda r: compressor(r, recipe=recipe).text, few, recipe)
    assert found["kept"] >= 0.98, [w for w in found["wrong"] if w["faults"]]


def test_the_table_has_a_row_for_every_method() -> None:
    def nothing(request: Request) -> str:
        return ""

    figures = {"cases": judge(nothing, list(made(1)), "x"), "sets": {"answers": 4, "faulty": dict.fromkeys(KINDS, 1)}}
    assert table({"x": figures}).splitlines()[-1].startswith("| `x` | 100.0% | 0% | 0.00 | 4 | 25.0% |")
