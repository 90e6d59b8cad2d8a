"""The programs of the article "Redis-tributed" (2019) with sidecars, and what Jaeger shows. Prints what is seen, and fails at the
first thing that is not as documented. README.md says what is looked at.
"""

import argparse
import sys

import jaeger_api
from jaeger_api import Span, Tree, trees
from patience import Failure, wait_until
from stage import REDIS, Stage
from wire import Connection, Subscriber, Wire

CHANNEL = "mychannel1"
WORKERS = 4
"""The number of workers, as in the article's Compose file."""

MESSAGE = b"message"
CONTEXT = 29
"""The length of OpenCensus's binary form. Its last byte has the options, of which bit 0 says that the trace is sampled."""
MARK = 0x80
"""The option by which a context shows that a proxy added it."""
TRAILER = 41

CENSUS = ("--carrier", f"{CHANNEL}=opencensus")
INJECT = ("--mode", "inject", *CENSUS)
EVERYWHERE = ("--mode", "inject", "--carrier", "*=opencensus")

PUBLISH = f"api: publish {CHANNEL}"
PROCESS = f"report-generator: process {CHANNEL}"


def main() -> int:
    parser = argparse.ArgumentParser()
    for option in ("results", "redis-server", "proxy", "jaeger", "programs", "own-programs"):
        parser.add_argument(f"--{option}", required=True)
    options = parser.parse_args()
    try:
        services = without_sidecars(options)
        unconfigured(options, services)
        for mode in ("auto", "inject", "strip"):
            joined(options, services, f"mode {mode}", "--mode", mode, *CENSUS)
        joined(options, services, "keep-context, the API's own context", *INJECT, "--keep-context", CHANNEL)
        plain_publisher(options)
        plain_subscribers(options, services)
        stripped_in_auto(options, services)
        copied_options(options)
        copied_options(options, *EVERYWHERE, "--keep-context", CHANNEL)
    except Failure as failure:
        print(f"FAILED: {failure}\nThe logs are in {options.results}", file=sys.stderr)
        return 1
    return 0


def without_sidecars(options) -> list[Tree]:
    """The article's own trace, with which all others are compared."""
    with Stage(options, "direct") as stage:
        stage.api(REDIS)
        workers(stage, lambda _: REDIS)
        stage.request()
        received(stage)
        wait_until("Jaeger has the spans of all workers", lambda: count("generateReport") == WORKERS)
        wait_until("Jaeger has the request's span, the last of its spans", lambda: count("Recv./reports") == 1)
        found = trees(jaeger_api.spans())
        if [tree.label for tree in found] != ["api: Recv./reports"]:
            raise Failure(f"direct: {shown(found)}")
        say("direct", "one trace, from the request to each worker", found)
        return found


def unconfigured(options, services: list[Tree]) -> None:
    """With no settings but an upstream, the services' trace is as it was, and the sidecars have one of their own."""
    with Stage(options, "unconfigured") as stage:
        fleet(stage, ())
        stage.wait_for_proof("api-sidecar")
        wire = Wire()
        stage.request()
        received(stage)
        expect_wire("unconfigured", wire, CONTEXT + len(MESSAGE) + TRAILER)
        spans = stage.spans(size(services) + 1 + WORKERS)
        own = [Tree(PUBLISH, (Tree(PROCESS, ()),) * WORKERS)]
        check("no settings", spans, services, trees([span for span in spans if span.is_sidecars]), own)


def joined(options, services: list[Tree], what: str, *arguments: str) -> None:
    """The context that the API puts in front is the parent of the sidecars' spans, and is delivered as it is."""
    with Stage(options, what.replace(" ", "-").replace(",", "")) as stage:
        fleet(stage, arguments)
        wire = Wire()
        stage.request()
        received(stage)
        payload = expect_wire(what, wire, CONTEXT + len(MESSAGE))
        if payload[CONTEXT - 1] != 1:
            raise Failure(f"{what}: the API's options are {payload[CONTEXT - 1]:#x} on the wire")
        spans = stage.spans(size(services) + 1 + WORKERS)
        expected = [("api: publish", PUBLISH), *[("api: publish", PROCESS)] * WORKERS]
        check(what, spans, services, edges(spans), sorted(expected), is_one=True)


