"""A Kubernetes API that accepts what it is sent and remembers it: as much of one as `helm install` and `test` need."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

KINDS = {  # what a cluster with the operators has, by group and version: plural and kind
    "v1": {
        "configmaps": "ConfigMap",
        "pods": "Pod",
        "secrets": "Secret",
        "serviceaccounts": "ServiceAccount",
        "services": "Service",
    },
    "apps/v1": {"deployments": "Deployment"},
    "autoscaling/v2": {"horizontalpodautoscalers": "HorizontalPodAutoscaler"},
    "gateway.networking.k8s.io/v1": {"httproutes": "HTTPRoute"},
    "keda.sh/v1alpha1": {"scaledobjects": "ScaledObject"},
    "monitoring.coreos.com/v1": {
        "podmonitors": "PodMonitor",
        "prometheusrules": "PrometheusRule",
        "servicemonitors": "ServiceMonitor",
    },
    "networking.k8s.io/v1": {"ingresses": "Ingress", "networkpolicies": "NetworkPolicy"},
    "policy/v1": {"poddisruptionbudgets": "PodDisruptionBudget"},
}


def discovery(path: str) -> dict[str, Any] | None:
    """What there is, as clients ask for it before anything else."""
    if path == "/version":
        return {"major": "1", "minor": "37", "gitVersion": "v1.37.0"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        groups: dict[str, list[dict[str, str]]] = {}
        for at in KINDS:
            group, _, version = at.rpartition("/")
            if group:
                groups.setdefault(group, []).append({"groupVersion": at, "version": version})
        rows = [{"name": g, "versions": v, "preferredVersion": v[0]} for g, v in groups.items()]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": rows}
    at = path.removeprefix("/apis/").removeprefix("/api/")
    if at not in KINDS:
        return None
    verbs = ["create", "delete", "get", "list", "patch", "watch"]
    rows = [{"name": p, "kind": k, "namespaced": True, "verbs": verbs} for p, k in KINDS[at].items()]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": at, "resources": rows}


class Recorder:
    """The API on a free port; `sent` is every object that was made, in order, Helm's own records aside."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        recorder = self

        class Answers(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one write per answer: two would wait for each other's acknowledgement

            def log_message(self, *_: object) -> None: ...

            def do_GET(self) -> None:
                found = discovery(urlsplit(self.path).path)
                missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
                self.answer(json.dumps(found or missing).encode(), 200 if found else 404)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                kind = self.headers["content-type"]
                if kind == "application/json":
                    recorder.sent.append(json.loads(body))
                self.answer(body, 201, kind)

            do_PUT = do_PATCH = do_POST  # noqa: N815

            def answer(self, body: bytes, status: int, kind: str = "application/json") -> None:
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def kubeconfig(self) -> str:
        """How to reach it, as a file's text."""
        cluster = {"server": f"http://127.0.0.1:{self.server.server_port}"}
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "here", "cluster": cluster}],
                "users": [{"name": "nobody", "user": {}}],
                "contexts": [{"name": "here", "context": {"cluster": "here", "user": "nobody"}}],
                "current-context": "here",
            }
        )
