"""The judge judges right, and the bench runs end to end on data made here."""

from __future__ import annotations

import asyncio
import json
import lzma
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from laconic.bench.__main__ import main
from laconic.bench.data import Example, examples
from laconic.bench.latency import Answer, arrive, bare, bare_each, bodies, plot, saturate, summary
from laconic.bench.quality import interval, judge
from laconic.bench.report import joined, margins, wilson
from laconic.compressors import Compressed, Result, Span

TEXT = "It rained. Ada built the bridge. Lunch was good."


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = {
        "passages": [{"pid": f"p{i}", "group": "g", "title": None, "text": f"Day {i}. " + TEXT} for i in range(6)],
        "queries": [
            {
                "qid": "q",
                "query": "Who built the bridge?",
                "answers": ["Ada"],
                "answerable": True,
                "labels": [{"pid": "p3", "evidence": [[18, 39]], "answers": [[18, 21]], "level": "annotated"}],
                "group": "g",
                "context": ["p3"],
            }
        ],
    }
    for kind, lines in rows.items():
        with lzma.open(tmp_path / f"tiny.{kind}.jsonl.xz", "wt") as file:
            file.writelines(json.dumps(r) + "\n" for r in lines)
    return tmp_path


def result(*spans: tuple[int, int]) -> Result:
    text = "".join(TEXT[a:b] for a, b in spans)
    document = Compressed(
        id="0", text=text, spans=[Span(*s) for s in spans], score=None, tokens_in=10, tokens_out=4, segments=1, cached=0
    )
    return Result(text=text, documents=[document], order=[0], tokens_in=10, tokens_out=4, segments=1, cached=0)


def test_judge_counts_characters_of_evidence() -> None:
    """Half the evidence kept is recall one half and no support; nine tenths is support; answers are strings."""
    labels = {"evidence": [(0, 11, 31)], "answers": ["ADA", "nobody"], "relevant": [0]}
    example = Example(query="?", titles=[None], texts=[TEXT], **labels)
    half = judge(example, result((11, 21)))
    assert (half.evidence_recall, half.full_support, half.answer_kept, half.rate) == (0.5, 0.0, 1.0, 0.4)
    most = judge(example, result((13, 31)))
    assert (most.evidence_recall, most.full_support, most.answer_kept) == (0.9, 1.0, 0.0)


def test_examples_hold_the_labelled_passage(data: Path) -> None:
    """The labelled passage is among the documents, its spans point to the evidence, drawing is repeatable."""
    (one,) = examples(data, "tiny", count=5, documents=4)
    assert len(one.texts) == 4
    document, start, end = one.evidence[0]
    assert one.texts[document][start:end] == "Ada built the bridge."
    assert [one] == examples(data, "tiny", count=5, documents=4)


def test_labelled_passages_stand_for_evidence(data: Path) -> None:
    """Where nobody marked evidence, the labelled passage is taken whole, if that is asked for."""
    path = data / "tiny.queries.jsonl.xz"
    with lzma.open(path, "rt") as file:
        row = json.loads(file.readline())
    row["labels"][0]["evidence"] = []
    with lzma.open(path, "wt") as file:
        file.write(json.dumps(row) + "\n")
    (bare,) = examples(data, "tiny", count=1, documents=4)
    (one,) = examples(data, "tiny", count=1, documents=4, whole=True)
    assert bare.evidence == []
    assert one.relevant == bare.relevant
    assert one.evidence == [(one.relevant[0], 0, len(one.texts[one.relevant[0]]))]


