"""The demo's story, a fan-out and links, as a real Jaeger shows them. Prints what is seen, and fails at the first thing that is not
as documented. README.md says what is looked at.
"""

import argparse
import itertools
import re
import resource as limits
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import expected
import jaeger_api
import judge
from jaeger_api import Tree, trees
from patience import Failure, wait_until
from stage import ENDPOINTS, Report, Stage, known_traces
from wire import Connection, Subscriber

WARM_UP = 6.0
"""Seconds that ordinary reports are ordered for before those that are judged, and the pauses between them in seconds, as in the
demo (demo-services/demo/src/story.rs): a sidecar tells no cause in the first five seconds."""
PAUSES = (0.09, 0.26, 0.15, 0.41, 0.06, 0.32, 0.18)

LIKE_THE_DEMO = {"REDISTRIBUTED_HTTP_ANSWER": "traceresponse", "REDISTRIBUTED_FOLLOW_WINDOW": "5s"}
"""What the demo sets and the Compose file does not: clients learn their traces, and jobs may wait behind nineteen others."""

MACHINES = {"http/protobuf": {}, "grpc": {"ip": "192.0.2.7"}}
"""What the operator says besides of the machine. By `ip` the pages of this Jaeger tell machines apart."""

AT_ONCE = 20
FAN_OUT = 1_000
LINKED = 3


def main() -> int:
    parser = argparse.ArgumentParser()
    for option in ("compose", "results", "jaeger", "redis-server", "proxy", "programs"):
        parser.add_argument(f"--{option}", required=True)
    options = parser.parse_args()
    _, most = limits.getrlimit(limits.RLIMIT_NOFILE)
    limits.setrlimit(limits.RLIMIT_NOFILE, (most, most))
    stage = Stage(options, Path(options.results))
    try:
        for protocol in ENDPOINTS:
            story(stage, protocol)
            fan_out(stage, protocol)
            linked(stage, protocol)
            demo(stage, protocol)
    except Failure as failure:
        print(f"FAILED: {failure}\nThe logs are in {options.results}", file=sys.stderr)
        return 1
    return 0


def story(stage: Stage, protocol: str) -> None:
    """One report, then twenty at once, through the Compose file's services."""
    stage.start_redis()
    stage.start_jaeger()
    machine = MACHINES[protocol]
    attributes = ",".join(f"{key}={value}" for key, value in machine.items())
    workers = stage.start_fleet(**exporting(protocol), **LIKE_THE_DEMO, OTEL_RESOURCE_ATTRIBUTES=attributes)
    numbers = (f"ord-{10_000 + count * 7_919 % 90_000}" for count in itertools.count(1))
    warm_up(stage, numbers, len(workers))
    reports = at_once(stage, numbers, len(workers), 1) + at_once(stage, numbers, len(workers), AT_ONCE)
    done = max(stage.wait_for_workers(report, workers) for report in reports)

    def problems() -> list[str]:
        traces = [(report, jaeger_api.stored_trace(report.trace)) for report in reports]
        return [problem for report, trace in traces for problem in judge.story(trace, report, workers, done, machine)]

    what = f"story, {protocol}"
    complete(what, stage, problems)
    sent = stage.wait_until_sent()
    stage.end_sidecars()
    found = problems()
    warned = []
    for report in reports:
        trace, of_pages = jaeger_api.trace(report.trace), jaeger_api.trace_of_pages(report.trace)
        found += judge.twice(jaeger_api.stored_trace(report.trace)) + judge.same(trace, of_pages)
        found += [f"span {span.id}, `{span.name}`: Jaeger warns: {text}" for span in trace for text in judge.warnings(span)]
        warned += [text for span in of_pages for text in judge.warnings(span)]
    found += operations(workers)
    found += [f"the pages warn: {text}" for text in warned if machine or "clock skew adjustment disabled" not in text]
    check(what, found, f"{len(reports)} traces of {len(trace)} spans, every field as documented")
    told = "with the attribute `ip`" if machine else "without the attribute `ip`"
    say(what, f"version 3 warns of no span; {told} the pages doubt the clocks of {len(warned)}")
    if (kept := len(jaeger_api.spans())) != sent:
        raise Failure(f"{what}: the sidecars have sent {sent} spans, Jaeger has {kept}")
    say(what, f"all {sent} spans that were sent are there, none twice")
    stage.stop_all()


