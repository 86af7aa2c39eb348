"""What the operators' own definitions ask of the fields that the chart sets: JSON schemas, closed against others.

After the CustomResourceDefinitions of the Prometheus operator (monitoring.coreos.com/v1), KEDA (keda.sh/v1alpha1) and
the Gateway API (gateway.networking.k8s.io/v1).
"""

from __future__ import annotations

from typing import Any

TEXT = {"type": "string", "minLength": 1}
NUMBER = {"type": "integer", "minimum": 0}
STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}


def closed(required: str = "", **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": required.split(),
    }


def rows(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "items": item}


SELECTOR = closed("matchLabels", matchLabels=STRINGS)
ENDPOINT = closed("port", port=TEXT, path=TEXT, interval={"type": "string", "pattern": "^[0-9]+(s|m)$"})
RULE = closed(
    "alert expr",
    alert=TEXT,
    expr=TEXT,
    labels=STRINGS,
    annotations=STRINGS,
    **{"for": {"type": "string", "pattern": "^[0-9]+(s|m)$"}},
)
PARENT = closed("name", name=TEXT, namespace=TEXT, sectionName=TEXT, port=NUMBER)
MATCH = closed("path", path=closed("type value", type={"enum": ["PathPrefix"]}, value=TEXT))
PROMETHEUS = closed("serverAddress query threshold", serverAddress=TEXT, query=TEXT, threshold=TEXT)
BEHAVIOR = closed("scaleDown", scaleDown=closed("stabilizationWindowSeconds", stabilizationWindowSeconds=NUMBER))
SPECS = {
    "ServiceMonitor": closed("selector endpoints", selector=SELECTOR, endpoints=rows(ENDPOINT)),
    "PodMonitor": closed("selector podMetricsEndpoints", selector=SELECTOR, podMetricsEndpoints=rows(ENDPOINT)),
    "PrometheusRule": closed("groups", groups=rows(closed("name rules", name=TEXT, rules=rows(RULE)))),
    "HTTPRoute": closed(
        "parentRefs rules",
        parentRefs=rows(PARENT),
        hostnames=rows(TEXT),
        rules=rows(
            closed(
                "matches backendRefs",
                matches=rows(MATCH),
                backendRefs=rows(closed("name port", name=TEXT, port=NUMBER)),
            )
        ),
    ),
    "ScaledObject": closed(
        "scaleTargetRef triggers",
        scaleTargetRef=closed("name", apiVersion=TEXT, kind=TEXT, name=TEXT),
        minReplicaCount=NUMBER,
        maxReplicaCount=NUMBER,
        pollingInterval=NUMBER,
        advanced=closed(horizontalPodAutoscalerConfig=closed(behavior=BEHAVIOR)),
        triggers=rows(
            closed(
                "type metadata",
                type={"enum": ["prometheus"]},
                metricType={"enum": ["AverageValue"]},
                metadata=PROMETHEUS,
                authenticationRef=closed("name", name=TEXT),
            )
        ),
    ),
}
