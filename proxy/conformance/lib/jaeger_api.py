"""What Jaeger shows of the traces that it has: by the older interface, which its pages use, and by version 3, which answers in
OTLP's JSON. The parts `article` and `jaeger` share it."""

import json
import urllib.error
import urllib.request
from typing import NamedTuple

import otlp

PAGES = "http://127.0.0.1:16686"

urllib.request.install_opener(urllib.request.build_opener(urllib.request.ProxyHandler({})))


class Span(NamedTuple):
    trace: str
    id: str
    parent: str
    """Empty if it has none."""
    label: str
    """The service and the span's name."""
    is_sidecars: bool


WARNINGS = "@jaeger@warnings"
"""The attribute in which version 3 has what Jaeger says of a span."""

KINDS = {"server": otlp.SERVER, "client": otlp.CLIENT, "producer": otlp.PRODUCER, "consumer": otlp.CONSUMER}
STATUS = {"OK": 1, "ERROR": 2}


def ask(path: str):
    return _get(path)["data"]


def trace(id: str) -> list[otlp.Span]:
    """A trace by version 3, with Jaeger's warnings. Jaeger 2.13 keeps in its memory what it warns of when it is asked, so the
    warnings are right only if a trace is complete when it is asked for like this for the first time."""
    return list(otlp.spans(_get(f"/api/v3/traces/{id}")["result"]))


def stored_trace(id: str) -> list[otlp.Span]:
    """A trace by version 3, as it is stored: with spans that came twice. Empty if there is none yet."""
    try:
        answer = _get(f"/api/v3/traces/{id}?raw_traces=true")
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return []
        raise
    return list(otlp.spans(answer["result"]))


def trace_of_pages(id: str) -> list[otlp.Span]:
    """A trace by the older interface, in the form of version 3. Its times are whole microseconds."""
    (found,) = ask(f"/api/traces/{id}")
    return [_as_otlp(span, found["processes"][span["processID"]]) for span in found["spans"]]


def _as_otlp(span: dict, process: dict) -> otlp.Span:
    tags = {tag["key"]: tag["value"] for tag in span["tags"]}
    parents = [reference for reference in span["references"] if reference["refType"] == "CHILD_OF"]
    links = [reference for reference in span["references"] if reference["refType"] == "FOLLOWS_FROM"]
    kind, scope = KINDS[tags.pop("span.kind")], tags.pop("otel.scope.name")
    status = STATUS.get(tags.pop("otel.status_code", ""), 0)
    for of_another_place in ("otel.scope.version", "error"):
        tags.pop(of_another_place, None)
    if span["warnings"]:
        tags[WARNINGS] = tuple(span["warnings"])
    return otlp.Span(
        trace=span["traceID"],
        id=span["spanID"],
        parent="".join(parent["spanID"] for parent in parents),
        name=span["operationName"],
        kind=kind,
        start=span["startTime"] * 1000,
        end=(span["startTime"] + span["duration"]) * 1000,
        attributes=tags,
        resource={tag["key"]: tag["value"] for tag in process["tags"]} | {"service.name": process["serviceName"]},
        scope=scope,
        links=tuple((link["traceID"], link["spanID"]) for link in links),
        events=tuple(field["value"] for log in span["logs"] for field in log["fields"] if field["key"] == "event"),
        status=status,
    )


def services() -> set[str]:
    """All but Jaeger's own."""
    return set(ask("/api/services") or ()) - {"jaeger"}


def operations(service: str) -> set[str]:
    return set(ask(f"/api/services/{service}/operations") or ())


def _get(path: str) -> dict:
    with urllib.request.urlopen(PAGES + path, timeout=60) as answer:
        return json.load(answer)


def spans() -> list[Span]:
    """All but those that Jaeger makes of what it is asked."""
    found = {}
    for service in services():
        for shown in ask(f"/api/traces?service={service}&limit=1000"):
            found |= {(span["traceID"], span["spanID"]): _span(span, shown["processes"]) for span in shown["spans"]}
    return list(found.values())


def _span(span: dict, processes: dict) -> Span:
    parents = [reference["spanID"] for reference in span["references"] if reference["refType"] == "CHILD_OF"]
    service = processes[span["processID"]]["serviceName"]
    tags = {tag["key"]: tag["value"] for tag in span["tags"]}
    label = f"{service}: {span['operationName']}"
    return Span(span["traceID"], span["spanID"], "".join(parents), label, tags.get("messaging.system") == "redis")


class Tree(NamedTuple):
    """A span with all that is below it, in the order of their labels, so that equal traces are equal values."""

    label: str
    below: tuple["Tree", ...]

    def lines(self, indent: str = "") -> list[str]:
        return [indent + self.label, *(line for tree in self.below for line in tree.lines(indent + "  "))]


def trees(spans: list[Span]) -> list[Tree]:
    """One for each span whose parent is not among `spans`."""
    ids = {span.id for span in spans}

    def tree(span: Span) -> Tree:
        return Tree(span.label, tuple(sorted(tree(child) for child in spans if child.parent == span.id)))

    return sorted(tree(span) for span in spans if span.parent not in ids)
