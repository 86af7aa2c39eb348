"""OpenTelemetry traces, where asked for: one span per request in the caller's trace (W3C Trace Context), one per stage.

Where they go is told by the standard `OTEL_*` variables, which the SDK itself reads. No bodies, no keys.
"""

from __future__ import annotations

import time
from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagate import extract
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from starlette.types import ASGIApp, Message, Receive, Scope, Send


def provider(version: str) -> TracerProvider:
    """Spans in batches to an OTLP collector over HTTP; `OTEL_SERVICE_NAME` overrides the name laconic."""
    made = TracerProvider(
        resource=Resource({SERVICE_NAME: "laconic", "service.version": version}).merge(Resource.create())
    )
    made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return made


class Tracing:
    """Pure ASGI middleware: a server span around everything under /v1/, its stages as children."""

    def __init__(self, app: ASGIApp, provider: TracerProvider) -> None:
        self.app, self.tracer = app, provider.get_tracer("laconic")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self.app(scope, receive, send)
            return
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        status = 0

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        name = f"{scope['method']} {scope['path'][:80]}"
        with self.tracer.start_as_current_span(name, extract(headers), kind=SpanKind.SERVER) as span:
            began, facts = time.time_ns(), scope["state"]
            facts["trace_id"] = f"{span.get_span_context().trace_id:032x}"
            try:
                await self.app(scope, receive, seen)
            finally:
                span.set_attributes(attributes(scope, status or 500))
                if status >= 500 or not status:
                    span.set_status(StatusCode.ERROR)
                self._stages(facts.get("stages", {}), began)

    def _stages(self, stages: dict[str, float], began: int) -> None:
        """The stages as spans one after another, as they ran."""
        for name, seconds in stages.items():
            ended = began + int(seconds * 1e9)
            self.tracer.start_span(name, trace.set_span_in_context(trace.get_current_span()), start_time=began).end(
                ended
            )
            began = ended


def attributes(scope: Scope, status: int) -> dict[str, Any]:
    """What a span tells of a request, in OpenTelemetry's names where it has them."""
    facts = scope["state"]
    return {
        "http.request.method": scope["method"],
        "http.route": getattr(scope.get("route"), "path", "other"),
        "http.response.status_code": status,
        "laconic.request_id": facts["request_id"],
        **{f"laconic.{k}": v for k, v in facts.get("usage", {}).items()},
    }