def warm_up(stage: Stage, numbers, parts: int) -> None:
    """Lets the services work, so that their sidecars see what they do."""
    ends = time.monotonic() + WARM_UP
    with ThreadPoolExecutor(AT_ONCE) as clients:
        orders = []
        for pause in itertools.cycle(PAUSES):
            if time.monotonic() >= ends:
                break
            orders.append(clients.submit(order, stage, "Visitors by month", next(numbers), parts))
            time.sleep(pause)  # people do not order at regular times
        for each in orders:
            each.result()


def at_once(stage: Stage, numbers, parts: int, count: int) -> list[Report]:
    """Reports with titles of different lengths, by which their jobs are told apart."""
    with ThreadPoolExecutor(count) as clients:
        orders = [clients.submit(order, stage, f"Sales{'.' * number}", next(numbers), parts) for number in range(count)]
        return [each.result() for each in orders]


def order(stage: Stage, title: str, number: str, parts: int) -> Report:
    report = stage.order(title, number)
    stage.wait_for_parts(report, parts)
    return report


def operations(workers: list[str]) -> list[str]:
    """Whether Jaeger lists the services and the names of their spans."""
    of_worker = {"process reports", "publish reports.done", "SET", "HINCRBY", "EXPIRE"}
    of_api = {"POST /reports", "publish reports", "SETEX", "process reports.done"}
    found = jaeger_api.services()
    problems = [] if found == {"api", *workers} else [f"the services are {sorted(found)}"]
    for service, wanted in [("api", of_api), *((worker, of_worker) for worker in workers)]:
        if not wanted <= (has := jaeger_api.operations(service)):
            problems.append(f"operations of {service}: found {sorted(has)}, expected also {sorted(wanted - has)}")
    return problems


def fan_out(stage: Stage, protocol: str) -> None:
    """A message to a thousand subscribers: one trace."""
    what = f"fan-out, {protocol}"
    (trace,) = published(stage, protocol, FAN_OUT, 1 + FAN_OUT)
    found = judge.twice(jaeger_api.stored_trace(trace)) + fan_out_problems(jaeger_api.trace(trace), trace)
    check(what, found, f"one trace of {1 + FAN_OUT} spans, every field as documented")
    stage.stop_all()


def linked(stage: Stage, protocol: str) -> None:
    """With `--relation link` each delivery begins a trace, with a link to its publish."""
    what = f"links, {protocol}"
    traces = published(stage, protocol, LINKED, 1 + LINKED, REDISTRIBUTED_RELATION="link")
    found = []
    spans = [span for trace in traces for span in jaeger_api.trace(trace)]
    for trace in traces:
        found += judge.same(jaeger_api.trace(trace), jaeger_api.trace_of_pages(trace))
    producers = [span for span in spans if span.service == "publisher"]
    if len(traces) != 1 + LINKED or len(spans) != 1 + LINKED or len(producers) != 1:
        raise Failure(f"{what}: {len(traces)} traces of {len(spans)} spans, {len(producers)} of them a publish's")
    link = ((producers[0].trace, producers[0].id),)
    for span in spans:
        wanted = expected.publish("publisher", CHANNEL, len(MESSAGE), LINKED)
        if span.service != "publisher":
            wanted = expected.delivery("subscriber", CHANNEL, len(MESSAGE), (), link)
        found += [f"span {span.id}: {difference}" for difference in wanted.differences(span)]
        if span.parent:
            found.append(f"span {span.id}: parent: found {span.parent}, expected none")
    check(what, found, f"{1 + LINKED} traces, and each delivery links to the publish")
    stage.stop_all()


CHANNEL = "news"
MESSAGE = b"\0binary\r\n\xff"


