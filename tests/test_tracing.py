"""Traces over the wire: a real collector's port receives what a real request left."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from laconic.compressors import Compressor
from laconic.service.settings import Settings

from .conftest import serving

pytest.importorskip("opentelemetry.sdk", reason="traces need the otel extra")
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """An OTLP collector's address, and what it was sent."""
    seen: list[ExportTraceServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/traces", seen
    server.shutdown()
    server.server_close()


def test_a_request_is_a_span_in_the_callers_trace(
    collector: tuple[str, list[ExportTraceServiceRequest]], compressor: Compressor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """traceparent in, one server span with its stages out; no text in it; probes leave none."""
    url, seen = collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url)
    body = {"query": "Who?", "documents": [{"text": "Ada built it. It rained."}], "budget": {"rate": 0.5}}
    with serving(Settings(traces=True), compressor) as address:
        sent = httpx.post(
            f"{address}/v1/compress", json=body, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"}, timeout=20
        )
        assert sent.status_code == 200
        assert httpx.post(f"{address}/v1/compress", json={}).status_code == 422
    resources = [r for request in seen for r in request.resource_spans]
    assert resources[0].resource.attributes[0].value.string_value
    spans = [s for r in resources for scope in r.scope_spans for s in scope.spans]
    server = next(s for s in spans if s.parent_span_id.hex() == PARENT)
    assert server.trace_id.hex() == TRACE
    facts = {a.key: a.value for a in server.attributes}
    assert facts["http.route"].string_value == "/v1/compress"
    assert facts["http.response.status_code"].int_value == 200
    assert facts["laconic.tokens_in"].int_value > 0
    stages = [s for s in spans if s.parent_span_id == server.span_id]
    assert {s.name for s in stages} == {"parse", "queue", "infer", "assemble"}
    assert all(s.end_time_unix_nano >= s.start_time_unix_nano for s in stages)
    roots = [s for s in spans if s.name == "POST /v1/compress"]
    assert len(roots) == 2
    assert not any(s.name.startswith("GET") for s in spans)
    assert b"Ada" not in b"".join(r.SerializeToString() for r in seen)
