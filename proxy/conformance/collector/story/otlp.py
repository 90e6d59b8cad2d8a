"""Spans and metrics as a Collector hands them on: OTLP over HTTP, in JSON."""

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SERVER, PRODUCER, CONSUMER = 2, 4, 5
"""Of `SpanKind`."""


@dataclass(frozen=True)
class Span:
    """One span with what is said of its service."""

    trace: str
    id: str
    parent: str
    name: str
    kind: int
    start: int
    """Nanoseconds since 1970, like `end`."""
    end: int
    attributes: dict
    resource: dict
    scope: str
    links: int

    @property
    def service(self) -> str:
        return self.resource.get("service.name", "")


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
        self._spans: list[Span] = []
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

    def spans(self) -> list[Span]:
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
        spans, points = list(_spans(request)), list(_points(request))
        with self._lock:
            self._spans += spans
            self._points += points


def _spans(request: dict):
    for of_resource in request.get("resourceSpans", []):
        resource = _attributes(of_resource.get("resource", {}))
        for of_scope in of_resource.get("scopeSpans", []):
            scope = of_scope.get("scope", {}).get("name", "")
            for span in of_scope.get("spans", []):
                yield Span(
                    trace=span["traceId"],
                    id=span["spanId"],
                    parent=span.get("parentSpanId", ""),
                    name=span["name"],
                    kind=span["kind"],
                    start=int(span["startTimeUnixNano"]),
                    end=int(span["endTimeUnixNano"]),
                    attributes=_attributes(span),
                    resource=resource,
                    scope=scope,
                    links=len(span.get("links", [])),
                )


def _points(request: dict):
    for of_resource in request.get("resourceMetrics", []):
        service = _attributes(of_resource.get("resource", {})).get("service.name", "")
        for of_scope in of_resource.get("scopeMetrics", []):
            for metric in of_scope.get("metrics", []):
                for point in (metric.get("sum") or metric["histogram"])["dataPoints"]:
                    yield Point(
                        service=service,
                        metric=metric["name"],
                        attributes=_attributes(point),
                        count=int(point.get("asInt") or point["count"]),
                        exemplars=[(exemplar["traceId"], exemplar["spanId"]) for exemplar in point.get("exemplars", [])],
                    )


def _attributes(owner: dict) -> dict:
    return {entry["key"]: _value(entry["value"]) for entry in owner.get("attributes", [])}


def _value(value: dict):
    ((kind, content),) = value.items()
    return int(content) if kind == "intValue" else content