def published(stage: Stage, protocol: str, subscribers: int, spans: int, **settings: str) -> list[str]:
    """Publishes one message, and returns the ids of Jaeger's traces once they have so many spans and the sidecars have ended."""
    stage.start_redis()
    stage.start_jaeger()
    settings |= exporting(protocol) | {"REDISTRIBUTED_MODE": "inject", "REDISTRIBUTED_FOLLOW": "off"}
    publisher = stage.sidecar("publisher", **settings)
    subscriber = stage.sidecar("subscriber", **settings)
    connections = [Subscriber("127.0.0.1", CHANNEL, subscriber) for _ in range(subscribers)]
    with_publisher = Connection("127.0.0.1", publisher)
    if (receivers := with_publisher.ask(b"PUBLISH", CHANNEL.encode(), MESSAGE)) != subscribers:
        raise Failure(f"Redis counted {receivers} receivers instead of {subscribers}")
    for connection in connections:
        if (message := connection.message()) != MESSAGE:
            raise Failure(f"received {message!r} instead of {MESSAGE!r}")
        connection.close()
    with_publisher.close()

    def traces() -> list[str]:
        return sorted(known_traces("publisher") | known_traces("subscriber"))

    wait_until(f"Jaeger has {spans} spans", lambda: sum(len(jaeger_api.stored_trace(trace)) for trace in traces()) >= spans)
    stage.end_sidecars()
    return traces()


def fan_out_problems(trace: list, id: str) -> list[str]:
    producers = [span for span in trace if span.service == "publisher"]
    if len(producers) != 1 or len(trace) != 1 + FAN_OUT:
        return [f"trace {id}: {len(trace)} spans, {len(producers)} of them a publish's"]
    (producer,) = producers
    found = [] if not producer.parent else [f"span {producer.id}: parent: found {producer.parent}, expected none"]
    for span in trace:
        wanted = expected.publish("publisher", CHANNEL, len(MESSAGE), FAN_OUT)
        if span is not producer:
            wanted = expected.delivery("subscriber", CHANNEL, len(MESSAGE))
            if span.parent != producer.id:
                found.append(f"span {span.id}: parent: found {span.parent}, expected {producer.id}")
            if span.start < producer.start:
                found.append(f"span {span.id}: start: found {span.start}, it was published at {producer.start}")
        found += [f"span {span.id}: {difference}" for difference in wanted.differences(judge.without_warnings(span))]
    return found


def demo(stage: Stage, protocol: str) -> None:
    """The program behind `make demo`, which sends on what its own receiver gets."""
    what = f"make demo, {protocol}"
    stage.start_jaeger()
    printed = stage.demo(protocol)
    ids = set(re.findall(r"(?:^  |/trace/)([0-9a-f]{32})\b", printed, re.MULTILINE))
    sent = int(re.search(r"Spans sent on to \S+: (\d+)", printed)[1])
    workers = sorted(jaeger_api.services() - {"api"})
    if len(ids) != 1 + AT_ONCE or len(workers) != 4:
        raise Failure(f"{what}: {len(ids)} traces and the workers {workers}:\n{printed}")
    wait_until(f"Jaeger has {sent} spans", lambda: len(jaeger_api.spans()) >= sent)
    spans = jaeger_api.spans()
    found = [] if len(spans) == sent else [f"{sent} spans were sent on, Jaeger has {len(spans)}"]
    for id in sorted(ids):
        if (tree := trees([span for span in spans if span.trace == id])) != [demo_tree(workers)]:
            found.append(f"trace {id}: found {tree}, expected {demo_tree(workers)}")
        found += judge.twice(jaeger_api.stored_trace(id))
    check(what, found, f"{len(ids)} traces as the demo shows them, and all {sent} spans")
    stage.stop_all()


def demo_tree(workers: list[str]) -> Tree:
    def below(label: str, *trees: Tree) -> Tree:
        return Tree(label, tuple(sorted(trees)))

    def work(worker: str) -> Tree:
        commands = [Tree(f"{worker}: {name}", ()) for name in judge.OF_JOB]
        done = below(f"{worker}: publish reports.done", Tree("api: process reports.done", ()))
        return below(f"{worker}: process reports", done, *commands)

    return below(
        "api: POST /reports",
        Tree("api: SETEX", ()),
        below("api: publish reports", *map(work, workers)),
    )


def exporting(protocol: str) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": ENDPOINTS[protocol], "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}


def complete(what: str, stage: Stage, problems) -> None:
    """Until there are none; what is missing is said if that does not come."""
    try:
        wait_until("Jaeger has the whole story", lambda: not problems())
    except Failure as failure:
        lines = [*problems()[:20], *stage.unknown_causes()]
        raise Failure(f"{what}: {failure}:\n  " + "\n  ".join(lines)) from None


def check(what: str, problems: list[str], seen: str) -> None:
    if problems:
        raise Failure(f"{what}:\n  " + "\n  ".join(problems[:20]))
    say(what, seen)


def say(what: str, seen: str) -> None:
    print(f"{what:<25} {seen}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