def test_bench_quality_end_to_end(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tables, a plot and one JSON line; ours and the baselines on the same examples at their true rates."""
    out = tmp_path / "out"
    assert main(["quality", "--data", str(data), "--out", str(out), "--documents", "4"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    methods = found["sets"]["tiny"]["methods"]
    assert {"token.v1", "sentence.v1", "lexical.v1", "random", "lead", "bm25", "stop-words"} <= set(methods)
    assert all(figures["0.25"]["rate"] <= 0.25 for figures in methods.values())
    assert methods["bm25"]["0.5"]["answer_kept"] == 1.0
    assert (out / "tiny.png").stat().st_size > 5000
    assert "| token.v1 |" in (out / "table.md").read_text()
    page = (out / "report.md").read_text()
    assert "![tiny: metrics over the rate](tiny.png)" in page
    assert "| tiny | 0.25 | evidence_recall |" in page
    assert isinstance(margins(found), list)
    other = tmp_path / "other.json"
    other.write_text((out / "figures.json").read_text().replace('"tiny"', '"large"'))
    told = ["quality", "--data", str(data), "--documents", "4", "--only-ours", "--recipes", "lexical.v1"]
    assert main([*told, "--out", str(tmp_path / "both"), "--join", str(other)]) == 0
    both = json.loads((tmp_path / "both" / "figures.json").read_text())
    assert both["sets"]["large"] == found["sets"]["tiny"]
    assert list(both["sets"]["tiny"]["methods"]) == ["lexical.v1"]
    assert (tmp_path / "both" / "large.png").exists()


def test_only_runs_that_measured_alike_are_joined() -> None:
    """Other sets at the same rates by the same model; anything else would be read as what it is not."""
    run: dict[str, Any] = {"rates": [0.1], "documents": 10, "facts": {"revision": "3"}, "sets": {"b": {}}}
    assert list(joined(run, [{**run, "sets": {"a": {}}}])["sets"]) == ["a", "b"]
    with pytest.raises(ValueError, match="measured twice: b"):
        joined(run, [run])
    with pytest.raises(ValueError, match="not measured alike: facts"):
        joined(run, [{**run, "facts": {"revision": "2"}, "sets": {}}])


def test_intervals_hold_the_mean() -> None:
    """A bootstrap interval holds its mean, narrows with more values, and is a point where nothing varies."""
    rng = np.random.default_rng(1)
    few, many = rng.random(20), rng.random(2000)
    for values in (few, many):
        low, high = interval(list(values))
        assert low < values.mean() < high
    assert np.ptp(interval(list(many))) < np.ptp(interval(list(few)))
    assert interval([1.0] * 9) == (1.0, 1.0)


def test_shares_of_few_cases_are_uncertain() -> None:
    """Wilson's interval, as tables of it have it: never outside of 0 and 1, wide for two cases."""
    assert wilson(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert wilson(0.0, 2) == pytest.approx((0.0, 0.6576), abs=1e-4)
    assert wilson(1.0, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)


def test_open_loop_load_accounts_for_every_request(address: str, tmp_path: Path) -> None:
    """Every arrival has an outcome, percentiles and goodput come from them, and the plot is drawn."""
    bodies_ = bodies(10, 2, 30, 5000)
    assert len({b["documents"][0]["text"] for b in bodies_}) == 10

    async def run() -> list[Answer]:
        async with httpx.AsyncClient(base_url=address, timeout=30) as client:
            rate, speed, took = await saturate(client, bodies_, 2)
            assert rate > 0
            assert speed > 0
            assert len(took) == 10
            return await arrive(client, lambda n: bodies_[n % 10], 20, 0.5)

    found = asyncio.run(run())
    assert len(found) == 10
    assert {a.status for a in found} <= {200, 429}
    refused = [Answer(0.0, 429, 0.01, 0.5, "accepted"), Answer(0.1, 429, 0.01, 0.5, "refused")]
    told = summary([Answer(0.0, 200, 0.2), Answer(0.1, 200, 6.0), *refused], 1.0, 5.0, 4.0)
    assert told["codes"] == {"200": 2, "429": 2}
    assert told["goodput_of_capacity"] == 0.5
    assert told["accepted_in_deadline"] == 0.5
    assert told["retry_after_right"] == "1/2"
    assert plot(found, [(0.0, 2e8)], 5.0, tmp_path / "latency.png").stat().st_size > 1000


def test_bare_model_runs_the_same_segments() -> None:
    """The bare loop sees the segments that the service would score."""
    requests = bodies(2, 2, 30, 5000)
    assert bare(requests, 2) > 0
    assert len(bare_each(requests, 2)) == 2
