"""Spans in OTLP's JSON: as a Collector hands them on over HTTP, and as Jaeger's interface of version 3 answers. The parts
`collector` and `jaeger` share it."""

from collections.abc import Iterator
from dataclasses import dataclass

SERVER, CLIENT, PRODUCER, CONSUMER = 2, 3, 4, 5
"""Of `SpanKind`."""


@dataclass(frozen=True)
class Span:
    """One span with what is said of its service."""

    trace: str
    id: str
    parent: str
    """Empty if it has none."""
    name: str
    kind: int
    start: int
    """Nanoseconds since 1970, like `end`."""
    end: int
    attributes: dict
    resource: dict
    scope: str
    links: tuple[tuple[str, str], ...]
    """The trace and the span of each."""
    events: tuple[str, ...] = ()
    """The name of each."""
    status: int = 0

    @property
    def service(self) -> str:
        return self.resource.get("service.name", "")


def spans(request: dict) -> Iterator[Span]:
    """Those of a request, or of an answer of the same form."""
    for of_resource in request.get("resourceSpans", []):
        resource = attributes(of_resource.get("resource", {}))
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
                    attributes=attributes(span),
                    resource=resource,
                    scope=scope,
                    links=tuple((link["traceId"], link["spanId"]) for link in span.get("links", [])),
                    events=tuple(event["name"] for event in span.get("events", [])),
                    status=span.get("status", {}).get("code", 0),
                )


def attributes(owner: dict) -> dict:
    """Those of a resource, a span or a point, by their names."""
    return {entry["key"]: _value(entry["value"]) for entry in owner.get("attributes", [])}


def _value(value: dict):
    ((kind, content),) = value.items()
    match kind:
        case "intValue":
            return int(content)
        case "arrayValue":
            return tuple(_value(each) for each in content.get("values", []))
        case _:
            return content
