"""The chart, as Helm's own engine renders and installs it: what the objects are, and what they never are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema
import pytest
import yaml

from laconic.service.app import create_app
from laconic.service.settings import Settings

from .chart import rendering
from .chart.crds import SPECS
from .chart.rendering import CHART, Helm, Rendered
from .chart.scenarios import SCENARIOS, SECRETS

BASE = ["ConfigMap", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "Service", "ServiceAccount"]
every_scenario = pytest.mark.parametrize("name", SCENARIOS)


@pytest.fixture(scope="module")
def helm() -> Iterator[Helm]:
    with rendering.helm() as found:
        yield found


def container(made: Rendered, at: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = made.get("Deployment")["spec"]["template"]["spec"]["containers"][at]
    return found


def test_lint_finds_nothing(helm: Helm) -> None:
    """Helm's linter has no error and no warning."""
    found = helm.ask("lint")
    assert found["Errors"] is None
    assert [m for m in found["Messages"] if m["Severity"] > 1] == []


@every_scenario
def test_kubernetes_takes_every_object(helm: Helm, name: str) -> None:
    """Every object is as the schemas of the oldest and newest Kubernetes have it, or as its operator's does."""
    made = helm.scenario(name)
    for at, said in helm.ask("check", objects=[*made.objects, *made.hooks]).items():
        kind, _, called = at.partition("/")
        if kind in SPECS:
            jsonschema.validate(made.get(kind, called.removeprefix(made.name))["spec"], SPECS[kind])
        else:
            assert said == [], at


@every_scenario
def test_what_is_sent_is_what_is_rendered(helm: Helm, name: str) -> None:
    """The API is sent the objects of the release and no others; the test's pod waits for `helm test`."""
    made = helm.scenario(name)
    assert sorted(o["kind"] for o in made.sent) == made.kinds()
    for sent in made.sent:
        (rendered,) = [o for o in made.objects if key(o) == key(sent)]
        assert sent.get("spec") == rendered.get("spec")
        assert sent.get("data") == rendered.get("data")
        assert sent["metadata"]["namespace"] == "ns"
    assert [h["metadata"]["annotations"]["helm.sh/hook"] for h in made.hooks] == ["test"]


def key(found: dict[str, Any]) -> tuple[str, str]:
    return found["kind"], found["metadata"]["name"]


@every_scenario
def test_rendering_is_deterministic(helm: Helm, name: str) -> None:
    """The same values give the same bytes."""
    made, again = helm.scenario(name), helm.install(SCENARIOS[name])
    assert (again.manifest, again.hooks, again.notes) == (made.manifest, made.hooks, made.notes)


@every_scenario
def test_pods_are_restricted(helm: Helm, name: str) -> None:
    """Every container of every pod keeps to the restricted Pod Security Standard, with a read-only root."""
    for pod in helm.scenario(name).pods():
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"].get("runAsUser", 1) > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        assert all("hostPath" not in v for v in pod.get("volumes", []))
        for box in [*pod.get("initContainers", []), *pod["containers"]]:
            confined = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
            assert box["securityContext"] == {**confined, "readOnlyRootFilesystem": True}
            assert {"requests", "limits"} == set(box["resources"])


@every_scenario
def test_no_secret_is_written_down(helm: Helm, name: str) -> None:
    """The chart makes no Secret; no ConfigMap, variable or argument holds a password; secret files are mounted."""
    made = helm.scenario(name)
    assert "Secret" not in made.kinds()
    assert "LACONIC_REDIS_URL" not in made.config()
    texts = [*made.config().values()]
    for pod in made.pods():
        boxes = [*pod.get("initContainers", []), *pod["containers"]]
        texts += [e["value"] for b in boxes for e in b.get("env", []) if "value" in e]
        texts += [a for b in boxes for a in b.get("args", [])]
    for text in texts:
        assert not re.search(r"://[^/\s]*:(?!\$\(REDIS_PASSWORD\)@)[^/\s]*@", text)
    mounts = {m["mountPath"] for m in container(made)["volumeMounts"] if m.get("readOnly")}
    files = [v for k, v in made.config().items() if k.endswith(("_FILE", "_TLS_CERT", "_TLS_KEY"))]
    assert {f.rpartition("/")[0] for f in files} <= mounts


