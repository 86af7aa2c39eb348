"""The judge judges right, and the bench runs end to end on data made here."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import pytest

from laconic.bench.__main__ import main
from laconic.bench.data import Example, examples
from laconic.bench.quality import judge
from laconic.bench.report import margins
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
    example = Example(query="?", titles=[None], texts=[TEXT], evidence=[(0, 11, 31)], answers=["ADA", "nobody"])
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
    assert isinstance(margins(found), list)
