"""What operators see: Prometheus metrics, `Server-Timing`, and logs as text or JSON. No bodies, no keys."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from laconic.compressors import Compressor

from .admission import Admission
from .cache import Tiers

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
OPS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1)
FIELDS = ("request_id", "trace_id", "route", "status", "ms", "key", "tokens_in", "tokens_out", "segments")


class Metrics:
    """The service's own registry: one per application, so tests and embedders do not share counts."""

    def __init__(self, admission: Admission, compressor: Compressor) -> None:
        self.registry = r = CollectorRegistry()
        ProcessCollector(registry=r)
        self.requests = Counter("laconic_requests", "answers", ["route", "code"], registry=r)
        self.duration = Histogram(
            "laconic_request_duration_seconds", "request to answer", ["route"], registry=r, buckets=SECONDS
        )
        self.stages = Histogram(
            "laconic_stage_duration_seconds", "parts of a request", ["stage"], registry=r, buckets=SECONDS
        )
        self.rejected = Counter("laconic_rejected", "requests not accepted", ["reason"], registry=r)
        self.cancelled = Counter("laconic_cancelled", "requests given up", ["stage"], registry=r)
        self.tokens_in = Counter("laconic_input_tokens", "tokens before, in the reader's count", registry=r)
        self.tokens_out = Counter("laconic_output_tokens", "tokens after", registry=r)
        self.saved = Counter("laconic_tokens_saved", "tokens a reader need not read", registry=r)
        self.ratio = Histogram(
            "laconic_compression_ratio", "tokens in / tokens out", registry=r, buckets=(1, 1.5, 2, 3, 4, 6, 10, 20, 50)
        )
        self.loop: asyncio.AbstractEventLoop | None = None  # the service's, once it runs
        r.register(_Engine(admission, compressor))
        r.register(_Loop(self))
        if isinstance(compressor.store, Tiers):
            r.register(_Cache(compressor.store))
            if compressor.store.remote is not None:
                ops = Histogram("laconic_cache_op_duration_seconds", "calls of Redis", ["op"], registry=r, buckets=OPS)
                compressor.store.remote.observe = lambda op, seconds: ops.labels(op).observe(seconds)


class _Engine:
    """Gauges read at the moment of the scrape."""

    def __init__(self, admission: Admission, compressor: Compressor) -> None:
        self.admission, self.compressor = admission, compressor

    def collect(self) -> Iterable[Metric]:
        a = self.admission
        yield GaugeMetricFamily("laconic_queue_requests", "accepted and not answered", value=a.requests)
        yield GaugeMetricFamily("laconic_queue_wait_estimate_seconds", "until accepted work is done", value=a.wait())
        waiting = GaugeMetricFamily("laconic_queue_tokens", "tokens waiting for a lane", labels=["model"])
        speed = GaugeMetricFamily("laconic_lane_seconds_per_token", "of one worker", labels=["model"])
        forwards = CounterMetricFamily("laconic_lane_forwards", "forwards done", labels=["model"])
        errors = CounterMetricFamily("laconic_engine_errors", "failed forwards, dead workers", labels=["model", "kind"])
        info = GaugeMetricFamily("laconic_model_info", "1", labels=["model", "revision", "profile"])
        for name, model in self.compressor.opened().items():
            lane = model.backend
            waiting.add_metric([name], lane.tokens_waiting)
            speed.add_metric([name], lane.seconds_per_token)
            forwards.add_metric([name], lane.forwards)
            errors.add_metric([name, "forward"], lane.failures)
            errors.add_metric([name, "worker"], lane.restarts)
            info.add_metric([name, model.card.revision, model.profile], 1)
        yield from (waiting, speed, forwards, errors, info)


class _Loop:
    """Tasks of the event loop: a number that does not come down again between requests is a leak."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics

    def collect(self) -> Iterable[Metric]:
        if (loop := self.metrics.loop) is not None:
            tasks = len(asyncio.all_tasks(loop))
            yield GaugeMetricFamily("laconic_event_loop_tasks", "tasks of the event loop not done", value=tasks)


class _Cache:
    """Figures of the store, read at the moment of the scrape."""

    def __init__(self, store: Tiers) -> None:
        self.store = store

    def collect(self) -> Iterable[Metric]:
        s, remote = self.store, self.store.remote
        lookups = CounterMetricFamily("laconic_cache_lookups", "segments looked up", labels=["tier", "result"])
        for (tier, result), count in sorted(s.lookups.items()):
            lookups.add_metric([tier, result], count)
        yield lookups
        yield GaugeMetricFamily("laconic_cache_bytes", "memory of the first tier", value=s.lru.held)
        yield CounterMetricFamily("laconic_singleflight_joined", "segments another request computed", s.flights.joined)
        if remote is not None:
            state = "0 closed, 1 half open, 2 open"
            yield GaugeMetricFamily("laconic_cache_breaker_state", state, value=remote.breaker.state)
            yield CounterMetricFamily("laconic_cache_write_dropped", "values Redis was not given", remote.dropped)
            yield CounterMetricFamily("laconic_cache_errors", "calls of Redis that failed", remote.errors)


class JsonLines(logging.Formatter):
    """One JSON object per line, with a request's facts where the record has them."""

    def format(self, record: logging.LogRecord) -> str:
        row: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        row.update({f: getattr(record, f) for f in FIELDS if getattr(record, f, None) is not None})
        if record.exc_info:
            row["exception"] = self.formatException(record.exc_info)
        return json.dumps(row, ensure_ascii=False)


def logs(level: str, style: str) -> None:
    """Set up the process's logging: `style` is text or json.

    Libraries are heard from `warning` on: below, HTTP clients log whole URLs and headers, credentials included
    (encode/httpx#2760).
    """
    handler = logging.StreamHandler()
    text = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    handler.setFormatter(JsonLines() if style == "json" else text)
    logging.basicConfig(level="ERROR" if level == "error" else "WARNING", handlers=[handler], force=True)
    for name in OURS:
        logging.getLogger(name).setLevel(level.upper())


OURS = ("laconic", "uvicorn")
STEP = 10  # milliseconds in which callers are told times


def coarse(seconds: float) -> float:
    """Milliseconds as callers are told them, in whole steps, rounded up: finer ones tell what a lookup spared."""
    return float(math.ceil(max(0.0, seconds) * 1000 / STEP) * STEP)


def server_timing(stages: dict[str, float]) -> str:
    """The header's value: seconds in, coarse milliseconds out."""
    return ", ".join(f"{name};dur={coarse(seconds):.0f}" for name, seconds in stages.items())
