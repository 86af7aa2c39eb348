"""The chart's values: what is refused and how clearly, that each has a place, that no setting is missing."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from laconic.service.settings import Settings

from .chart import rendering
from .chart.places import ON_AND_OFF, SETS, Place
from .chart.rendering import CHART, ROOT, ChartError, Helm, Rendered
from .chart.scenarios import PROD, SUM

sys.path.insert(0, str(ROOT / "helm"))
from readme import readme, rows

VALUES = (CHART / "values.yaml").read_text()
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
OWNED = {  # settings that are made of other values
    *("host", "port", "metrics_port", "models_dir", "redis_url"),
    *("api_keys_file", "cache_secret_file", "upstream_key_file", "tls_cert", "tls_key"),
}
APART = {"uds"}  # a pod is reached by its port
RULES = ("type", "minimum", "maximum", "exclusiveMinimum", "minLength", "maxLength", "enum")


@pytest.fixture(scope="module")
def helm() -> Iterator[Helm]:
    with rendering.helm() as found:
        yield found


def nested(path: str, value: Any) -> dict[str, Any]:
    for part in reversed(path.split(".")):
        value = {part: value}
    return value  # type: ignore[no-any-return]


def merged(first: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    both = dict(first)
    for k, v in more.items():
        both[k] = merged(both[k], v) if isinstance(v, dict) and isinstance(both.get(k), dict) else v
    return both


def at(made: Rendered, where: str) -> Any:
    """What is found at a place: kind, `-part` or `=name` of the object, then keys and indices."""
    first, *steps = where.split(" ")
    kind, named, name = first.partition("=")
    kind, _, part = kind.partition("-")
    name = name if named else f"{made.name}-{part}".rstrip("-")
    found: Any = next(o for o in [*made.objects, *made.hooks] if (o["kind"], o["metadata"]["name"]) == (kind, name))
    for step in steps:
        found = found[int(step)] if isinstance(found, list) else found[step]
    return found


@pytest.mark.parametrize("name", SETS)
def test_every_value_reaches_its_place(helm: Helm, name: str) -> None:
    """Each value, set to something of its own, is found in the manifest where it belongs."""
    places, values = SETS[name]
    for place in places:
        values = merged(values, nested(place.path, place.value))
    made = helm.install(values)
    assert {p.path: at(made, p.where) for p in places} == {p.path: p.expected for p in places}


def test_no_value_is_without_a_place() -> None:
    """Every value of the chart is in the table of places, is a setting, or turns an object off."""
    told = {row.path for row in rows(VALUES) if not row.path.startswith("settings.")}
    assert told == {p.path for places, _ in SETS.values() for p in places} | ON_AND_OFF
    assert all(isinstance(p, Place) and p.value not in ("", None) for places, _ in SETS.values() for p in places)


def test_every_value_is_told() -> None:
    """Values, schema and README have the same keys; the README is made of the comments as they are."""
    assert set(leaves(yaml.safe_load(VALUES))) == {row.path for row in rows(VALUES)}
    assert (CHART / "README.md").read_text() == readme(VALUES)
    assert set(properties(SCHEMA)) - {"global"} == {row.path for row in rows(VALUES)}


def leaves(values: dict[str, Any], before: str = "") -> Iterator[str]:
    """Paths down to what the schema describes as one thing."""
    for k, v in values.items():
        path = f"{before}{k}"
        if isinstance(v, dict) and path not in properties(SCHEMA):
            yield from leaves(v, f"{path}.")
        else:
            yield path


def properties(schema: dict[str, Any], before: str = "") -> list[str]:
    """The same from the schema: what is defined apart is one thing, except a Secret with its key."""
    found = []
    for k, v in schema["properties"].items():
        if v.get("$ref") == "#/$defs/secretKey":
            found += [f"{before}{k}.existingSecret", f"{before}{k}.key"]
        elif "properties" in v and k not in ("affinity", "rollout"):
            found += properties(v, f"{before}{k}.")
        else:
            found.append(f"{before}{k}")
    return found


def test_settings_are_the_services() -> None:
    """Every setting of the service is a value of its name, default and bounds; a new one is missed here."""
    known = yaml.safe_load(VALUES)["settings"]
    assert not set(known) & OWNED
    assert set(known) | OWNED == set(Settings.model_fields) - APART
    ours = SCHEMA["properties"]["settings"]["properties"]
    for name, field in Settings.model_json_schema()["properties"].items():
        if name in OWNED | APART:
            continue
        given = next(a for a in field.get("anyOf", [field]) if a["type"] != "null")
        rules = {k: given[k] for k in RULES if k in given}
        if "anyOf" in field:
            rules["type"] = [rules["type"], "null"]
        assert {k: v for k, v in ours[name].items() if k in RULES} == rules, name
        assert known[name] == field.get("default"), name
        assert next(r.note for r in rows(VALUES) if r.path == f"settings.{name}") == field["description"]


def test_every_setting_reaches_the_service(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings other than the defaults arrive in the service as they were given, large numbers included."""
    given: dict[str, Any] = {
        **{"model": "other", "profile": "cpu-fp32", "workers": 3, "readers_dir": "/r", "tiktoken_cache": "/t"},
        **{"max_body_bytes": 16_000_001, "max_documents": 1_000_000, "max_characters": 20_000_000, "concurrency": 9},
        **{"timeout_ms": 600_000, "cache_bytes": 10_000_000_000, "cache_ttl_seconds": 2_000_000, "cache_prefix": "p"},
        **{"cache_shared": True, "latents": "int8", "max_numbers": 10**8, "expand_ttl_seconds": 86_400},
        **{
            "upstream_url": "http://u.example/v1",
            "upstream_min_tokens": 0,
            "upstream_chats": 9,
            "upstream_rate": 0.125,
            "traces": True,
        },
        **{
            "max_values": 5000,
            "max_connections": 99,
            "head_seconds": 1.5,
            "stall_seconds": 2.5,
            "batch_idle_seconds": 3.5,
        },
        **{"drain_seconds": 2.5, "log_format": "json", "grace_seconds": 31, "log_level": "debug"},
        **{"admin_without_keys": True, "allowed_hosts": "a.example,*.b.example", "root_path": "/laconic"},
        **{"cors_origins": "https://a.example"},
    }
    assert set(given) | OWNED == set(Settings.model_fields) - APART
    for variable, text in helm.install({"settings": given}).config().items():
        monkeypatch.setenv(variable, text)
    found = json.loads(Settings().model_dump_json())
    assert {name: found[name] for name in given} == given