def plain_publisher(options) -> None:
    """The sidecar of a plain publisher adds the context; the instrumented workers read it from their deliveries."""
    what = "keep-context, a plain publisher"
    with Stage(options, "keep-context-plain") as stage:
        publisher = Connection(stage.sidecar("api-sidecar", "api", *INJECT))
        keep = (*INJECT, "--keep-context", CHANNEL)
        workers(stage, lambda number: stage.sidecar(f"sidecar-{number}", "report-generator", *keep))
        expect(what, publisher.ask(b"PUBLISH", CHANNEL.encode(), MESSAGE), WORKERS)
        received(stage)
        found = trees(stage.spans(1 + 2 * WORKERS))
        delivery = Tree(PROCESS, (Tree("report-generator: generateReport", ()),))
        expect(what, found, [Tree(PUBLISH, (delivery,) * WORKERS)])
        say(what, "each worker's span below its delivery", found)


def plain_subscribers(options, services: list[Tree]) -> None:
    """A context of the API's own is removed only where --strip-supplied says so."""
    what = "strip-supplied"
    with Stage(options, what) as stage:
        fleet(stage, INJECT)
        strip = stage.sidecar("plain-sidecar", "plain", *INJECT, "--strip-supplied", CHANNEL)
        other = stage.sidecar("other-sidecar", "other", *INJECT)
        plain, unchanged, direct = (Subscriber(host, CHANNEL) for host in (strip, other, REDIS))
        stage.request()
        received(stage)
        expect(what, plain.message(), MESSAGE)
        as_published = direct.message()
        expect(what, (as_published[CONTEXT:], unchanged.message()), (MESSAGE, as_published))
        spans = stage.spans(size(services) + 3 + WORKERS)
        labels = (PUBLISH, *[PROCESS] * WORKERS, f"plain: process {CHANNEL}", f"other: process {CHANNEL}")
        expected = sorted(("api: publish", label) for label in labels)
        check(what, spans, services, edges(spans), expected, is_one=True)


def stripped_in_auto(options, services: list[Tree]) -> None:
    """The same, where the sidecars have no other settings: two contexts are removed."""
    what = "strip-supplied, no other settings"
    with Stage(options, "strip-supplied-auto") as stage:
        plain, unchanged = (
            Subscriber(stage.sidecar(f"{name}-sidecar", name, *arguments), CHANNEL)
            for name, arguments in (("plain", ("--strip-supplied", CHANNEL)), ("other", ()))
        )
        fleet(stage, (), others=2)
        stage.wait_for_proof("api-sidecar")
        wire = Wire()
        stage.request()
        received(stage)
        on_the_wire = expect_wire(what, wire, CONTEXT + len(MESSAGE) + TRAILER)
        expect(what, (plain.message(), unchanged.message()), (MESSAGE, on_the_wire[:-TRAILER]))
        spans = stage.spans(size(services) + 3 + WORKERS)
        below = sorted([PROCESS] * WORKERS + [f"plain: process {CHANNEL}", f"other: process {CHANNEL}"])
        own = [Tree(PUBLISH, tuple(Tree(label, ()) for label in below))]
        check(what, spans, services, trees([span for span in spans if span.is_sidecars]), own)


