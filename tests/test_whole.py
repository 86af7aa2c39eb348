"""What is handed over is whole: it stays together, lines stay lines, nothing is empty or said twice."""

from __future__ import annotations

import re
from typing import Any

import pytest

from laconic.client.wire import CompressRequest
from laconic.compressors import Budget, Compressor, Document, Keep, Request, Result
from laconic.compressors.depend import negated, together
from laconic.compressors.units import sentences, words
from laconic.models import Work
from laconic.service.handle import answer

RATES = (0.15, 0.25, 0.35, 0.5, 0.7)
LEAFLET = """Velorin 20 mg tablets

Do not take Velorin:
- if you are allergic to velorine.
- if you take other blood thinners, except low-dose aspirin (75 mg to 100 mg a day).
- before surgery, unless your doctor has told you to.

Talk to your doctor before taking ibuprofen. Do not take ibuprofen with Velorin. Paracetamol may be taken.

| Age | Dose | Most per day |
|---|---|---|
| 6 to 11 years | half a tablet | 20 mg |
| 12 to 17 years | one tablet | 40 mg |
| adults | one or two tablets | 80 mg |

1. Swallow the tablet whole. 2. Do not chew it. 3. Drink a glass of water.
"""
CHAT = """Anna: Shall we talk about the deadline?
Ben: I don't think June is possible. Not without two more people.
Cara: I disagree. June is fine if we drop the reports.
Anna: Dropping the reports is not an option for the client.
Ben: Then September, at the earliest.
"""


def run(compressor: Compressor, *texts: str, query: str | None = None, rate: float = 0.3, **more: Any) -> Result:
    documents = [Document(id=str(n), text=t) for n, t in enumerate(texts)]
    given = {"budget": Budget(kind="rate", value=rate), **more}
    return compressor(Request(documents=documents, query=query, **given))


def pieces(text: str) -> list[str]:
    units = together(text, sentences(text))
    return [text[a:b] for a, b in zip(units.starts, units.ends, strict=True)]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("query", [None, "May I take ibuprofen?", "What is the maximum dose for adults?"])
def test_a_leaflet_says_what_it_said(compressor: Compressor, query: str | None, rate: float) -> None:
    """Every line of the answer is one of the leaflet's, or sentences of one; items follow what leads to them."""
    lines = {" ".join(line.split()) for line in LEAFLET.splitlines()}
    kept = run(compressor, LEAFLET, query=query, rate=rate).text
    for line in filter(None, kept.splitlines()):
        assert any(set(sentence_list(line)) <= set(sentence_list(whole)) for whole in lines), line
    if "\n- " in kept or kept.startswith("- "):
        assert "Do not take Velorin:" in kept
    if re.search(r"^\| (?!Age|-)", kept, re.M):
        assert "| Age | Dose | Most per day |\n|---|---|---|\n" in kept
    assert not re.search(r"(?:^|\s)\d\.(?:\s*$|\s+\d\.)", kept, re.M)  # a number without its step


def sentence_list(line: str) -> list[str]:
    return [line[a:b].strip() for a, b in zip(sentences(line).starts, sentences(line).ends, strict=True)]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("query", [None, "What does Ben think about the deadline?", "What does Cara say?"])
def test_turns_keep_their_speakers(compressor: Compressor, query: str | None, rate: float) -> None:
    """Each line is one speaker's, and what is said in it that speaker said."""
    said = {s: line.partition(":")[0] for line in CHAT.splitlines() for s in sentence_list(line.partition(": ")[2])}
    for line in run(compressor, CHAT, query=query, rate=rate).text.splitlines():
        who, _, what = line.partition(": ")
        assert what and all(said[s] == who for s in sentence_list(what)), line