def test_owned_settings_are_reachable(helm: Helm) -> None:
    """The settings that the chart makes of other values are all made."""
    made = [helm.scenario(name) for name in ("secrets", "redis-external-url", "models-claim")]
    seen = {v for m in made for v in m.config()}
    pods = [m.get("Deployment")["spec"]["template"]["spec"]["containers"][0] for m in made]
    seen |= {e["name"] for box in pods for e in box.get("env", [])}
    assert {f"LACONIC_{name.upper()}" for name in OWNED} <= seen


def test_nothing_unknown_is_taken() -> None:
    """Every object of the schema is closed, or a map of strings, or Kubernetes' own to check."""

    def walk(node: Any, path: str) -> Iterator[str]:
        if isinstance(node, dict):
            if node.get("type") == "object" and "additionalProperties" not in node and "description" not in node:
                yield path
            for k, v in node.items():
                yield from walk(v, f"{path}/{k}")

    assert list(walk(SCHEMA, "")) == []


DOWNLOAD = {"source": "download", "download": {"url": "https://e.example/a.tar"}}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"replicaCount": 2}, "additional properties 'replicaCount' not allowed"),
    ({"settings": {"max_document": 2}}, "at '/settings': additional properties 'max_document' not allowed"),
    ({"settings": {"redis_url": "redis://:secret@r"}}, "additional properties 'redis_url' not allowed"),
    ({"settings": {"upstream_rate": 2}}, "at '/settings/upstream_rate': maximum: got 2, want 1"),
    ({"settings": {"concurrency": "8"}}, "at '/settings/concurrency': got string, want integer"),
    ({"settings": {"log_format": "xml"}}, "at '/settings/log_format': value must be one of"),
    ({"settings": {"upstream_url": "https://me:secret@u.example/v1"}}, "settings.upstream_url holds a password"),
    ({"replicas": -1}, "at '/replicas'"),
    ({"image": {"digest": "sha256:12"}}, "at '/image/digest'"),
    ({"listen": {"port": 80}}, "at '/listen/port': minimum: got 80, want 1,024"),
    ({"listen": {"port": 9090}}, "listen.port and listen.metricsPort are the same"),
    ({"user": 0}, "at '/user'"),
    ({"redis": {"mode": "cluster"}}, "at '/redis/mode': value must be one of"),
    ({"redis": {"mode": "external", "external": {"url": "redis://:secret@r"}}}, "redis.external.url holds a password"),
    (
        {"redis": {"mode": "external", "external": {"url": "redis://r:6379/0?db=1&password=secret"}}},
        "redis.external.url holds a password",
    ),
    (
        {"redis": {"mode": "external", "external": {"url": "redis+sentinel://:my/secret@r/m"}}},
        "redis.external.url holds a password",
    ),
    ({"models": {**DOWNLOAD, "download": {"url": "https://me:secret@e.example/a"}}}, "models.download.url holds"),
    ({"redis": {"mode": "external"}}, "give redis.external.url, or redis.external.existingSecret"),
    (
        {"redis": {"mode": "external", "external": {"url": "redis://r", "existingSecret": "s"}}},
        "give redis.external.url, or redis.external.existingSecret",
    ),
    ({"redis": {"mode": "bundled"}, "networkPolicy": {"enabled": False}}, "only the network policy keeps others out"),
    ({"redis": {"mode": "bundled"}}, "redis.mode is bundled: secrets.cache.existingSecret must name a Secret"),
    ({"redis": {"mode": "external", "external": {"url": "redis://r"}}}, "redis.mode is external: secrets.cache"),
    ({"models": {"source": "claim"}}, "models.claim.name must be a PersistentVolumeClaim"),
    ({"models": DOWNLOAD}, "models.download.url and models.download.sha256 must be given"),
    ({"models": {"source": "download", "download": {"url": "http://e", "sha256": SUM}}}, "at '/models/download/url'"),
    ({"shutdown": {"terminationGracePeriodSeconds": 30}}, "requests would be killed, 31 are needed"),
    ({"settings": {"grace_seconds": 90}, "shutdown": {"terminationGracePeriodSeconds": 60}}, "101 are needed"),
    ({"autoscaling": {"kind": "both"}}, "at '/autoscaling/kind': value must be one of"),
    ({"autoscaling": {"kind": "keda"}}, "autoscaling.keda.prometheus must be the address of a Prometheus"),
    ({"autoscaling": {"minReplicas": 11}}, "autoscaling.minReplicas is more than autoscaling.maxReplicas"),
    ({"gpu": {"profile": "cpu-int8"}}, "at '/gpu/profile': value must be one of"),
    ({"secrets": {"upstream": {"existingSecret": "s"}}}, "settings.upstream_url must be given"),
    ({"httpRoute": {"enabled": True}}, "httpRoute.parentRefs must name a Gateway"),
    ({"extraEnv": [{"name": "LACONIC_REDIS_URL", "value": "redis://:secret@r"}]}, "at '/extraEnv/0/name'"),
    ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, "additional properties 'hostPath' not allowed"),
    ({"networkPolicy": {"callers": [{}]}}, "at '/networkPolicy/callers/0'"),
]


