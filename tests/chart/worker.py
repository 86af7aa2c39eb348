"""Runs under the chart's Python: one JSON object per line asks for an installation or a lint, one answers.

What Helm's library says goes to standard error; standard output is the answers' alone.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import helm_sdkpy
import yaml
from api import Recorder
from kubernetes_validate import SchemaNotFoundError, ValidationError, utils, validate

VERSIONS = ("1.30", "1.37")  # the oldest that the chart takes, and the newest there are schemas of
utils.schema_contents = functools.cache(utils.schema_contents)  # a megabyte of definitions, for every object anew


@functools.cache
def problems(text: str) -> list[str]:
    """What the schemas of Kubernetes have against an object, given as JSON; most are the same in many scenarios."""
    found, said = json.loads(text), []
    for version in VERSIONS:
        try:
            validate(found, version, strict=True)
        except SchemaNotFoundError:
            return [f"no schema of {found['apiVersion']} {found['kind']}"]
        except ValidationError as e:
            said.append(f"{version}: {e.json_path}: {e.message}")
    return said


class Helm:
    """Helm's library and the API that it installs into."""

    def __init__(self) -> None:
        self.api = Recorder()
        home = Path(tempfile.mkdtemp(prefix="laconic-helm-"))
        for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"):
            os.environ[name] = str(home)
        self.kubeconfig = home / "kubeconfig"
        self.kubeconfig.write_text(self.api.kubeconfig())

    def reach(self, namespace: str) -> helm_sdkpy.Configuration:
        return helm_sdkpy.Configuration(namespace=namespace, kubeconfig=str(self.kubeconfig))

    def install(self, chart: str, name: str, namespace: str, values: dict[str, Any]) -> dict[str, Any]:
        """What Helm recorded as the release and what it sent to the API."""
        self.api.sent.clear()
        act = helm_sdkpy.Install(self.reach(namespace))
        try:
            release = asyncio.run(act.run(name, chart, values, wait=False))
        except helm_sdkpy.InstallError as e:
            return {"error": str(e)}
        hooks = [yaml.load(h["manifest"], yaml.CSafeLoader) for h in release.get("hooks") or []]
        made = [m for m in yaml.load_all(release["manifest"], yaml.CSafeLoader) if m]
        return {
            "manifest": release["manifest"],
            "objects": made,
            "hooks": hooks,
            "notes": release["info"].get("notes", ""),
            "sent": list(self.api.sent),
        }

    def check(self, chart: str, objects: list[dict[str, Any]]) -> dict[str, Any]:
        return {f"{o['kind']}/{o['metadata']['name']}": problems(json.dumps(o)) for o in objects}

    def lint(self, chart: str) -> dict[str, Any]:
        return asyncio.run(helm_sdkpy.Lint(self.reach("lint")).run(chart))


def main() -> None:
    answers, helm = os.fdopen(os.dup(1), "w"), Helm()
    os.dup2(2, 1)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(getattr(helm, asked.pop("do"))(**asked)), file=answers, flush=True)


if __name__ == "__main__":
    main()
