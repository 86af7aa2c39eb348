"""Values that people install with, each by a name; every part of the chart is on in one and off in another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

PROD = yaml.safe_load((Path(__file__).parents[2] / "helm" / "laconic" / "values-prod.yaml").read_text())
SUM = "5b" * 32
SECRETS = {
    "apiKeys": {"existingSecret": "keys"},
    "cache": {"existingSecret": "seal"},
    "upstream": {"existingSecret": "upstream"},
    "tls": {"existingSecret": "certificate"},
}
SEAL = {"cache": {"existingSecret": "seal"}}
UPSTREAM = {"upstream_url": "https://llm.example/v1"}
SCENARIOS: dict[str, dict[str, Any]] = {
    "default": {},
    "prod": PROD,
    "bare": {
        "serviceAccount": {"create": False},
        "disruption": {"enabled": False},
        "networkPolicy": {"enabled": False},
        "topologySpread": [],
        "shutdown": {"preStopSeconds": 0},
    },
    "redis-bundled": {"redis": {"mode": "bundled"}, "secrets": SEAL},
    "redis-bundled-password": {
        "redis": {"mode": "bundled", "bundled": {"existingSecret": "redis", "key": "secret-word"}},
        "secrets": SEAL,
        "networkPolicy": {"enabled": False},
    },
    "redis-external-url": {
        "redis": {"mode": "external", "external": {"url": "rediss://cache.example:6380/2", "caSecret": "authority"}},
        "secrets": SEAL,
        "networkPolicy": {"redis": {"ports": [6380], "to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}]}},
    },
    "redis-external-secret": {
        "redis": {"mode": "external", "external": {"existingSecret": "redis"}},
        "secrets": SEAL,
    },
    "hpa": {"autoscaling": {"kind": "hpa", "waitSeconds": 0.5}, "monitoring": {"monitor": "ServiceMonitor"}},
    "keda": {
        "autoscaling": {"kind": "keda", "keda": {"prometheus": "http://prometheus:9090", "authentication": "prom"}},
        "monitoring": {"monitor": "PodMonitor", "rules": True, "labels": {"release": "stack"}},
    },
    "gpu": {
        "gpu": {"enabled": True, "runtimeClassName": "nvidia", "nodeSelector": {"gpu": "h100"}},
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "team", "operator": "Equal", "value": "ml", "effect": "NoSchedule"}],
        "rollout": {"maxSurge": 0, "maxUnavailable": 1},
    },
    "models-claim": {"models": {"source": "claim", "claim": {"name": "weights", "subPath": "laconic"}}},
    "models-download": {
        "models": {"source": "download", "download": {"url": "https://files.example/models.tar", "sha256": SUM}}
    },
    "secrets": {"secrets": SECRETS, "settings": UPSTREAM, "tests": {"keySecret": "test-key"}},
    "ingress": {
        "ingress": {
            "enabled": True,
            "className": "nginx",
            "hosts": ["laconic.example", "compress.example"],
            "tlsSecret": "certificate",
            "annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "8m"},
        },
        "networkPolicy": {"callers": [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}]},
    },
    "ingress-any-host": {"ingress": {"enabled": True}},
    "http-route": {
        "httpRoute": {
            "enabled": True,
            "parentRefs": [{"name": "edge", "namespace": "gateways"}],
            "hostnames": ["l.example"],
        }
    },
    "traced": {
        "settings": {"traces": True, **UPSTREAM},
        "otlp": {"endpoint": "http://collector:4318"},
        "extraEnv": [
            {"name": "OTEL_EXPORTER_OTLP_HEADERS", "valueFrom": {"secretKeyRef": {"name": "otlp", "key": "headers"}}}
        ],
    },
    "no-user": {"user": None, "secrets": SEAL, "redis": {"mode": "bundled", "bundled": {"user": None}}},
    "crowded": {
        "nameOverride": "squeeze",
        "image": {"tag": "1.2.3", "digest": f"sha256:{SUM}", "pullSecrets": ["registry"]},
        "replicas": 3,
        "podLabels": {"team": "search"},
        "podAnnotations": {"note": "as text: 1"},
        "priorityClassName": "high",
        "affinity": {"podAntiAffinity": {}},
        "service": {"type": "LoadBalancer", "port": 443, "annotations": {"cloud": "internal"}},
        "volumes": [{"name": "readers", "configMap": {"name": "tokenizers"}}],
        "volumeMounts": [{"name": "readers", "mountPath": "/readers", "readOnly": True}],
        "settings": {"readers_dir": "/readers"},
        "monitoring": {"dashboard": {"enabled": True}},
        "serviceAccount": {"name": "compressor", "annotations": {"role": "reader"}},
    },
}
