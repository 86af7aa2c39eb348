"""Sets of questions with marked evidence: read with or without compression, refused with the line that is wrong."""

from __future__ import annotations

import json
import lzma
import re
from pathlib import Path
from typing import Any

import pytest

from laconic.bench.__main__ import main as bench
from laconic.bench.data import examples
from laconic.models.question_sets import SetError, names, read_set

TEXT = "Either party may end it, in writing. It rained."
PASSAGE = {"pid": "c1", "group": "contract 1", "title": "Termination", "text": TEXT}
LABEL = {"pid": "c1", "evidence": [[0, 36]], "answers": [[0, 12]], "level": "annotated"}
QUERY = {"qid": "q1", "query": "Who may end it?", "answers": ["Either party"], "group": "contract 1", "labels": [LABEL]}


def put(folder: Path, passages: list[Any], queries: list[Any], ending: str = ".jsonl") -> Path:
    """A set named contracts; what is not text becomes JSON."""
    for kind, rows in (("passages", passages), ("queries", queries)):
        text = "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows)
        path = folder / f"contracts.{kind}{ending}"
        path.write_bytes(lzma.compress(text.encode()) if ending.endswith("xz") else text.encode())
    return folder


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.xz"])
def test_a_set_is_read(tmp_path: Path, ending: str) -> None:
    """Both endings; what may be left out has a default; benches read the same."""
    least = {"query": "Why?", "group": "contract 1", "labels": [{"pid": "c2"}]}
    put(tmp_path, [PASSAGE, {"pid": "c2", "group": "contract 1", "text": "Yes."}], [QUERY, least], ending)
    assert names(tmp_path) == ["contracts"]
    found = read_set(tmp_path, "contracts")
    assert list(found["passages"]) == ["c1", "c2"] and found["passages"]["c2"]["title"] is None
    first, second = found["queries"]
    assert TEXT[slice(*first["labels"][0]["evidence"][0])] == "Either party may end it, in writing."
    assert (second["answers"], second["context"], second["labels"][0]["evidence"]) == ([], [], [])
    (made,) = [e for e in examples(tmp_path, "contracts", count=9, documents=2) if e.evidence]
    assert (made.query, made.answers, len(made.texts)) == ("Who may end it?", ["Either party"], 2)


@pytest.mark.parametrize(
    ("passages", "queries", "message"),
    [
        ([PASSAGE], [QUERY, {**QUERY, "group": None}], "queries.jsonl, line 2: group: Input should be"),
        ([{"pid": "c1"}], [QUERY], "passages.jsonl, line 1: group: Field required"),
        ([PASSAGE], [{**QUERY, "labels": [{**LABEL, "pid": "c9"}]}], "line 1: no passage is named 'c9'"),
        ([PASSAGE], [{**QUERY, "context": ["c8"]}], "line 1: no passage is named 'c8'"),
        ([PASSAGE], [{**QUERY, "labels": [{**LABEL, "evidence": [[3, 48]]}]}], r"\[3, 48\] is no span of 'c1' \(47"),
        ([PASSAGE], [{**QUERY, "labels": [{**LABEL, "answers": [[4, 4]]}]}], r"\[4, 4\] is no span"),
        ([PASSAGE], [{**QUERY, "labels": [{**LABEL, "answers": [[-4, 4]]}]}], r"\[-4, 4\] is no span"),
        ([PASSAGE], [{**QUERY, "labels": [{**LABEL, "answers": [[1]]}]}], "labels.0.answers.0.1: Field required"),
        ([PASSAGE, "{"], [QUERY], "passages.jsonl, line 2: Expecting property name"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, passages: list[Any], queries: list[Any], message: str) -> None:
    with pytest.raises(SetError, match=message):
        read_set(put(tmp_path, passages, queries), "contracts")


def test_the_guide_shows_a_set(tmp_path: Path) -> None:
    """The rows in docs/training.md can be copied."""
    page = (Path(__file__).parent.parent / "docs" / "training.md").read_text()
    passage, query = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    found = read_set(put(tmp_path, [json.loads(passage)], [json.loads(query)]), "contracts")
    (label,) = found["queries"][0]["labels"]
    text = found["passages"][label["pid"]]["text"]
    assert [text[a:b] for a, b in (*label["evidence"], *label["answers"])] == [text, "Either party"]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    """An empty folder, and half a set; commands say it in a line."""
    with pytest.raises(SetError, match="holds no set"):
        names(tmp_path)
    with pytest.raises(SystemExit, match=r"laconic: .* holds no set"):
        bench(["quality", "--data", str(tmp_path), "--out", str(tmp_path / "out"), "--only-ours"])
    put(tmp_path, [PASSAGE], [QUERY])
    (tmp_path / "contracts.passages.jsonl").unlink()
    with pytest.raises(SetError, match=r"contracts\.passages\.jsonl\.xz is missing"):
        read_set(tmp_path, "contracts")


def test_a_broken_copy_is_named(tmp_path: Path) -> None:
    """A download that was cut off, and what is no .xz at all."""
    path = put(tmp_path, [PASSAGE] * 50, [QUERY], ".jsonl.xz") / "contracts.passages.jsonl.xz"
    for left in (path.read_bytes()[:-20], b"<html>not found</html>"):
        path.write_bytes(left)
        with pytest.raises(SetError, match=r"contracts\.passages\.jsonl\.xz is no whole \.xz file"):
            read_set(tmp_path, "contracts")
