"""The benches of soft compressors, small, through the embedded pair: reading, cramming, cost, the card as a page."""

from __future__ import annotations

import json
import lzma
import shutil
from pathlib import Path

import pytest

from .needs import RANK, TORCH

pytest.importorskip("torch", reason=TORCH)
pytest.importorskip("transformers", reason=RANK)

from laconic.bench import latents
from laconic.bench.__main__ import main
from laconic.bench.soft import f1
from laconic.models import Card
from laconic.models.catalogue import EMBEDDED

WORDS = "The bridge of Geneva was built by Ada Lovelace in 1883 and it carried trains across the river for years. "


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "eval"
    folder.mkdir()
    texts = [f"Number {n}. " + WORDS * 4 for n in range(8)]
    passages = [{"pid": f"p{n}", "group": f"g{n}", "title": None, "text": t} for n, t in enumerate(texts)]
    queries = []
    for p in passages:
        at = p["text"].index("Ada")
        label = {"pid": p["pid"], "evidence": [[0, 40]], "answers": [[at, at + 12]], "level": "sentence"}
        query = {"qid": p["pid"], "query": "who built it?", "answers": ["Ada Lovelace"], "answerable": True}
        queries.append({**query, "labels": [label], "group": p["group"], "context": [p["pid"]]})
    articles = [{"id": str(n), "title": "T", "text": WORDS * 40} for n in range(4)]
    for name, rows in (("squad.passages", passages), ("squad.queries", queries), ("wikipedia", articles)):
        with lzma.open(folder / f"{name}.jsonl.xz", "wt", encoding="utf-8") as out:
            out.writelines(json.dumps(r) + "\n" for r in rows)
    return folder


@pytest.mark.filterwarnings("ignore")
def test_soft_bench_and_card(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures by way and rate, written to the card; fitted latents are no worse than those they began as; a page."""
    own = tmp_path / "laconic-soft"
    shutil.copytree(EMBEDDED / "laconic-soft", own)
    told = ["soft", "--data", str(data), "--count", "2", "--passages", "2", "--cram", "3", "--out", str(tmp_path)]
    assert main([*told, "--write", str(own)]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    rates = [str(r) for r in Card.read(own).latent.rates]  # type: ignore[union-attr]
    for way in ("latents", "latents kept as int8", "first tokens"):
        assert list(found["measured"]["again"][way]) == rates
        assert all(0 <= v[0] <= 1 for v in found["measured"]["answer_f1"][way].values())
    assert found["measured"]["again"]["latents"]["2"][0] > found["measured"]["again"]["first tokens"]["16"][0]
    for rate in rates:
        assert found["cramming"]["fitted"][rate][0] >= found["cramming"]["encoder"][rate][0] - 0.05
    page = tmp_path / "card.md"
    assert main(["card", str(own), "--out", str(page)]) == 0
    assert "| latents | 4 |" in page.read_text()
    assert {p.name for p in tmp_path.glob("*.png")} >= {"laconic-soft.png", "laconic-soft-curve.png"}


@pytest.mark.filterwarnings("ignore")
def test_cost_of_latents(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known contexts cost less than new ones, and a decoder's memory falls with the rate."""
    found = latents.encoding(data, 4, 1, sizes=(500, 2000))
    assert all(r["warm"] < r["cold"] for r in found)
    monkeypatch.setattr(latents, "CONTEXTS", (300,))
    monkeypatch.setattr(latents, "MODEL", {**latents.MODEL, "num_hidden_layers": 1})
    (row,) = latents.first_token(data, 4, 1, 1)
    assert row["latents"] <= row["tokens"] / 3
    assert row["cache_mb_latents"] < row["cache_mb_whole"] / 3
    latents.plot({"encoding": found}, tmp_path / "p.png")
    assert (tmp_path / "p.png").stat().st_size > 1000


def test_f1_is_squads() -> None:
    """Articles, case and punctuation do not count; the best answer does."""
    assert f1("The Ada Lovelace!", ["nobody", "ada lovelace"]) == 1
    assert f1("Ada", ["Ada Lovelace"]) == pytest.approx(2 / 3)
    assert f1("", ["Ada"]) == 0
