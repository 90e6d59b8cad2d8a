"""Whether the spans and the metrics are those of the story, as the README describes them."""

from collections import Counter, defaultdict

import jaeger
from backend import Point
from otlp import CONSUMER, PRODUCER, SERVER, Span


def traces(spans: list[Span]) -> dict[str, list[Span]]:
    by_trace = defaultdict(list)
    for span in spans:
        by_trace[span.trace].append(span)
    return by_trace


def spans_of(reports: int, workers: list[str]) -> int:
    """How many spans so many reports make: each is requested and published once and received by every worker, and each
    worker's announcement is published and received by the API."""
    return reports * (2 + 3 * len(workers))


def measured(reports: int, workers: list[str]) -> dict[tuple[str, str, str], int]:
    """How often each metric has to count what so many reports make, by service, metric, and channel or route."""
    announcements = reports * len(workers)
    expected = {("api", "http.server.request.duration", "/reports"): reports}
    for service, sent, published, received, delivered in [("api", reports, "reports", announcements, "reports.done")] + [
        (worker, reports * replicas, "reports.done", reports * replicas, "reports")
        for worker, replicas in Counter(workers).items()
    ]:
        for metric in ("messaging.client.sent.messages", "messaging.client.operation.duration"):
            expected[service, metric, published] = sent
        for metric in ("messaging.client.consumed.messages", "messaging.process.duration"):
            expected[service, metric, delivered] = received
    return expected


def counted(points: list[Point]) -> dict[tuple[str, str, str], int]:
    """The last count of each series."""
    counts = {}
    for point in points:
        place = point.attributes.get("messaging.destination.name") or point.attributes.get("http.route", "")
        counts[point.service, point.metric, place] = point.count
    return counts


def warnings(spans: list[Span]) -> list[str]:
    """What Jaeger would say of them."""
    return [warning for trace in traces(spans).values() for warning in jaeger.warnings(trace)]


def problems(spans: list[Span], reports: int, workers: list[str]) -> list[str]:
    """What keeps `spans` from being those of so many reports."""
    found = []
    requests = orders = announcements = 0
    for trace in traces(spans).values():
        if trace[0].kind == SERVER:
            requests += 1
            found += _request_problems(trace)
            continue
        producers = [span for span in trace if span.kind == PRODUCER]
        if len(producers) != 1:
            found.append(f"trace {trace[0].trace}: {len(producers)} producer spans")
            continue
        if producers[0].attributes.get("messaging.destination.name") == "reports":
            orders += 1
            found += _trace_problems(trace, producers[0], "reports", ["api"], workers)
        else:
            announcements += 1
            found += _trace_problems(trace, producers[0], "reports.done", workers, ["api"])
    if (requests, orders, announcements) != (reports, reports, reports * len(workers)):
        counts = f"{requests} traces of requests, {orders} of orders, {announcements} of parts"
        found.append(f"{reports} reports were ordered, but there are {counts}")
    return found


def _request_problems(trace) -> list[str]:
    request = trace[0]
    found = []
    if len(trace) != 1 or request.service != "api" or request.parent:
        found.append(f"{len(trace)} spans, of {request.service}, parent `{request.parent}`")
    expected = {
        "http.request.method": "POST",
        "http.route": "/reports",
        "http.response.status_code": 202,
        "url.path": "/reports",
        "server.address": "api",
        "server.port": 8080,
    }
    found += _span_problems(request, "POST /reports", expected, "http.request.body.size")
    return [f"trace {request.trace} of a request: {problem}" for problem in found]


def _trace_problems(trace, producer, channel, publishers, consumers) -> list[str]:
    found = []
    if producer.service not in publishers or producer.parent:
        found.append(f"published by {producer.service}, parent `{producer.parent}`")
    expected = _attributes(channel, "publish", "send") | {"redis.pubsub.receivers": len(consumers)}
    found += _span_problems(producer, f"publish {channel}", expected)
    deliveries = [span for span in trace if span is not producer]
    if Counter(span.service for span in deliveries) != Counter(consumers):
        found.append(f"received by {sorted(span.service for span in deliveries)} instead of {sorted(consumers)}")
    for delivery in deliveries:
        if delivery.kind != CONSUMER or delivery.parent != producer.id or delivery.links:
            found.append(f"delivery of kind {delivery.kind}, parent `{delivery.parent}`, {len(delivery.links)} links")
        if delivery.start < producer.start:
            found.append(f"delivered {producer.start - delivery.start} ns before it was published")
        expected = _attributes(channel, "process", "process")
        found += _span_problems(delivery, f"process {channel}", expected)
    return [f"trace {producer.trace} on {channel}: {problem}" for problem in found]


def _attributes(channel: str, name: str, kind: str) -> dict:
    return {
        "messaging.system": "redis",
        "messaging.operation.name": name,
        "messaging.operation.type": kind,
        "messaging.destination.name": channel,
        "server.address": "redis",
        "server.port": 6379,
    }


def _span_problems(span: Span, name: str, attributes: dict, size: str = "messaging.message.body.size") -> list[str]:
    found = []
    if span.name != name or span.end < span.start:
        found.append(f"span `{span.name}` from {span.start} to {span.end} instead of `{name}`")
    different = {key: span.attributes.get(key) for key in attributes if span.attributes.get(key) != attributes[key]}
    if different:
        found.append(f"`{span.name}` has {different}")
    if span.attributes.get(size, 0) <= 0:
        found.append(f"`{span.name}` does not say {size}")
    for key in ("service.instance.id", "host.name", "telemetry.distro.name"):
        if key not in span.resource:
            found.append(f"the resource of {span.service} has no {key}")
    return found
