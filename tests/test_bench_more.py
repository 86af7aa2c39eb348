"""The benches of the cache and of query-agnostic compression, small, through the real model."""

from __future__ import annotations

import json
import lzma
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from laconic.bench.__main__ import main
from laconic.bench.agnostic import f1, survived
from laconic.bench.cache import held, identical, reuse, timed
from laconic.bench.card import differences
from laconic.bench.report import METRICS
from laconic.compressors import Compressor
from laconic.models import Card
from laconic.models.catalogue import EMBEDDED
from laconic.service.cache import Lru, Tiers


@pytest.fixture(scope="module")
def bare() -> Compressor:
    return Compressor(workers=1)


@pytest.mark.parametrize("recipe", ["token.v1", "late.v1"])
def test_cached_answers_are_identical(bare: Compressor, recipe: str) -> None:
    """Random requests with a cache and without: nothing differs, and repeats run no model."""
    cached = Compressor(workers=1, store=Tiers(Lru(1 << 24)))
    found = identical(bare, cached, 100, recipe)
    assert found == {"cases": 100, "different": 0, "forwards_after_the_first": 0}
    first, again = (timed(cached, recipe, ["It rained. Ada came."], "who came?", r)[1] for r in (0.5, 0.6))
    assert (first, again) == (0, 1)


def test_edits_leave_most_segments(bare: Compressor) -> None:
    """Over long documents most segments survive an edit."""
    found = reuse(bare)
    assert found["documents"] > 20
    assert 0.8 < found["reused"] < 1


def test_the_first_tier_is_bounded() -> None:
    """A process of its own, filled several times over, holds about its bound."""
    found = held(60_000, 8 << 20)
    assert 0.5 < found["least"] <= found["most"] < 1.3