def test_units_by_what_they_stand_with() -> None:
    """Numbers with their items, labels apart, brackets and quotations whole; white space is no sentence."""
    assert pieces("1. Mix it. 2. Bake.\n\n(b) Eat. ") == ["1. Mix it. ", "2. Bake.\n\n", "(b) Eat. "]
    assert pieces("\n\nOne. Two.") == ["\n\nOne. ", "Two."]
    assert pieces("A: One. Two.\nB: Three.") == ["A: ", "One. ", "Two.\n", "B: ", "Three."]
    assert pieces("Note: one colon is only a colon. So.") == ["Note: one colon is only a colon. ", "So."]
    assert pieces("It (see p. 5. It is red.) ends. So.") == ["It (see p. 5. It is red.) ends. ", "So."]
    assert pieces("She said “I will. I must.” and left. So.") == ["She said “I will. I must.” and left. ", "So."]


def test_what_leads_to_others_is_kept_for_them_alone(compressor: Compressor) -> None:
    """A speaker's name, a head row or a lead is never kept with nothing after it."""
    for rate in RATES:
        for text in (CHAT, LEAFLET):
            kept = run(compressor, text, rate=rate).text
            assert not re.search(r"^\w+:\s*$(?!\n-)", kept.replace("Velorin:\n-", ""), re.M), kept
            assert not re.search(r"\|---\|---\|---\|\s*(?:\n[^|]|$)", kept), kept


def test_words_after_a_negation_depend_on_it() -> None:
    """To the end of the clause; the cue itself on nothing."""
    text = "There is no evidence that it helps. It does not cure, it calms."
    units = negated(text, words(text))
    assert units.heads is not None
    found = [text[a:b].strip() for a, b in zip(units.starts, units.ends, strict=True)]
    heads = {w: found[h] if h >= 0 else None for w, h in zip(found, units.heads.tolist(), strict=True)}
    assert heads["evidence"] == heads["that"] == heads["helps."] == "no"
    assert heads["cure,"] == "not" and heads["calms."] is None and heads["no"] is None


@pytest.mark.parametrize("kind", ["rate", "tokens"])
def test_lines_stay_lines(compressor: Compressor, kind: str) -> None:
    """Where lines between two kept ones are left out, they are still two lines; in a line, a blank is enough."""
    text = "Alpha was first here. It rained.\n\n  Beta came by train.\nGamma was late. It snowed. Delta won the cup."
    keep = Keep(strings=["Alpha", "Beta", "Gamma", "Delta"])
    budget = Budget(kind=kind, value=0.8 if kind == "rate" else 24)  # type: ignore[arg-type]
    found = run(compressor, text, query="who?", keep=keep, budget=budget).text
    assert "Alpha was first here." in found
    assert re.search(r"Alpha was first here\.(?: It rained\.)?\n+  Beta came by train\.\nGamma was late\.", found)
    assert "late. Delta" in found or "snowed. Delta" in found


@pytest.mark.parametrize("budget", [{"tokens": 3}, {"rate": 0.05}, {"threshold": 1.0}, {"recall": 0.1}])
def test_something_is_kept(compressor: Compressor, budget: dict[str, float]) -> None:
    """Whatever the budget, if a word fits; where that is less than a sentence, the answer says so."""
    (kind, value) = next(iter(budget.items()))
    texts = ["You may claim a refund of the full price. It is paid by the shop. " * 2]
    made = run(compressor, *texts, query="Can I get my money back?", budget=Budget(kind=kind, value=value))  # type: ignore[arg-type]
    assert made.text
    if kind in ("rate", "tokens"):
        assert any("no whole sentence" in w for w in made.warnings)
    else:
        assert made.text.endswith(".")


def test_what_does_not_fit_is_passed_by(compressor: Compressor) -> None:
    """The best sentence is too long for the budget: the next best that fits is taken, whole."""
    long = "The treaty was signed by Ada Lovelace, who had come by coach " + "through rain and snow " * 12 + "to do so."
    text = f"{long} Ada signed it in Paris. Lunch was good."
    made = run(compressor, text, query="Who signed the treaty?", budget=Budget(kind="tokens", value=20))
    assert made.text.startswith("Ada signed it in Paris.") and "coach" not in made.text


