"""The two ends of each job, as the spans of the two sides tell them."""

import collections
from typing import NamedTuple


class Ends(NamedTuple):
    sent: list
    """The spans of the side that adds jobs."""
    taken: list
    """The spans of the side that works. Some workers also take what they tell each other."""
    joined: list
    """Pairs of a span of the first kind and one of the second that are in one trace."""
    wrong: list
    """Those of the second kind in a trace in which another job has been added."""


def ends_of(spans_of_api: list, spans_of_worker: list, takes_ids: bool) -> Ends:
    """Each job has another length. The two spans of a trace have to tell the same one, unless the second may tell that of an id."""
    sent = [span for span in spans_of_api if span["kind"] == "PRODUCER"]
    taken = [span for span in spans_of_worker if span["kind"] == "CONSUMER" and "bytes" in span]
    by_trace = collections.defaultdict(list)
    for span in sent:
        by_trace[span["trace"]].append(span)
    joined, wrong = [], []
    for span in taken:
        others = by_trace[span["trace"]]
        if len(others) == 1 and (takes_ids or others[0]["bytes"] == span["bytes"]):
            joined.append((others[0], span))
        elif others:
            wrong.append(span)
    return Ends(sent, taken, joined, wrong)


IN_ONE_TRACE, BY_A_LINK, WRONG = "in one trace", "by a link", "wrong"


def ways_of(sent: list, taken: list) -> list:
    """How each span of the second kind is joined with one of the first kind: in one trace, or by a link to the same ids. One that
    is joined with those of other lengths only is wrong, and for one that is not joined there is None."""
    by_trace, by_ids = collections.defaultdict(set), collections.defaultdict(set)
    for span in sent:
        by_trace[span["trace"]].add(span["bytes"])
        for ids in named_by(span) | {(span["trace"], span["span"])}:
            by_ids[ids].add(span["bytes"])
    ways = []
    for span in taken:
        lengths = by_trace.get(span["trace"], set())
        linked = set().union(*(by_ids.get(ids, set()) for ids in named_by(span)))
        if span["bytes"] in lengths:
            ways.append(IN_ONE_TRACE)
        elif span["bytes"] in linked:
            ways.append(BY_A_LINK)
        else:
            ways.append(WRONG if lengths or linked else None)
    return ways


def named_by(span: dict) -> set:
    return {(link["trace"], link["span"]) for link in span.get("links", [])}
