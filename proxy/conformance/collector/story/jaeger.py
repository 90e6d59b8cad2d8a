"""What Jaeger would say of a trace when it is asked for it.

Jaeger's query service writes warnings into the spans it shows: of ids that two spans share, of parents that are not in
the trace, and of clocks that seem to differ. These are its rules (version 2, as its sources have them), so that a trace
can be judged by them where Jaeger is not at hand.
"""

from collections import Counter

from otlp import Span

HOST_KEYS = ("host.id", "host.ip", "host.name")
"""By the first of these that a resource has, Jaeger tells machines apart."""


def warnings(trace: list[Span]) -> list[str]:
    """What Jaeger would warn of. `max_clock_skew_adjust` is taken to be 0, as it is unless set: it then says how far it
    would have moved a span, and moves none."""
    by_id = {span.id: span for span in trace}
    found = [f"{count} spans have the id {id}" for id, count in Counter(span.id for span in trace).items() if count > 1]
    for span in trace:
        if not span.parent:
            continue
        parent = by_id.get(span.parent)
        if parent is None:
            found.append(f"the parent of `{span.name}` of {span.service} is not in the trace")
        elif (skew := clock_skew(span, parent)) != 0:
            found.append(f"`{span.name}` of {span.service}: not moved by {skew / 1000:.0f} µs")
    return found


def clock_skew(child: Span, parent: Span) -> int:
    """By how many nanoseconds Jaeger takes a child's clock to differ from its parent's.

    It never does within one machine. Across machines a child must lie within its parent, or, if it is the longer one,
    not begin before it.
    """
    if host(child) and host(child) == host(parent):
        return 0
    parent_length, length = parent.end - parent.start, child.end - child.start
    if length > parent_length:
        return max(parent.start - child.start, 0)
    if parent.start <= child.start and child.end <= parent.end:
        return 0
    return parent.start + (parent_length - length) // 2 - child.start


def host(span: Span) -> str:
    for key in HOST_KEYS:
        if key in span.resource:
            return str(span.resource[key])
    return ""
