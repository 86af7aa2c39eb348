"""Scaling and recall thresholds do what they promise, on questions made up for the purpose and through the pipeline."""

from __future__ import annotations

import json
import lzma
import random
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from laconic.bench.__main__ import main
from laconic.bench.calibrate import Case, bins, coverage, flat, levelled, recall_at, report, thresholds, weights
from laconic.bench.calibrate_relevance import fit, kinds
from laconic.bench.data import Example
from laconic.models import Card
from laconic.models.catalogue import EMBEDDED
from laconic.models.training.platt import platt


def cases(count: int, source: str, seed: int, shift: float = 0.0) -> list[Case]:
    """Sentences whose log-odds of being evidence are half their score minus two."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(count):
        score = rng.normal(0, 4, 40) + shift
        label = rng.random(40) < 1 / (1 + np.exp(-(0.5 * score - 2)))
        if not label.any():
            label[score.argmax()] = True
        evidence = label / label.sum()
        found = {"source": source, "score": score, "level": score, "length": np.full(40, 90), "label": label}
        out.append(Case(**found, tokens=rng.integers(5, 40, 40), evidence=evidence))
    return out


def test_scaling_finds_what_was_put_in() -> None:
    """Platt scaling recovers temperature and offset, and its probabilities are frequencies."""
    made = cases(3000, "a", 1)
    temperature, offset = platt(*flat(made))
    assert temperature == pytest.approx(2, abs=0.1)
    assert offset == pytest.approx(-2, abs=0.15)
    assert all(abs(p - seen) < 0.05 for p, seen, n in bins(made, temperature, offset) if n > 500)


@pytest.mark.parametrize("wanted", [0.8, 0.9, 0.95])
def test_recall_is_kept_on_questions_not_seen(wanted: float) -> None:
    """The share of evidence kept is what was asked, on questions of the same kind, and not much more."""
    learn, test = cases(800, "a", 2), cases(800, "a", 3)
    least = dict(thresholds(learn))[wanted]
    kept = np.mean([recall_at(c, least)[0] for c in test])
    assert wanted - 0.02 <= kept <= wanted + 0.03


def test_few_questions_are_read_with_caution() -> None:
    """Ten questions cannot promise 95 percent; what they can promise keeps more than was asked."""
    few = cases(10, "a", 4)
    promised = dict(thresholds(few))
    assert 0.95 not in promised
    assert np.mean([recall_at(c, promised[0.8])[0] for c in few]) > 0.8


def test_every_set_weighs_the_same() -> None:
    """A set with many questions does not decide for the others."""
    mixed = [*cases(900, "many", 5, shift=3.0), *cases(100, "few", 6, shift=-3.0)]
    assert weights(mixed).sum() == pytest.approx(1)
    least = dict(thresholds(mixed))[0.9]
    found = coverage(mixed, least)
    assert np.mean([found["many"][0], found["few"][0]]) == pytest.approx(0.9, abs=0.01)
    assert found["few"][0] < found["many"][0]


def test_the_report_crosses_halves() -> None:
    """Coverage on the card is of questions the threshold was not chosen on."""
    found = report(cases(400, "a", 7), cases(200, "b", 8))
    assert found["at 0.9"]["held_back"]["a"][0] == pytest.approx(0.9, abs=0.03)
    assert found["at 0.9"]["evaluation"]["b"][0] == pytest.approx(0.9, abs=0.04)
    assert [r for r, _ in found["recall_levels"]] == sorted(r for r, _ in found["recall_levels"])


def test_questions_of_every_difficulty_keep_their_share() -> None:
    """Where scores are higher for one question than for the next, levels keep more evenly, of fewer tokens."""
    made = [c for n, by in enumerate((-3.0, 0.0, 3.0)) for c in cases(300, f"{by}", 9 + n)]
    made = [replace(c, score=c.score + float(c.source)) for c in made]
    by_level = levelled(made, *platt(*flat(made)))
    kept = {}
    for name, each in (("score", [replace(c, level=c.score) for c in made]), ("level", by_level)):
        found = np.array(list(coverage(each, dict(thresholds(each))[0.9]).values()))
        assert found[:, 0].mean() == pytest.approx(0.9, abs=0.005)
        kept[name] = (found[:, 0].min(), found[:, 1].mean())
    assert kept["level"][0] > kept["score"][0] + 0.03
    assert kept["level"][1] < kept["score"][1]


def write(path: Path, rows: list[dict[str, object]]) -> None:
    with lzma.open(path, "wt", encoding="utf-8") as out:
        out.writelines(json.dumps(r) + "\n" for r in rows)


def test_from_data_to_card(tmp_path: Path) -> None:
    """The command reads held-out groups, runs the real model, draws the diagram, and writes the card."""
    text = "It rained all day. The bridge was built by Ada in {}. Lunch was good. Nobody came."
    passages = [{"pid": f"p{i}", "group": f"g{i}", "title": None, "text": text.format(1900 + i)} for i in range(400)]
    queries = []
    for p in passages:
        start, end = 19, p["text"].index(" Lunch")
        evidence = {"pid": p["pid"], "evidence": [[start, end]], "answers": [], "level": "sentence"}
        found = {"qid": p["pid"], "query": "Who built the bridge?", "answers": ["Ada"], "answerable": True}
        queries.append({**found, "labels": [evidence], "group": p["group"], "context": [p["pid"]]})
    write(tmp_path / "made.passages.jsonl.xz", passages)
    write(tmp_path / "made.queries.jsonl.xz", queries)
    folder = tmp_path / "model"
    shutil.copytree(EMBEDDED / "laconic-mini", folder)
    known = ["--data", str(tmp_path), "--check", str(tmp_path), "--out", str(tmp_path / "out"), "--write", str(folder)]
    assert main(["calibrate", *known, "--count", "25", "--documents", "3", "--recipes", "token.v1", "late.v1"]) == 0
    card = Card.read(folder)
    assert card.late is not None
    assert card.recall_levels
    assert card.late.recall_levels
    assert card.facts["calibration"]["questions"] <= 25
    assert (tmp_path / "out" / "reliability-late.v1.png").stat().st_size > 1000
    assert main(["card", str(folder), "--out", str(tmp_path / "card.md")]) == 0
    found = card.facts["calibration"]["at 0.9"]
    (kept, took), amiss = found["evaluation"]["made"], found["elsewhere"]["made"]
    pattern = rf"^\| made \| {kept:.3f} \({took:.2f}\) \| [^|]+ \| {amiss:.2f} \|"
    assert re.search(pattern, (tmp_path / "card.md").read_text(), re.MULTILINE)


def test_what_a_documents_score_means() -> None:
    """The scaling that was put in is found, each kind weighing the same, and the error is less than without."""
    rng = np.random.default_rng(3)
    logits = rng.normal(-1, 3, 8000)
    answers = rng.random(8000) < 1 / (1 + np.exp(-(logits / 2.5 + 0.5)))
    rows = [
        (f"set, {('whole', 'short')[n % 2]}", float(x), bool(a))
        for n, (x, a) in enumerate(zip(logits, answers, strict=True))
    ]
    found = fit(rows)
    assert found["relevance"] == pytest.approx((2.5, 0.5), abs=0.2)
    assert all(after < before for before, after in found["error"].values()) and set(found["error"]) == {
        "whole",
        "short",
    }


def test_short_texts_hold_what_answers() -> None:
    text = "One thing is here. The bridge was built by Ada. Another thing is there. It rained all day."
    at = text.index("The bridge")
    e = Example(
        query="Who built the old bridge?",
        titles=[None],
        texts=[text],
        evidence=[(0, at, at + 30)],
        answers=[],
        relevant=[0],
    )
    every = dict(kinds(e, random.Random(1)))
    assert len(every["short"].texts[0]) < len(text) and "built by Ada." in every["short"].texts[0]
    assert every["whole, briefly"].query == "built old bridge" and every["whole"] is e