def test_agnostic_bench(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Deletion F1 and answers kept, from files to figures."""
    pairs = [{"id": i, "original": f"The very old bridge {i} fell.", "keep": [[13, 20], [20, 28]]} for i in range(60)]
    passage = {
        "pid": "p",
        "group": "g",
        "title": None,
        "text": "Ada built it in 1931. It rained. Nobody came, they say.",
    }
    queries = [
        {"qid": str(i), "labels": [{"pid": "p", "evidence": [], "answers": []}], "answers": [a], "group": "g"}
        for i, a in enumerate(("Ada", "1931", "nobody"))
    ]
    for name, rows in (("google-compression", pairs), ("squad.passages", [passage]), ("squad.queries", queries)):
        with lzma.open(tmp_path / f"{name}.jsonl.xz", "wt", encoding="utf-8") as out:
            out.writelines(json.dumps(r) + "\n" for r in rows)
    both = ["--data", str(tmp_path), "--train", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(["agnostic", *both]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["deletion"]["token.v1"]["sentences"] == 60
    assert 0 < found["deletion"]["token.v1"]["f1"] <= 1
    assert found["answers"]["questions"] == 3
    ours = {"token.v1", "late.v1", "edu.v1", "perplexity.v1", "lexical.v1"}
    assert set(found["answers"]["methods"]) == {*ours, "random", "lead", "stop-words"}


def test_figures() -> None:
    """F1 of kept tokens, and answers found whatever case and spacing."""
    score, gold = np.array([2.0, -1.0, 1.0, 0.5]), np.array([True, False, True, False])
    assert f1((score, gold), 0.9) == 1
    assert f1((score, gold), 0.4) == pytest.approx(0.8)
    assert survived("Built by ADA  Lovelace", [["ada lovelace"], ["Bob", "built"], ["never"]]) == pytest.approx(2 / 3)


def test_lm_and_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Perplexity of the embedded language model goes onto the card; the page shows it and the curve."""
    text = "The bridge was built in 1932 by Ada Lovelace, and it fell during a storm in the spring. " * 8
    with lzma.open(tmp_path / "wikipedia.jsonl.xz", "wt", encoding="utf-8") as out:
        out.write(json.dumps({"id": "1", "title": "A", "text": text}) + "\n")
    folder = tmp_path / "models" / "laconic-lm"
    shutil.copytree(EMBEDDED / "laconic-lm", folder)
    command = ["lm", "--data", str(tmp_path), "--models-dir", str(tmp_path / "models"), "--write", str(folder)]
    assert main([*command, "--tokens", "100"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    figures = found["files"]["lm.int8.onnx"]
    assert found["words"] == len(text.split()) and found["tokens"] > found["words"]
    assert 1 < figures["per_token"] < 2000
    assert figures["per_word"] == pytest.approx(figures["per_token"] ** (found["tokens"] / found["words"]), rel=0.01)
    page = tmp_path / "lm.md"
    assert main(["card", str(folder), "--out", str(page)]) == 0
    assert f"| lm.int8.onnx | {figures['per_token']} [" in page.read_text()
    assert (tmp_path / "laconic-lm-curve.png").stat().st_size > 5000


def test_edu_and_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Boundaries and heads beside annotated ones go onto the card, and the card becomes a page."""
    text = "Although it rained, the treaty was signed by Ada, because she was there. Lunch was good."
    starts = [0, 20, 50, 73]
    row = {"text": text, "edus": [[s, s + 5] for s in starts], "heads": [1, -1, 1, -1]}
    for name in ("gum", "scidtb"):
        with lzma.open(tmp_path / f"edu-{name}.jsonl.xz", "wt", encoding="utf-8") as out:
            out.writelines(json.dumps(r) + "\n" for r in (row, {**row, "edus": [[0, 5]], "heads": [-1]}))
    folder = tmp_path / "models" / "laconic-mini"
    shutil.copytree(EMBEDDED / "laconic-mini", folder)
    assert main(["edu", "--data", str(tmp_path), "--write", str(folder)]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    # the first text's three boundaries are found, and found again where nobody marked them
    assert found["gum"] == {**found["gum"], "texts": 2, "units": 5, "precision": 0.5, "recall": 1.0, "f1": 0.6667}
    assert found["gum"]["heads"] == 0.5  # the reason hangs on another clause than the annotation says
    assert found["gum"]["heads_judged"] == 2
    card = Card.read(folder)
    assert card.edu is not None and card.edu.facts["measured"] == found
    runs = []
    for name, recall in (("int8", 0.9), ("fp32", 0.92)):
        figures = {"evidence_recall": recall, "full_support": recall, "answer_kept": None}
        recipes = ("token.v1", "late.v1", "edu.v1", "sentence.v1")
        sets = {"a": figures, "b": {**figures, "answer_kept": 0.5}}
        methods = {s: {"methods": {r: {"0.1": f} for r in recipes}} for s, f in sets.items()}
        runs.append(tmp_path / f"{name}.json")
        runs[-1].write_text(json.dumps({"rates": [0.1], "sets": methods}))
    page = tmp_path / "card.md"
    assert main(["card", str(folder), "--out", str(page), "--quality", *map(str, runs)]) == 0
    shown = page.read_text()
    assert "| token.v1 | evidence recall | -2.00 (a -2.0) |" in shown
    assert "| token.v1 | answer kept | +0.00 (b +0.0) |" in shown
    assert "| gum | 2 | 5 | 0.6667" in shown
    assert all(mark in shown for mark in card.sha256.values())
    assert main(["edu", "--data", str(tmp_path), "--start=-9.5", "--write", str(folder)]) == 0
    other = Card.read(folder).edu  # figures of another threshold go onto the card with it
    assert other is not None and other.start == -9.5 and other.facts["measured"]["gum"]["precision"] < 0.5


def test_the_card_compares_what_both_runs_have() -> None:
    """int8 minus fp32 in points, of the recipes and sets that both measured, the worst set named."""

    def run(sets: dict[str, dict[str, float]]) -> dict[str, Any]:
        return {
            "rates": [0.5],
            "sets": {
                s: {"methods": {r: {"0.5": dict.fromkeys(METRICS, v)} for r, v in recipes.items()}}
                for s, recipes in sets.items()
            },
        }

    quality = run({"a": {"token.v1": 0.75, "late.v1": 0.5}, "b": {"token.v1": 0.5, "late.v1": 0.5}, "c": {}})
    lines = differences(quality, run({"a": {"token.v1": 0.5}, "b": {"token.v1": 0.75}}))
    rows = [line for line in lines if ".v1" in line]
    assert len(rows) == len(METRICS)
    assert all(row.endswith("| +0.00 (b -25.0) |") for row in rows)
