"""The worker and what it renders, for tests under any Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from .scenarios import SCENARIOS

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "laconic"
NEEDS = "import helm_sdkpy, kubernetes_validate, yaml"
MISSING = (
    "no Python with Helm's library: .ci/chart makes one (Python 3.12 or newer), or name it in LACONIC_CHART_PYTHON"
)


def interpreter() -> str | None:
    """The Python that has Helm's library, or None."""
    for found in (os.environ.get("LACONIC_CHART_PYTHON"), str(ROOT / ".venv-chart" / "bin" / "python"), sys.executable):
        if found and Path(found).exists():
            done = subprocess.run([found, "-c", NEEDS], capture_output=True, check=False)
            if done.returncode == 0:
                return found
    return None


class ChartError(Exception):
    """What Helm said when it refused."""


@dataclass(frozen=True)
class Rendered:
    """One installation: what Helm kept as the release, and what the API was sent."""

    manifest: str
    objects: list[dict[str, Any]]
    hooks: list[dict[str, Any]]
    notes: str
    sent: list[dict[str, Any]]

    def kinds(self) -> list[str]:
        return sorted(o["kind"] for o in self.objects)

    @cached_property
    def name(self) -> str:
        """What everything is called, up to what tells the parts apart."""
        parts = [(o["metadata"]["labels"]["app.kubernetes.io/component"], o) for o in self.objects]
        (found,) = [o["metadata"]["name"] for part, o in parts if part == "service" and o["kind"] == "Deployment"]
        return str(found)

    def get(self, kind: str, part: str = "") -> dict[str, Any]:
        name = f"{self.name}{part}"
        (found,) = [o for o in [*self.objects, *self.hooks] if (o["kind"], o["metadata"]["name"]) == (kind, name)]
        return found

    def pods(self) -> list[dict[str, Any]]:
        """The specs of all pods that would run, the test's among them."""
        return [o["spec"]["template"]["spec"] for o in self.objects if o["kind"] == "Deployment"] + [
            h["spec"] for h in self.hooks if h["kind"] == "Pod"
        ]

    def config(self) -> dict[str, str]:
        found: dict[str, str] = self.get("ConfigMap")["data"]
        return found


@dataclass
class Helm:
    """Helm's engine, one process for a file of tests; what was installed once is kept."""

    process: subprocess.Popen[str]
    known: dict[str, Rendered] = field(default_factory=dict)

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps({"do": do, "chart": str(CHART), **more}) + "\n")
        self.process.stdin.flush()
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def install(self, values: dict[str, Any], name: str = "rel", namespace: str = "ns") -> Rendered:
        """Raises ChartError."""
        found = self.ask("install", name=name, namespace=namespace, values=values)
        if "error" in found:
            raise ChartError(found["error"])
        return Rendered(**found)

    def scenario(self, name: str) -> Rendered:
        if name not in self.known:
            self.known[name] = self.install(SCENARIOS[name])
        return self.known[name]


@contextmanager
def helm() -> Iterator[Helm]:
    """The engine, or the test is skipped; where LACONIC_REQUIRE_CHART is set, it fails instead."""
    python = interpreter()
    if python is None:
        if os.environ.get("LACONIC_REQUIRE_CHART"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    worker = Path(__file__).with_name("worker.py")
    with subprocess.Popen([python, str(worker)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Helm(process)
        assert process.stdin
        process.stdin.close()