def copied_options(options, *sidecar: str) -> None:
    """The library copies the options of the context that it has read, with a proxy's mark if that is there, into the one
    that it publishes. Nobody takes that for a proxy's. `sidecar` are the arguments of the relay's; without any it has none."""
    what = "copied options, relay " + ("with keep-context" if sidecar else "without a sidecar")
    with Stage(options, "relay-keep-context" if sidecar else "relay-alone") as stage:
        publisher = Connection(stage.sidecar("api-sidecar", "api", *EVERYWHERE))
        results = Subscriber(stage.sidecar("client-sidecar", "client", *EVERYWHERE), "results")
        stage.program("relay", "relay", stage.sidecar("relay-sidecar", "relay", *sidecar) if sidecar else REDIS)
        stage.wait_for_subscribers(CHANNEL, 1)
        wire = Wire()
        expect(what, publisher.ask(b"PUBLISH", CHANNEL.encode(), MESSAGE), 1)
        expect(f"{what}: the options that the relay reads", wire.published(CHANNEL)[CONTEXT - 1], MARK | 1)
        payload = wire.published("results")
        expect(what, results.message(), payload)
        options_copied = 1 if sidecar else MARK | 1
        expect(what, (payload[CONTEXT - 1], payload[CONTEXT:]), (options_copied, MESSAGE))
        received = Tree("client: process results", ())
        if sidecar:
            relay = Tree("relay: relay", (received, Tree("relay: publish results", ())))
            expected = Tree(PUBLISH, (Tree(f"relay: process {CHANNEL}", (relay,)),))
        else:
            expected = Tree(PUBLISH, (Tree("relay: relay", (received,)),))
        found = trees(stage.spans(size([expected])))
        expect(what, found, [expected])
        say(what, "its context arrives as it is", found)


def fleet(stage: Stage, arguments: tuple, others: int = 0) -> None:
    """The API and the workers, each behind a sidecar with these arguments; `others` are subscribed behind sidecars already."""
    workers(stage, lambda number: stage.sidecar(f"sidecar-{number}", "report-generator", *arguments), others)
    if not arguments:
        stage.wait_until_announced(CHANNEL, others + WORKERS)
    stage.api(stage.sidecar("api-sidecar", "api", *arguments))


def workers(stage: Stage, redis, others: int = 0) -> None:
    for number in range(WORKERS):
        stage.program(f"worker-{number}", "report-generator", redis(number))
    stage.wait_for_subscribers(CHANNEL, others + WORKERS)


def received(stage: Stage) -> None:
    """Each worker says that it has got the message, and nothing else."""
    wanted = f"Message received:{MESSAGE.decode()}"
    for number in range(WORKERS):
        name = f"worker-{number}"
        wait_until(f"{name} has the message", lambda: stage.printed(name))
        expect(name, stage.printed(name).strip(), wanted)


def count(name: str) -> int:
    return sum(span.label.endswith(f": {name}") for span in jaeger_api.spans())


def size(found: list[Tree]) -> int:
    return sum(len(tree.lines()) for tree in found)


def edges(spans: list[Span]) -> list[tuple[str, str]]:
    """The parent and the name of each span of a sidecar."""
    by_id = {span.id: span.label for span in spans}
    return sorted((by_id.get(span.parent, ""), span.label) for span in spans if span.is_sidecars)


def expect_wire(what: str, wire: Wire, length: int) -> bytes:
    payload = wire.published(CHANNEL)
    expect(f"{what}: bytes on the wire", len(payload), length)
    return payload


def check(what: str, spans: list[Span], services: list[Tree], found, expected, is_one: bool = False) -> None:
    """The services' spans are what they are without sidecars, and the sidecars' are `expected`."""
    expect(f"{what}: the services' spans", trees([span for span in spans if not span.is_sidecars]), services)
    expect(f"{what}: the sidecars' spans", found, expected)
    if is_one:
        expect(f"{what}: traces", len({span.trace for span in spans}), 1)
    say(what, "one trace, from the request to each worker" if is_one else "the services' trace as without sidecars", trees(spans))


def expect(what: str, found, expected) -> None:
    if found != expected:
        raise Failure(f"{what}:\nfound    {found}\nexpected {expected}")


def shown(found: list[Tree]) -> str:
    return "\n".join(line for tree in found for line in tree.lines("    "))


def say(what: str, seen: str, found: list[Tree]) -> None:
    print(f"{what:<45} {seen}\n{shown(found)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
