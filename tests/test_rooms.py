"""Import rules: which room may know which, and which files may load what is heavy."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import laconic.compressors

ROOTS = {
    room: Path(importlib.import_module(f"laconic.{room}").__file__ or "").parent
    for room in ("bench", "client", "compressors", "models", "service")
}
MAY = {
    "client": set(),
    "models": set(),
    "compressors": {"laconic.models", "laconic.client.coded"},  # what coded text is: who reads it needs no more
    "service": {
        *("laconic.compressors", "laconic.models", "laconic.bench.__main__"),
        *("laconic.client.latents", "laconic.client.wire", "laconic.client.wire_latents"),
        *("laconic.client.calls", "laconic.client.core"),  # for the client that runs in process
    },
    "bench": {
        *("laconic.compressors", "laconic.models", "laconic.client.wire", "laconic.client.embeds"),
        *("laconic.service.cache", "laconic.service.handle", "laconic.service.keys"),
    },
}
HEAVY = {
    "torch": {
        *("models/export", "models/export_lm", "models/torch_backend", "models/classifier", "models/causal"),
        *("models/lm_hf", "models/export_classifier", "client/embeds", "client/latents"),
        *("models/training", "bench/scorers", "bench/peers", "bench/parity", "bench/parity_causal"),
        *("models/soft/arc", "models/soft/backend", "models/soft/generic", "models/soft/lclm", "models/soft/network"),
        *("models/ranker", "models/bert_names", "models/export_soft", "models/onnx_tools"),
        *("bench/cramming", "bench/latents", "bench/soft"),
    },
    "onnxruntime": {"models/onnx_backend", "models/onnx_tools", "bench/scorers"},
    "sentence_transformers": {"models/ranker"},
    "huggingface_hub": {"models/hf", "models/load"},
    "httpx": {
        "client/client",
        "service/passthrough",
        "service/upstream",
        "bench/capacity",
        "bench/latency",
        "bench/hostile",
        "bench/load",
        "bench/soak",
    },
    "langchain": {"client/middleware"},
    "langchain_core": {"client/langchain", "client/middleware"},
    "llama_index": {"client/llamaindex"},
    "haystack": {"client/haystack"},
    "fastapi": {"service"},
    "starlette": {"service"},
    "uvicorn": {"service"},
    "matplotlib": {"bench/plots"},
    "prometheus_client": {"service"},
    "pyarrow": {"service/filebatch"},
    "ray": {"service/raybatch"},
    "tree_sitter": {"compressors/content/code", "compressors/content/languages"},
    "opentelemetry": {"service/tracing"},
    "mcp": {"service/mcp_server"},
    "redis": {"service/cache", "bench/entries"},
    "llmlingua": {"bench/peers", "bench/parity", "bench/parity_causal"},
    "transformers": {
        "bench/peers",
        "bench/parity",
        "bench/parity_causal",
        "bench/peers_causal",
        "models/causal",
        "models/lm_hf",
        "models/training/soft",
        "bench/latents",
        "models/soft/generic",
        "models/soft/lclm",
    },
    "onnx": {
        *("models/export", "models/export_lm", "models/export_soft", "models/lm_hf", "models/outliers"),
        "models/torch_backend",
    },
    "safetensors": {
        *("models/export", "models/torch_backend", "models/classifier", "models/training"),
        *("models/soft/arc", "models/soft/generic", "models/soft/lclm", "models/export_soft"),
    },
}


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module)
    return names


def files() -> list[tuple[str, Path]]:
    return [(room, p) for room, root in ROOTS.items() for p in sorted(root.rglob("*.py"))]


@pytest.mark.parametrize(("room", "path"), files(), ids=lambda v: v.name if isinstance(v, Path) else v)
def test_rooms_know_only_what_they_may(room: str, path: Path) -> None:
    """service → compressors → models; the client knows none of them; only the bench imports (parts of) the service."""
    others = {n for n in imported(path) if n.startswith("laconic.") and not n.startswith(f"laconic.{room}")}
    assert {n for n in others if not any(n == m or n.startswith(m + ".") for m in MAY[room])} == set()
    here = f"{room}/{path.relative_to(ROOTS[room]).with_suffix('')}"
    for package, places in HEAVY.items():
        if any(n == package or n.startswith(package + ".") for n in imported(path)):
            assert any(here == p or here.startswith(p + "/") for p in places), f"{here} imports {package}"


def test_environment_is_read_in_one_file() -> None:
    """`os.environ` is read in service/settings.py alone (the others write what tiktoken, Ray and ONNX Runtime read)."""
    found = {p.name for _, p in files() if "environ" in p.read_text()}
    assert found == {"settings.py", "readers.py", "raybatch.py", "quiet.py"}


def test_files_stay_small() -> None:
    """No file much over 300 lines."""
    assert {p.name: n for _, p in files() if (n := len(p.read_text().splitlines())) > 330} == {}


def test_public_lists_are_sorted_and_true() -> None:
    """Every room's `__all__` is sorted and importable."""
    for room in ("client", "compressors", "models"):
        module = importlib.import_module(f"laconic.{room}")
        assert list(module.__all__) == sorted(module.__all__, key=lambda n: (not n.isupper(), n[0].islower(), n))
        assert all(hasattr(module, n) for n in module.__all__)