def test_what_is_said_twice_is_kept_once(compressor: Compressor) -> None:
    """In one document; the other's answer says where; the freed budget goes on; `keep` keeps both."""
    same = "The bridge over the Arno was built by Ada Lovelace in 1932."
    texts = [f"It rained. {same} Lunch was good that day.", f"Snow fell. {same.replace('The', 'the')} Tea was cold."]
    documents = [{"id": "ab"[n], "text": t} for n, t in enumerate(texts)]
    body = {"documents": documents, "query": "Who built the bridge?", "budget": {"rate": 0.7}}
    once = answer(compressor, CompressRequest.model_validate(body), "x", Work())
    both = answer(compressor, CompressRequest.model_validate({**body, "duplicates": "keep"}), "x", Work())
    assert once.text and both.text and once.text.count("built by Ada") == 1 and both.text.count("built by Ada") == 2
    ((start, end, other, there, stop),) = [r for d in once.documents for r in d.repeats or []]
    mine = next(d for d in once.documents if d.repeats)
    assert mine.id != other and "built by Ada" in texts["ab".index(mine.id)][start:end]
    assert "built by Ada" in texts["ab".index(other)][there:stop]
    assert once.usage.tokens_out > both.usage.tokens_out // 2 and not any(d.repeats for d in both.documents)


WRAPPED = """Members of the board of the Port
Ellen Trade Union have agreed that
Elif Tanaka may not sign for them
before the vote in March. The old
rules hold until then. Nobody has
asked the harbour."""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (WRAPPED, ["Members", "The old", "Nobody"]),  # lines that go on with a capital, in a paragraph that is wrapped
        ("Run it in a container; or, where there is one, on\nKubernetes: by the chart. Good.", ["Run", "Good"]),
        (
            "Ann: We said that it should be in the\nBen: Maybe it was.\nAnn: It was.",
            ["Ann", "We", "Ben", "Maybe", "Ann", "It"],
        ),
        ("Old bridge, room 3\nNorth gate, room 14\nBoiler, room 21", ["Old", "North", "Boiler"]),  # and a list is not
        ("Themes were: a) one thing; b) another; c) a third. Good.", ["Themes", "Good"]),
        ("It came in the day-time (B) (from nine) or in the night-time (A), or so. We saw it.", ["It came", "We saw"]),
        ("He came (late). Then it rained.", ["He came", "Then"]),
        ("It fell.[1][note 2] It rose.[3] So it was.", ["It fell", "It rose", "So it"]),
        ("Talks resume on 18. January 1995, 7:28 pm. We wait.", ["Talks", "We"]),
        ("Sie kommen am 3. Juni 2024. Wir warten.", ["Sie", "Wir"]),
    ],
)
def test_where_sentences_begin(text: str, found: list[str]) -> None:
    assert [p.strip()[: len(f)] for p, f in zip(pieces(text), found, strict=True)] == found


@pytest.mark.parametrize(
    "date", ["14 October 2024", "October 14, 2024", "3rd of May 2020", "1er mai 1999", "Chapter 12"]
)
def test_dates_are_one_unit(compressor: Compressor, date: str) -> None:
    text = f"The council meets on {date} in the old hall."
    found = run(compressor, text, unit="word", rate=0.5, budget=Budget(kind="threshold", value=0)).documents[0].units
    assert found is not None and date in [text[a:b].strip() for a, b in zip(found.starts, found.ends, strict=True)]


def test_what_is_less_than_a_sentence_keeps_its_speaker(compressor: Compressor) -> None:
    """The words of the best sentence come with the label of their line, or not at all."""
    said = "I cannot pay for the north gate this year because the boiler and the generator come first"
    text = f"Ben: {said}.\nCara: {said} too.\nBen: {said} as well."
    found = run(compressor, text, rate=0.15)
    assert any("no whole sentence" in w for w in found.warnings)
    assert found.text.startswith(("Ben:", "Cara:"))


def test_a_quotation_that_never_ends_hides_no_sentences() -> None:
    """What is far too long for a sentence is cut at its full stops, whatever a splitter takes it for."""
    text = "She said 'we go. " + "The bridge of Oslo is old. It has been painted. " * 80
    assert len(pieces(text)) > 100
