"""Documents of all kinds through the service: named, rebuilt from spans and marks, within the budget."""

from __future__ import annotations

import json
import shutil
from difflib import SequenceMatcher
from pathlib import Path

import httpx
import pytest

from laconic.bench.page import _AFTER, _BEFORE, compress, filled
from laconic.compressors import Compressor

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "docs" / "examples" / "content"
PAGE = (ROOT / "docs" / "content.md").read_text()
KINDS = {
    "pumps.json": "json.v1",
    "service.log": "log.v1",
    "retry.py": "code.v1",
    "museum.html": "html.v1",
    "backup.md": "markdown.v1",
}
PROSE = "It rained. The treaty was signed by Ada in the old town hall. Lunch was good, and nobody left early."


def ask(address: str, **fields: object) -> dict:  # type: ignore[type-arg]
    documents = [{"id": name, "text": (SAMPLES / name).read_text()} for name in KINDS]
    body = {"documents": [*documents, {"id": "prose", "text": PROSE}], "recipe": "auto.v1", **fields}
    answer = httpx.post(f"{address}/v1/compress", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    found: dict = answer.json()  # type: ignore[type-arg]
    return found


def rebuilt(text: str, spans: list[list[int]], marks: list[list]) -> str:  # type: ignore[type-arg]
    parts = [(a, 1, text[a:b]) for a, b in spans] + [(at, 0, said) for at, said in marks]
    return "".join(said for _, _, said in sorted(parts, key=lambda p: p[:2]))


@pytest.mark.parametrize("marker", ["…", "[cut]", ""])
def test_mixed_documents(address: str, compressor: Compressor, marker: str) -> None:
    """Every document is cut as what it is; spans and marks rebuild its text; the budget is met exactly."""
    answer = ask(address, query="What happened to request r-7f3a?", budget={"rate": 0.4}, marker=marker)
    for d in answer["documents"]:
        source = PROSE if d["id"] == "prose" else (SAMPLES / d["id"]).read_text()
        assert d.get("recipe") == KINDS.get(d["id"])
        marks = d.get("marks") or []
        assert rebuilt(source, d["spans"], marks) == d["text"]
        assert marker or not marks
    texts = {d["id"]: d["text"] for d in answer["documents"]}
    assert json.loads(texts["pumps.json"] or "{}") is not None
    assert "ERROR [worker-3] request r-7f3a failed" in texts["service.log"]
    used = compressor.reader().count([answer["text"]])[0]
    assert used == answer["usage"]["tokens_out"] <= 0.4 * answer["usage"]["tokens_in"]
    if marker == "[cut]":
        assert "[cut]" in answer["text"]
        assert "…" not in answer["text"]


def test_everything_is_kept_at_rate_one(address: str) -> None:
    """Without anything to leave out, there are no marks."""
    answer = ask(address, budget={"rate": 1})
    assert all(d.get("marks") is None for d in answer["documents"])


def test_the_page_shows_what_commands_write(compressor: Compressor) -> None:
    """The page has every sample to the letter, and of each command the output: as far as processors agree on int8."""
    shown = {m["name"]: m[0] for m in _BEFORE.finditer(PAGE)}
    assert set(shown) == {p.name for p in SAMPLES.iterdir()}
    for name, block in shown.items():
        assert (SAMPLES / name).read_text().rstrip() in block
    found = list(_AFTER.finditer(PAGE))
    assert len(found) == len(shown) + 1
    for m in found:
        now = compress(m["command"], ROOT, compressor).rstrip()
        assert SequenceMatcher(None, now, m["out"].rstrip(), autojunk=False).ratio() > 0.8, m["command"]


def test_a_page_is_filled_in(compressor: Compressor, tmp_path: Path) -> None:
    """Examples that are wrong or empty are written anew, and only they."""
    shutil.copytree(SAMPLES, tmp_path / "docs" / "examples" / "content")
    command = "laconic compress docs/examples/content/service.log --recipe meta.v1"
    page = f'# A\n\n```text title="service.log"\nold\n```\n\n```sh\n{command}\n```\n\n```text\n```\n\nB\n'
    made = filled(page, tmp_path, compressor)
    assert (SAMPLES / "service.log").read_text() in made
    assert "```text\nShorthand:" in made
    assert made.endswith("```\n\nB\n")
    assert filled(made, tmp_path, compressor) == made