@every_scenario
def test_the_service_takes_its_variables(helm: Helm, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variable is one of the service's settings, and the service accepts its text."""
    made = helm.scenario(name)
    plain = {e["name"]: e["value"] for e in container(made).get("env", []) if "value" in e}
    given = {k: v for k, v in (made.config() | plain).items() if k.startswith("LACONIC_")}
    assert {k.removeprefix("LACONIC_").lower() for k in given} <= set(Settings.model_fields)
    for variable, text in given.items():
        if not text.startswith("/etc/laconic/"):  # mounted where a pod runs
            monkeypatch.setenv(variable, text)
    found = Settings()
    assert found.port == int(given["LACONIC_PORT"])
    assert found.model == "laconic-mini"


@cache
def paths() -> set[str]:
    return set(create_app(Settings()).openapi()["paths"])


@every_scenario
def test_ports_and_probes_are_the_services(helm: Helm, name: str) -> None:
    """Probes ask routes that the service has, on the port it listens on; the Service leads there."""
    made = helm.scenario(name)
    box = container(made)
    ports = {p["name"]: p["containerPort"] for p in box["ports"]}
    assert ports == {"http": int(made.config()["LACONIC_PORT"]), "metrics": int(made.config()["LACONIC_METRICS_PORT"])}
    routes = paths()
    asked = {kind: box[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")}
    assert {kind: probe["path"] for kind, probe in asked.items()} == {
        "startup": "/readyz",
        "readiness": "/readyz",
        "liveness": "/livez",
    }
    scheme = "HTTPS" if "LACONIC_TLS_CERT" in made.config() else "HTTP"
    for probe in asked.values():
        assert probe["path"] in routes
        assert (probe["port"], probe["scheme"]) == ("http", scheme)
    assert [p["targetPort"] for p in made.get("Service")["spec"]["ports"]] == ["http"]


@every_scenario
def test_selectors_find_their_pods(helm: Helm, name: str) -> None:
    """Services, policies, budgets and monitors select the pods they are for, and none of another part."""
    made = helm.scenario(name)
    pods = {
        o["metadata"]["name"]: o["spec"]["template"]["metadata"]["labels"]
        for o in made.objects
        if o["kind"] == "Deployment"
    }
    for found in made.objects:
        spec, kind = found.get("spec", {}), found["kind"]
        if kind not in ("Service", "NetworkPolicy", "PodDisruptionBudget", "Deployment", "PodMonitor"):
            continue
        chosen = spec["podSelector"] if kind == "NetworkPolicy" else spec["selector"]
        labels = chosen.get("matchLabels", chosen)
        hit = [n for n, has in pods.items() if labels.items() <= has.items()]
        assert hit == [found["metadata"]["name"].removesuffix("-metrics")], found["metadata"]["name"]


@every_scenario
def test_the_grace_period_is_longer_than_the_end(helm: Helm, name: str) -> None:
    """A pod is not killed before it has served on, drained and finished what it accepted."""
    made = helm.scenario(name)
    pod = made.get("Deployment")["spec"]["template"]["spec"]
    stop = container(made).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    end = float(made.config()["LACONIC_DRAIN_SECONDS"]) + int(made.config()["LACONIC_GRACE_SECONDS"])
    assert pod["terminationGracePeriodSeconds"] > stop + end


@pytest.mark.parametrize(
    ("name", "more", "less"),
    [
        ("default", [], []),
        ("bare", [], ["NetworkPolicy", "PodDisruptionBudget", "ServiceAccount"]),
        ("redis-bundled", ["Deployment", "NetworkPolicy", "Service"], []),
        ("redis-bundled-password", ["Deployment", "Service"], ["NetworkPolicy"]),
        ("redis-external-url", [], []),
        ("hpa", ["HorizontalPodAutoscaler", "Service", "ServiceMonitor"], []),
        ("keda", ["PodMonitor", "PrometheusRule", "ScaledObject"], []),
        ("ingress", ["Ingress"], []),
        ("http-route", ["HTTPRoute"], []),
        ("crowded", ["ConfigMap"], []),
        ("prod", ["ConfigMap", "PodMonitor", "PrometheusRule", "ScaledObject"], []),
    ],
)
def test_optional_objects_come_and_go(helm: Helm, name: str, more: list[str], less: list[str]) -> None:
    """Each optional object is there when it is asked for, and only then."""
    expected = sorted([*BASE, *more])
    for kind in less:
        expected.remove(kind)
    assert helm.scenario(name).kinds() == expected


def test_autoscalers_own_the_number_of_pods(helm: Helm) -> None:
    """With an autoscaler the Deployment has no number of its own, and both follow the service's own estimate."""
    assert helm.scenario("default").get("Deployment")["spec"]["replicas"] == 1
    for name in ("hpa", "keda"):
        assert "replicas" not in helm.scenario(name).get("Deployment")["spec"]
    metric = helm.scenario("hpa").get("HorizontalPodAutoscaler")["spec"]["metrics"][0]["pods"]
    assert metric["metric"]["name"] == "laconic_queue_wait_estimate_seconds"
    assert metric["target"]["averageValue"] == "500m"
    (trigger,) = helm.scenario("keda").get("ScaledObject")["spec"]["triggers"]
    pods = 'namespace="ns", pod=~"rel-laconic-[a-z0-9]+-[a-z0-9]+"'
    assert trigger["metadata"]["query"] == f"sum(laconic_queue_wait_estimate_seconds{{{pods}}})"
    assert trigger["metricType"] == "AverageValue"


def test_ways_out_are_named(helm: Helm) -> None:
    """Egress is DNS and what the values use, nothing else; Redis has no way out and one way in."""
    ports = {n: [p["port"] for rule in egress(helm, n) for p in rule["ports"]] for n in SCENARIOS if n not in CLOSED}
    assert ports["default"] == [53, 53]
    assert ports["redis-bundled"] == [53, 53, 6379]
    assert ports["redis-external-url"] == [53, 53, 6380]
    assert ports["traced"] == [53, 53, 4318, 443]
    assert ports["models-download"] == [53, 53, 443]
    assert ports["secrets"] == [53, 53, 443]
    redis = helm.scenario("redis-bundled").get("NetworkPolicy", "-redis")["spec"]
    assert redis["policyTypes"] == ["Ingress", "Egress"]
    assert redis["egress"] == []
    (way,) = redis["ingress"]
    (peer,) = way["from"]
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "service"


CLOSED = ("bare", "redis-bundled-password")  # scenarios without policies


def egress(helm: Helm, name: str) -> list[dict[str, Any]]:
    spec = helm.scenario(name).get("NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    found: list[dict[str, Any]] = spec["egress"]
    return found


def test_callers_include_the_test(helm: Helm) -> None:
    """Where callers are named, the pod of `helm test` is one of them."""
    made = helm.scenario("prod")
    ways = made.get("NetworkPolicy")["spec"]["ingress"]
    labels = made.get("Pod", "-test")["metadata"]["labels"]
    assert ways[0]["from"][0]["podSelector"]["matchLabels"].items() <= labels.items()


def test_redis_is_a_cache(helm: Helm) -> None:
    """The bundled Redis keeps nothing on disk, forgets what is least used, has a password or is closed to others."""
    for name in ("redis-bundled", "redis-bundled-password"):
        made = helm.scenario(name)
        args = made.get("Deployment", "-redis")["spec"]["template"]["spec"]["containers"][0]["args"]
        given = dict(zip(args[::2], args[1::2], strict=True))
        assert given["--maxmemory-policy"] == "allkeys-lru"
        assert (given["--save"], given["--appendonly"]) == ("", "no")
        urls = [e["value"] for e in container(made)["env"] if e["name"] == "LACONIC_REDIS_URL"]
        if name == "redis-bundled":
            assert urls == ["redis://rel-laconic-redis:6379/0"]
        else:
            assert given["--requirepass"] == "$(REDIS_PASSWORD)"
            assert urls == ["redis://:$(REDIS_PASSWORD)@rel-laconic-redis:6379/0"]
            names = [e["name"] for e in container(made)["env"]]  # a variable is known to those after it
            assert names.index("REDIS_PASSWORD") < names.index("LACONIC_REDIS_URL")


def test_all_secret_settings_are_files(helm: Helm) -> None:
    """Keys, seal, upstream key and certificate are mounted; each from the Secret that was named."""
    pod = helm.scenario("secrets").get("Deployment")["spec"]["template"]["spec"]
    mounted = {v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v}
    assert mounted == {s["existingSecret"] for s in SECRETS.values()}
    assert all(v["secret"]["defaultMode"] == 0o440 for v in pod["volumes"] if "secret" in v)
    assert "subPath" not in str(pod["containers"][0]["volumeMounts"])  # a changed Secret would not be seen


def test_a_gpu_pod_is_one(helm: Helm) -> None:
    """A GPU is asked for, tolerated and used; what other pods have stays."""
    made = helm.scenario("gpu")
    pod = made.get("Deployment")["spec"]["template"]["spec"]
    assert container(made)["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert pod["nodeSelector"] == {"disk": "fast", "gpu": "h100"}
    assert [t["key"] for t in pod["tolerations"]] == ["team", "nvidia.com/gpu"]
    assert made.config()["LACONIC_PROFILE"] == "gpu-fp16"
    assert container(made)["image"] == "laconic:0.1.0-gpu"


def test_a_changed_setting_rolls_the_pods(helm: Helm) -> None:
    """The pod template changes with the settings, and with nothing that no pod reads."""
    first = helm.scenario("default").get("Deployment")["spec"]["template"]
    other = helm.install({"settings": {"max_documents": 7}}).get("Deployment")["spec"]["template"]
    same = helm.install({"replicas": 5, "service": {"port": 81}}).get("Deployment")["spec"]["template"]
    assert first["metadata"] != other["metadata"]
    assert first == same


def test_monitoring_has_one_source(helm: Helm) -> None:
    """The rule and the dashboard are the files that the documentation points to, to the letter."""
    made = helm.scenario("prod")
    alerts = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    assert made.get("PrometheusRule")["spec"] == alerts
    shown = json.loads(made.get("ConfigMap", "-dashboard")["data"]["laconic.json"])
    assert shown == json.loads((CHART / "files" / "dashboard.json").read_text())


def test_names_stay_short(helm: Helm) -> None:
    """With the longest release name no object's name is longer than a label may be."""
    made = helm.install({**SCENARIOS["redis-bundled"], "monitoring": {"dashboard": {"enabled": True}}}, name="r" * 53)
    assert max(len(o["metadata"]["name"]) for o in [*made.objects, *made.hooks]) <= 63
