"""A pod's containers as local processes: command, variables, mounted Secrets and probes, as a kubelet has them."""

from __future__ import annotations

import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from ..redis_server import executable

Secrets = dict[str, dict[str, str]]  # name -> key -> content


@dataclass
class Local:
    """A container as a process of this machine."""

    command: list[str]
    env: dict[str, str]


class Cluster:
    """What stands around a container: the release's objects, the Secrets, and where names and folders are here.

    `here` says what a text of the manifest, such as a Service's name and port, is on this machine.
    """

    def __init__(self, objects: list[dict[str, Any]], secrets: Secrets, folder: Path, here: dict[str, str]) -> None:
        self.config = {o["metadata"]["name"]: o["data"] for o in objects if o["kind"] == "ConfigMap"}
        self.secrets, self.folder, self.here = secrets, folder, here

    def local(self, pod: dict[str, Any], box: dict[str, Any]) -> Local:
        """How a kubelet would start the container; only what the pod gives it is in its environment."""
        places = self._mount(pod, box)
        env = {"PATH": os.environ["PATH"]}
        for source in box.get("envFrom", []):
            env |= self.config[source["configMapRef"]["name"]]
        for variable in box.get("env", []):  # in order: one may name those before it
            env[variable["name"]] = expand(self._value(variable), env)
        words = [expand(word, env) for word in [*box["command"], *box.get("args", [])]]
        return Local(
            program([self._here(w, places) for w in words]), {k: self._here(v, places) for k, v in env.items()}
        )

    def _value(self, variable: dict[str, Any]) -> str:
        if "value" in variable:
            return str(variable["value"])
        ref = variable["valueFrom"]["secretKeyRef"]
        return self.secrets[ref["name"]][ref["key"]]

    def _mount(self, pod: dict[str, Any], box: dict[str, Any]) -> dict[str, str]:
        """Volumes as folders; a text that begins with a mount's path begins with the folder's instead."""
        volumes = {v["name"]: v for v in pod["volumes"]}
        places = {}
        for mount in box["volumeMounts"]:
            folder = self.folder / mount["name"]
            folder.mkdir(exist_ok=True)
            for key, content in self.secrets.get(
                volumes[mount["name"]].get("secret", {}).get("secretName"), {}
            ).items():
                (folder / key).write_text(content)
            places[mount["mountPath"]] = str(folder)
        return places

    def _here(self, text: str, places: dict[str, str]) -> str:
        for path, folder in places.items():
            if text == path or text.startswith(f"{path}/"):
                return folder + text.removeprefix(path)
        if text in self.here:
            return self.here[text]
        for name, there in self.here.items():
            if ":" in name:  # a host; a bare port could be part of any number
                text = text.replace(name, there)
        return text


def expand(text: str, env: dict[str, str]) -> str:
    """`$(NAME)` as Kubernetes expands it: what is not known stays."""
    return re.sub(r"\$\((\w+)\)", lambda m: env.get(m[1], m[0]), text)


def program(words: list[str]) -> list[str]:
    """The image's programs are those of this environment."""
    known = {"laconic": [sys.executable, "-m", "laconic.service"], "python": [sys.executable]}
    redis = executable()
    if redis:
        known["redis-server"] = [redis]
    return [*known[words[0]], *words[1:]]


def passes(probe: dict[str, Any], ports: dict[str, int]) -> bool:
    """Whether an httpGet probe passes now."""
    ask = probe["httpGet"]
    url = f"{ask['scheme'].lower()}://127.0.0.1:{ports[ask['port']]}{ask['path']}"
    try:
        return 200 <= httpx.get(url, timeout=probe["timeoutSeconds"], verify=False).status_code < 400
    except httpx.TransportError:
        return False


def wait(probe: dict[str, Any], ports: dict[str, int]) -> int:
    """How often a probe was asked until it passed; raises TimeoutError after as many as it has."""
    for asked in range(1, probe["failureThreshold"] + 1):
        if passes(probe, ports):
            return asked
        time.sleep(probe["periodSeconds"] / 10)  # sooner than a kubelet, so that the test is short
    raise TimeoutError(probe)
