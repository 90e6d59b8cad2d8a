"""Receives what a Collector hands on, spans and metrics: OTLP over HTTP, in JSON."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import otlp


@dataclass(frozen=True)
class Point:
    """What a metric says of one series of a service, counted from the start of the sidecar."""

    service: str
    metric: str
    attributes: dict
    count: int
    """The value of a counter, or the number of durations of a histogram."""
    exemplars: list
    """Trace id and span id of each."""


class Backend:
    """Keeps every span and every point of a metric that is posted to it."""

    def __init__(self, address: str, port: int) -> None:
        self._spans: list[otlp.Span] = []
        self._points: list[Point] = []
        self._lock = threading.Lock()
        backend = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                backend._keep(json.loads(body))
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_) -> None:
                """Nothing to standard error."""

        self._server = ThreadingHTTPServer((address, port), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def spans(self) -> list[otlp.Span]:
        with self._lock:
            return list(self._spans)

    def points(self) -> list[Point]:
        with self._lock:
            return list(self._points)

    def forget(self) -> None:
        with self._lock:
            self._spans.clear()
            self._points.clear()

    def _keep(self, request: dict) -> None:
        spans, points = list(otlp.spans(request)), list(_points(request))
        with self._lock:
            self._spans += spans
            self._points += points


def _points(request: dict) -> Iterator[Point]:
    for of_resource in request.get("resourceMetrics", []):
        service = otlp.attributes(of_resource.get("resource", {})).get("service.name", "")
        for of_scope in of_resource.get("scopeMetrics", []):
            for metric in of_scope.get("metrics", []):
                for point in (metric.get("sum") or metric["histogram"])["dataPoints"]:
                    yield Point(
                        service=service,
                        metric=metric["name"],
                        attributes=otlp.attributes(point),
                        count=int(point.get("asInt") or point["count"]),
                        exemplars=[(exemplar["traceId"], exemplar["spanId"]) for exemplar in point.get("exemplars", [])],
                    )