@pytest.mark.parametrize(("values", "said"), WRONG, ids=[said[:40] for _, said in WRONG])
def test_wrong_values_are_refused_clearly(helm: Helm, values: dict[str, Any], said: str) -> None:
    """Helm refuses before anything is sent, and says where the value is or what is missing."""
    with pytest.raises(ChartError, match=re.escape(said)) as refused:
        helm.install(values)
    # a password that was put in the wrong place is not repeated
    assert not re.search("secret@|=secret", str(refused.value))


def test_an_at_sign_in_a_path_is_no_password(helm: Helm) -> None:
    """A version in the name of a file of models."""
    url = "https://files.example/models@v2.tar"
    made = helm.install({"models": {"source": "download", "download": {"url": url, "sha256": SUM}}})
    assert url in made.manifest


def test_the_production_values_name_what_they_need(helm: Helm) -> None:
    """Secrets that values-prod.yaml expects are those that the guide makes."""
    guide = (ROOT / "docs" / "kubernetes.md").read_text()
    named = set(re.findall(r"(?:existingSecret|keySecret): ([a-z-]+)", yaml.safe_dump(PROD)))
    assert named == set(re.findall(r"create secret generic ([a-z-]+)", guide)) & named
    assert len(named) == 4


def test_the_guide_names_real_values() -> None:
    """Values in the guide, set in a command or named in the text, are values of the chart."""
    guide = (ROOT / "docs" / "kubernetes.md").read_text()
    paths = set(keys(yaml.safe_load(VALUES)))
    named = set(re.findall(r"--set ([\w.]+)=", guide)) | set(re.findall(r"`([a-z]\w*(?:\.\w+)+)(?:=[^`]*)?`", guide))
    assert len(named) > 20
    assert named - paths == set()


def keys(values: dict[str, Any], before: str = "") -> Iterator[str]:
    for k, v in values.items():
        yield f"{before}{k}"
        yield from keys(v if isinstance(v, dict) else {}, f"{before}{k}.")


def test_chart_and_image_agree() -> None:
    """The pods' user is the image's, and the bundled Redis is the one that compose.yaml has."""
    values, image = yaml.safe_load(VALUES), (ROOT / "Dockerfile").read_text()
    assert f"\nUSER {values['user']}:{values['user']}\n" in image
    store = values["redis"]["bundled"]["image"]
    beside = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["redis"]["image"]
    assert f"{store['repository']}:{store['tag']}@{store['digest']}" == beside


def test_the_version_is_the_packages() -> None:
    """Chart and package have one version, which is the image's tag."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    (version,) = re.findall(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert chart["version"] == chart["appVersion"] == version