def test_light_imports() -> None:
    """The client loads no numpy, torch, onnxruntime or web framework; the compressors no torch or web framework."""
    script = "import sys, laconic.{}; print(sorted(set(sys.modules) & {{{}}}))"
    for room, heavy in (
        ("client", "'numpy', 'torch', 'onnxruntime', 'fastapi', 'tokenizers'"),
        ("compressors", "'torch', 'onnxruntime', 'fastapi', 'transformers', 'redis'"),
    ):
        run = subprocess.run(
            [sys.executable, "-c", script.format(room, heavy)], capture_output=True, text=True, check=True
        )
        assert run.stdout.strip() == "[]"


def loaded(script: str) -> set[str]:
    """The packages outside the standard library that a fresh interpreter has loaded after the script."""
    show = "print(*{m.partition('.')[0] for m in sys.modules} - sys.stdlib_module_names)"
    run = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; before = set(sys.modules); {script}; {show}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {m for m in run.stdout.split() if not m.startswith("_")}


def test_the_client_is_light() -> None:
    """`import laconic.client` loads pydantic and what it needs, no more; httpx comes with the first client."""
    begun = loaded("pass")  # what the interpreter's own start brings, such as the finder of an editable install
    needs = {"annotated_types", "laconic", "pydantic", "pydantic_core", "typing_extensions", "typing_inspection"}
    assert loaded("import laconic.client") - begun <= needs
    heavy = {"fastapi", "langchain_core", "llama_index", "numpy", "onnxruntime", "starlette", "tokenizers", "torch"}
    made = loaded("import laconic.client; laconic.client.Client()")
    assert "httpx" in made
    assert made & heavy == set()


def test_a_service_without_an_upstream_is_lighter() -> None:
    """httpx, which asks upstreams, comes with the first of them."""
    begun = loaded("pass")
    assert "httpx" not in loaded("import laconic.service.app, laconic.service.local") - begun
    script = "from laconic.service.app import State; from laconic.service.settings import Settings; State(Settings({}))"
    assert "httpx" not in loaded(script.format("")) - begun
    assert "httpx" in loaded(script.format("upstream_url='http://127.0.0.1:1'"))


def test_every_room_is_typed() -> None:
    """What is installed says that its types can be relied on."""
    assert all((root / "py.typed").exists() for root in ROOTS.values())


def test_recipes_are_a_table() -> None:
    """Every recipe is versioned, sourced and described."""
    for name, recipe in laconic.compressors.RECIPES.items():
        assert name == recipe.name
        assert name.rpartition(".v")[2].isdigit()
        assert recipe.source
        assert recipe.summary
