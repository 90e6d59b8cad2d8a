"""What Jaeger shows of the traces that it has, by the interface that its pages use."""

import json
import urllib.request
from typing import NamedTuple

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


def ask(path: str):
    with urllib.request.urlopen(PAGES + path, timeout=60) as answer:
        return json.load(answer)["data"]


def spans() -> list[Span]:
    """All but those that Jaeger makes of what it is asked."""
    found = {}
    for service in set(ask("/api/services") or ()) - {"jaeger"}:
        for trace in ask(f"/api/traces?service={service}&limit=1000"):
            found |= {(span["traceID"], span["spanID"]): _span(span, trace["processes"]) for span in trace["spans"]}
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
