"""What the documentation says to type works: README's shell and Python blocks are run as they stand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from .needs import RANK

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = ("quickstart", "rest", "budgets")
NOT_RUN = ("pip install", "laconic serve")  # the tests have done the one and do the other


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def on_pages(language: str) -> list[str]:
    return [b for page in PAGES for b in blocks(language, (ROOT / "docs" / f"{page}.md").read_text())]


def test_curl_answers_the_question(address: str) -> None:
    """The README's curl on twenty documents gives the answer, at a tenth of the tokens."""
    (command,) = [b for b in blocks("sh") if b.startswith("curl")]
    command = command.replace("http://127.0.0.1:8000", address)
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert len(found["documents"]) == 20
    assert "Emily Warren Roebling took over" in found["text"]
    assert found["usage"]["rate"] <= 0.1


@pytest.mark.parametrize("block", blocks("python"))
def test_python_blocks_run(block: str) -> None:
    """Every Python block runs in a fresh interpreter and prints something."""
    done = subprocess.run([sys.executable, "-c", block], cwd=ROOT, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_shell_examples_run() -> None:
    """`laconic compress` as the README shows it."""
    (line,) = [line for b in blocks("sh") for line in b.splitlines() if line.startswith("laconic compress")]
    command = line.split("#")[0].replace("laconic", f"{sys.executable} -m laconic.service", 1)
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("block", on_pages("python"))
def test_python_of_the_guides_runs(address: str, block: str) -> None:
    """Every Python block of the guides runs as it stands, against a service where it asks one."""
    block = block.replace("http://127.0.0.1:8000", address)
    done = subprocess.run([sys.executable, "-c", block], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Ada" in done.stdout or "Emily" in done.stdout or "answers kept" in done.stdout


@pytest.mark.parametrize("block", on_pages("sh"))
def test_shell_of_the_guides_runs(address: str, block: str) -> None:
    """Every shell block of the guides runs as it stands; what services answer is JSON without an error."""
    script = "".join(line for line in block.splitlines(True) if not line.startswith(NOT_RUN))
    script = script.replace("http://127.0.0.1:8000", address)
    script = re.sub(r"^laconic ", f"{sys.executable} -m laconic.service ", script, flags=re.MULTILINE)
    done = subprocess.run(["bash", "-euc", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not script.strip() or done.stdout.strip()
    assert '"error"' not in done.stdout


def test_the_sites_layout_is_this_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links that an earlier build has left, to nowhere or to another checkout, are made anew."""
    at = spec_from_file_location("site_hooks", ROOT / "docs" / "site.py")
    assert at is not None and at.loader is not None
    hooks = module_from_spec(at)
    at.loader.exec_module(hooks)
    monkeypatch.setattr(hooks, "ROOT", tmp_path)
    layout = tmp_path / "build" / "layout" / "laconic"
    layout.mkdir(parents=True)
    (layout / "client").symlink_to(tmp_path / "nowhere")
    (layout / "models").symlink_to(ROOT / "models")
    for _ in range(2):
        hooks.on_startup()
        assert {p.name: p.readlink() for p in layout.iterdir()} == {room: tmp_path / room for room in hooks.ROOMS}


def test_links_and_files_exist() -> None:
    """Relative links of the Markdown files lead somewhere."""
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")):
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("block", blocks("python", (ROOT / "docs" / "soft.md").read_text()))
def test_the_guide_to_latents_runs(block: str) -> None:
    """Its Python blocks as they stand; those that run a decoder where transformers is installed."""
    if "transformers" in block:
        pytest.importorskip("transformers", reason=RANK)
    done = subprocess.run([sys.executable, "-c", block], cwd=ROOT, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
