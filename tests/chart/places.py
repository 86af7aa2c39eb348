"""Every value that can be set, and the place in the manifests where it must be found; settings have another test."""

from __future__ import annotations

from typing import Any, NamedTuple

SUM = "c0" * 32
NODES = [{"key": "dedicated", "operator": "Exists", "effect": "NoExecute"}]
PEERS = [{"ipBlock": {"cidr": "10.9.0.0/16"}}]
LITTLE = {"requests": {"cpu": "150m", "memory": "77Mi"}, "limits": {"cpu": "3", "memory": "99Mi"}}
PROBE = {"periodSeconds": 7, "timeoutSeconds": 6, "failureThreshold": 5}
SPREAD = {"maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}


class Place(NamedTuple):
    """A value, where it is found (kind[-suffix of the name], then keys and indices), and as what."""

    path: str
    value: Any
    where: str
    shown: Any = ...

    @property
    def expected(self) -> Any:
        return self.value if self.shown is ... else self.shown


D = "Deployment spec template spec"
C = f"{D} containers 0"
R = "Deployment-redis spec template spec"
RC = f"{R} containers 0"
N = "NetworkPolicy spec"

FIRST = [
    Place("replicas", 4, "Deployment spec replicas"),
    Place("image.repository", "reg.example/l", f"{C} image", f"reg.example/l:9.9@sha256:{SUM}"),
    Place("image.tag", "9.9", "Pod-test spec containers 0 image", f"reg.example/l:9.9@sha256:{SUM}"),
    Place("image.digest", f"sha256:{SUM}", f"{D} initContainers 0 image", f"reg.example/l:9.9@sha256:{SUM}"),
    Place("image.pullPolicy", "Always", f"{C} imagePullPolicy"),
    Place("image.pullSecrets", ["pull"], f"{D} imagePullSecrets", [{"name": "pull"}]),
    Place("nameOverride", "other", "Deployment metadata labels app.kubernetes.io/name"),
    Place("listen.host", "::", "ConfigMap data LACONIC_HOST"),
    Place("listen.port", 8123, "ConfigMap data LACONIC_PORT", "8123"),
    Place("listen.metricsPort", 9123, "ConfigMap data LACONIC_METRICS_PORT", "9123"),
    Place("secrets.apiKeys.existingSecret", "s-keys", f"{D} volumes 2 secret secretName"),
    Place("secrets.apiKeys.key", "k.toml", "ConfigMap data LACONIC_API_KEYS_FILE", "/etc/laconic/api-keys/k.toml"),
    Place("secrets.cache.existingSecret", "s-cache", f"{D} volumes 3 secret secretName"),
    Place("secrets.cache.key", "c", "ConfigMap data LACONIC_CACHE_SECRET_FILE", "/etc/laconic/cache/c"),
    Place("secrets.upstream.existingSecret", "s-up", f"{D} volumes 5 secret secretName"),
    Place("secrets.upstream.key", "u", "ConfigMap data LACONIC_UPSTREAM_KEY_FILE", "/etc/laconic/upstream/u"),
    Place("secrets.tls.existingSecret", "s-tls", f"{D} volumes 4 secret secretName"),
    Place("redis.mode", "bundled", "Service-redis spec ports 0 port", 6379),
    Place("redis.bundled.image.repository", "reg.example/r", f"{RC} image", f"reg.example/r:7@sha256:{SUM}"),
    Place("redis.bundled.image.tag", "7", f"{RC} image", f"reg.example/r:7@sha256:{SUM}"),
    Place("redis.bundled.image.digest", f"sha256:{SUM}", f"{RC} image", f"reg.example/r:7@sha256:{SUM}"),
    Place("redis.bundled.user", 1234, f"{R} securityContext runAsUser"),
    Place("redis.bundled.existingSecret", "s-redis", f"{RC} env 0 valueFrom secretKeyRef name"),
    Place("redis.bundled.key", "word", f"{C} env 0 valueFrom secretKeyRef key"),
    Place("redis.bundled.maxMemory", "33mb", f"{RC} args 7"),
    Place("redis.bundled.resources", LITTLE, f"{RC} resources"),
    Place("models.source", "download", "ConfigMap data LACONIC_MODELS_DIR", "/models"),
    Place("models.download.url", "https://m.example/a.tar", f"{D} initContainers 0 env 0 value"),
    Place("models.download.sha256", SUM, f"{D} initContainers 0 env 1 value"),
    Place("models.download.size", "3Gi", f"{D} volumes 1 emptyDir sizeLimit"),
    Place("models.download.resources", LITTLE, f"{D} initContainers 0 resources"),
    Place("resources", LITTLE, f"{C} resources"),
    Place("user", 4321, f"{D} securityContext fsGroup"),
    Place("tmpSize", "11Mi", f"{D} volumes 0 emptyDir sizeLimit"),
    Place("extraEnv", [{"name": "OTEL_A", "value": "b"}], f"{C} env 2", {"name": "OTEL_A", "value": "b"}),
    Place("volumes", [{"name": "v", "emptyDir": {}}], f"{D} volumes 6", {"name": "v", "emptyDir": {}}),
    Place("volumeMounts", [{"name": "v", "mountPath": "/v"}], f"{C} volumeMounts 6", {"name": "v", "mountPath": "/v"}),
    Place("podLabels", {"a": "1"}, "Deployment spec template metadata labels a", "1"),
    Place("podAnnotations", {"b": "2"}, "Deployment spec template metadata annotations b", "2"),
    Place("nodeSelector", {"disk": "fast"}, f"{R} nodeSelector"),
    Place("tolerations", NODES, f"{D} tolerations"),
    Place("affinity", {"nodeAffinity": {}}, f"{D} affinity"),
    Place("priorityClassName", "high", f"{D} priorityClassName"),
    Place("topologySpread", [SPREAD], f"{D} topologySpreadConstraints 0 topologyKey", "rack"),
    Place("rollout", {"maxSurge": "25%", "maxUnavailable": 0}, "Deployment spec strategy rollingUpdate"),
    Place("shutdown.preStopSeconds", 8, f"{C} lifecycle preStop sleep seconds"),
    Place("shutdown.slackSeconds", 9, f"{D} terminationGracePeriodSeconds", 8 + 1 + 20 + 9),
    Place("probes.startup", PROBE, f"{C} startupProbe failureThreshold", 5),
    Place("probes.readiness", PROBE, f"{C} readinessProbe timeoutSeconds", 6),
    Place("probes.liveness", PROBE, f"{C} livenessProbe periodSeconds", 7),
    Place("serviceAccount.name", "acc", f"{D} serviceAccountName"),
    Place("serviceAccount.annotations", {"role": "r"}, "ServiceAccount=acc metadata annotations role", "r"),
    Place("service.type", "NodePort", "Service spec type"),
    Place("service.port", 8443, "Service spec ports 0 port"),
    Place("service.annotations", {"x": "y"}, "Service metadata annotations"),
    Place("ingress.enabled", True, "Ingress spec rules 0 http paths 0 backend service name", "rel-other"),
    Place("ingress.className", "nginx", "Ingress spec ingressClassName"),
    Place("ingress.annotations", {"i": "j"}, "Ingress metadata annotations"),
    Place("ingress.hosts", ["a.example"], "Ingress spec rules 0 host", "a.example"),
    Place("ingress.path", "/laconic", "Ingress spec rules 0 http paths 0 path"),
    Place("ingress.tlsSecret", "s-ingress", "Ingress spec tls 0 secretName"),
    Place("httpRoute.enabled", True, "HTTPRoute spec rules 0 backendRefs 0 port", 8443),
    Place("httpRoute.parentRefs", [{"name": "gate"}], "HTTPRoute spec parentRefs"),
    Place("httpRoute.hostnames", ["b.example"], "HTTPRoute spec hostnames"),
    Place("httpRoute.path", "/l", "HTTPRoute spec rules 0 matches 0 path value"),
    Place("httpRoute.annotations", {"k": "l"}, "HTTPRoute metadata annotations"),
    Place("disruption.maxUnavailable", "20%", "PodDisruptionBudget spec maxUnavailable"),
    Place("networkPolicy.callers", PEERS, f"{N} ingress 0 from 1", PEERS[0]),
    Place("networkPolicy.scrapers", PEERS, f"{N} ingress 1 from"),
    Place("networkPolicy.dns", PEERS, f"{N} egress 0 to"),
    Place("networkPolicy.otlp", {"ports": [4319], "to": PEERS}, f"{N} egress 2 ports 0 port", 4319),
    Place("networkPolicy.upstream", {"ports": [8444], "to": PEERS}, f"{N} egress 3 ports 0 port", 8444),
    Place("networkPolicy.download", {"ports": [8445], "to": PEERS}, f"{N} egress 4 ports 0 port", 8445),
    Place("otlp.endpoint", "http://otel:4319", "ConfigMap data OTEL_EXPORTER_OTLP_ENDPOINT"),
    Place("monitoring.monitor", "ServiceMonitor", "Service-metrics spec ports 0 port", 9123),
    Place("monitoring.interval", "31s", "ServiceMonitor spec endpoints 0 interval"),
    Place("monitoring.labels", {"release": "p"}, "PrometheusRule metadata labels release", "p"),
    Place("monitoring.rules", True, "PrometheusRule spec groups 0 name", "laconic"),
    Place("monitoring.dashboard.enabled", True, "ConfigMap-dashboard metadata name", "rel-other-dashboard"),
    Place("monitoring.dashboard.labels", {"g": "1"}, "ConfigMap-dashboard metadata labels g", "1"),
    Place("monitoring.dashboard.annotations", {"folder": "f"}, "ConfigMap-dashboard metadata annotations"),
    Place("tests.keySecret", "s-test", "Pod-test spec containers 0 env 2 valueFrom secretKeyRef name"),
    Place("tests.key", "t", "Pod-test spec containers 0 env 2 valueFrom secretKeyRef key"),
    Place("tests.resources", LITTLE, "Pod-test spec containers 0 resources"),
]
SECOND = [
    Place("fullnameOverride", "chosen", "Deployment metadata name"),
    Place("redis.mode", "external", f"{N} egress 1 ports 0 port", 6381),
    Place("redis.external.url", "redis://r:6381/1", f"{C} env 0 value"),
    Place("redis.external.caSecret", "s-ca", f"{D} volumes 3 secret secretName"),
    Place("secrets.cache.existingSecret", "s-cache", f"{D} volumes 2 secret secretName"),
    Place("networkPolicy.redis", {"ports": [6381], "to": PEERS}, f"{N} egress 1 to", PEERS),
    Place("models.source", "claim", "ConfigMap data LACONIC_MODELS_DIR", "/models"),
    Place("models.claim.name", "weights", f"{D} volumes 1 persistentVolumeClaim claimName"),
    Place("models.claim.subPath", "sub", f"{C} volumeMounts 1 subPath"),
    Place("gpu.enabled", True, f"{C} image", "laconic:0.1.0-gpu"),
    Place("gpu.profile", "gpu-bf16", "ConfigMap data LACONIC_PROFILE"),
    Place("gpu.resource", "amd.com/gpu", f"{C} resources limits amd.com/gpu", 2),
    Place("gpu.count", 2, f"{C} resources requests amd.com/gpu", 2),
    Place("gpu.runtimeClassName", "rc", f"{D} runtimeClassName"),
    Place("gpu.nodeSelector", {"card": "x"}, f"{D} nodeSelector"),
    Place("gpu.tolerations", NODES, f"{D} tolerations"),
    Place("shutdown.terminationGracePeriodSeconds", 99, f"{D} terminationGracePeriodSeconds"),
    Place("autoscaling.kind", "keda", "ScaledObject spec scaleTargetRef name", "chosen"),
    Place("autoscaling.minReplicas", 3, "ScaledObject spec minReplicaCount"),
    Place("autoscaling.maxReplicas", 17, "ScaledObject spec maxReplicaCount"),
    Place("autoscaling.waitSeconds", 0.25, "ScaledObject spec triggers 0 metadata threshold", "0.25"),
    Place(
        "autoscaling.scaleDownSeconds",
        120,
        "ScaledObject spec advanced horizontalPodAutoscalerConfig behavior scaleDown stabilizationWindowSeconds",
    ),
    Place("autoscaling.keda.prometheus", "http://p:9090", "ScaledObject spec triggers 0 metadata serverAddress"),
    Place("autoscaling.keda.query", "sum(up)", "ScaledObject spec triggers 0 metadata query"),
    Place("autoscaling.keda.pollingSeconds", 21, "ScaledObject spec pollingInterval"),
    Place("autoscaling.keda.authentication", "auth", "ScaledObject spec triggers 0 authenticationRef name"),
    Place("monitoring.monitor", "PodMonitor", "PodMonitor spec podMetricsEndpoints 0 port", "metrics"),
]
THIRD = [
    Place("redis.mode", "external", f"{C} env 0 name", "LACONIC_REDIS_URL"),
    Place("secrets.cache.existingSecret", "s-cache", f"{D} volumes 1 secret secretName"),
    Place("redis.external.existingSecret", "s-url", f"{C} env 0 valueFrom secretKeyRef name"),
    Place("redis.external.key", "address", f"{C} env 0 valueFrom secretKeyRef key"),
    Place("autoscaling.kind", "hpa", "HorizontalPodAutoscaler spec scaleTargetRef name", "rel-laconic"),
    Place("autoscaling.minReplicas", 2, "HorizontalPodAutoscaler spec minReplicas"),
    Place("autoscaling.maxReplicas", 5, "HorizontalPodAutoscaler spec maxReplicas"),
    Place("autoscaling.waitSeconds", 2.5, "HorizontalPodAutoscaler spec metrics 0 pods target averageValue", "2500m"),
]
ALONG = {"settings": {"traces": True, "upstream_url": "https://u.example/v1"}}  # what some of the first set go with
SETS = {"first": (FIRST, ALONG), "second": (SECOND, {}), "third": (THIRD, {})}
ON_AND_OFF = {"serviceAccount.create", "disruption.enabled", "networkPolicy.enabled"}  # on unless told; see test_chart
