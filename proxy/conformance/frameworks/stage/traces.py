"""Whether the spans tell exactly what happened: no publish or delivery without its span, and no span without one.

What happened is known from Redis (`wire.py`). What the proxy claims of it depends on the mode of each service's proxy:

| | `inject` | `auto` | `strip` | no proxy, or a Lua script |
|---|---|---|---|---|
| publish | PRODUCER span; a context in the payload, unless too large | PRODUCER span, which says why if there is no context | nothing | nothing |
| delivery of a payload with a context | CONSUMER span, child of that publish | the same | the same | nothing |
| delivery of a payload without one | CONSUMER span, a trace of its own | nothing | nothing | nothing |
| delivery over the limit | nothing | nothing | nothing | nothing |

The proxy knows one script, Laravel's broadcast. It may have a PRODUCER span for each channel, without a context and without a number of
receivers. Redis does not tell who has sent a script.

In `auto`, whether a payload has a context depends on what the proxy knew at that moment, so only what follows from it is
asked for. How many messages had one is among the figures.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass

from wire import TRAILER_LEN, Publish

LIMIT = (1 << 20) - 2
"""Longest payload with its trailer, in bytes: the default of `--inject-limit`."""


@dataclass(frozen=True)
class Span:
    service: str
    kind: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start: int
    end: int
    failed: bool
    attributes: dict[str, str | int | bool]

    def key(self) -> tuple:
        """What a delivery and its span have in common."""
        of = self.attributes.get
        return (self.service, of("messaging.destination.subscription.name"), of("messaging.message.body.size"))


@dataclass
class Figures:
    publishes: int = 0
    in_scripts: int = 0
    producers: int = 0
    consumers: int = 0
    """CONSUMER spans that are children of their publish."""
    own_traces: int = 0
    """CONSUMER spans of messages without a context."""
    received: int = 0
    """Publishes of services with a proxy that somebody received and that are not too large for a context."""
    traced: int = 0
    """Those of them that had a context."""


def check(
    publishes: list[Publish], spans: list[Span], modes: dict[str, str], alive: set[str]
) -> tuple[list[str], Figures]:
    """What is wrong, one line each, and how much was looked at. `modes` holds the services that have a proxy, `alive`
    the connections that were there to the end."""
    return Check(publishes, spans, modes, alive).run()


class Check:
    def __init__(self, publishes: list[Publish], spans: list[Span], modes: dict[str, str], alive: set[str]):
        self.publishes, self.modes, self.alive = publishes, modes, alive
        self.problems: list[str] = []
        self.figures = Figures(len(publishes), sum(publish.service == "lua" for publish in publishes))
        self.producers = {span.span_id: span for span in spans if span.kind == "PRODUCER"}
        self.children: dict[str, list[Span]] = defaultdict(list)
        self.roots: dict[str, list[Span]] = defaultdict(list)
        for span in spans:
            if span.kind == "CONSUMER" and span.parent_id:
                self.children[span.parent_id].append(span)
            elif span.kind == "CONSUMER":
                self.roots[channel_of(span)].append(span)
            elif span.kind != "PRODUCER":
                self.problems.append(f"a span of kind {span.kind} from {span.service}: {span.name}")
        if len({span.span_id for span in spans}) != len(spans):
            self.problems.append("two spans have the same id")

    def run(self) -> tuple[list[str], Figures]:
        without_context = defaultdict(list)
        for publish in self.publishes:
            self.check_context(publish)
            if publish.context:
                self.check_trace(publish)
            else:
                without_context[publish.channel].append(publish)
        for channel, publishes in without_context.items():
            self.check_without_context(channel, publishes)
        for span in [*self.producers.values(), *sum(self.children.values(), []), *sum(self.roots.values(), [])]:
            self.problems.append(f"a span that tells of nothing that happened: {span}")
        return self.problems, self.figures

    def check_context(self, publish: Publish) -> None:
        """A payload leaves the proxy with a context if, and only if, the proxy is to add one."""
        fits = len(publish.payload) + TRAILER_LEN <= LIMIT and not publish.channel.startswith("__")
        mode = self.modes.get(publish.service)
        if mode in ("inject", "auto") and fits and publish.deliveries:
            self.figures.received += 1
            self.figures.traced += publish.context is not None
        if mode == "auto":
            return
        wanted = mode == "inject" and fits
        if wanted != (publish.context is not None):
            self.problems.append(f"{'no' if wanted else 'a'} context in {describe(publish)}")

    def check_trace(self, publish: Publish) -> None:
        """A publish with a context: its PRODUCER span and below it a CONSUMER span for each delivery."""
        producer = self.producers.pop(publish.context.span_id, None)
        consumers = self.children.pop(publish.context.span_id, [])
        self.figures.consumers += len(consumers)
        if producer is None:
            self.problems.append(f"no PRODUCER span for {describe(publish)}")
            return
        self.check_producer(producer, publish)
        for consumer in consumers:
            self.check_common(consumer, publish, "process")
            if consumer.trace_id != publish.context.trace_id:
                self.problems.append(f"in another trace than its parent: {consumer}")
            if consumer.start < producer.start:
                self.problems.append(f"delivered before it was published: {consumer}")
        self.check_deliveries(
            describe(publish), Counter(span.key() for span in consumers), [publish], ("inject", "auto", "strip")
        )
        if all(delivery.service in self.modes for delivery in publish.deliveries):
            receivers = producer.attributes.get("redis.pubsub.receivers")
            if receivers != len(consumers):
                self.problems.append(
                    f"Redis counted {receivers} receivers, {len(consumers)} CONSUMER spans: {describe(publish)}"
                )

    def check_without_context(self, channel: str, publishes: list[Publish]) -> None:
        """Publishes of one channel that carry no context. Their spans cannot be told from each other by an id."""
        for publish in publishes:
            if publish.service == "lua":
                self.check_script(publish)
                continue
            mode = self.modes.get(publish.service)
            if mode not in ("inject", "auto") or publish.channel.startswith("__"):
                continue
            candidates = (span for span in self.producers.values() if tells_of(span, publish))
            producer = next(candidates, None)
            if producer is None:
                self.problems.append(f"no PRODUCER span for {describe(publish)}")
                continue
            del self.producers[producer.span_id]
            self.check_producer(producer, publish)
            if mode == "auto" and not producer.attributes.get("redistributed.context.skipped"):
                self.problems.append(f"no context, and the span does not say why: {producer}")
        consumers = self.roots.pop(channel, [])
        self.figures.own_traces += len(consumers)
        if len({span.trace_id for span in consumers}) != len(consumers):
            self.problems.append(f"deliveries on {channel} share a trace though no message carried a context")
        found = Counter(span.key() for span in consumers)
        # What is longer than the limit is passed on unread.
        read = [publish for publish in publishes if len(publish.payload) <= LIMIT]
        self.check_deliveries(f"publishes without a context on {channel}", found, read, ("inject",))

    def check_script(self, publish: Publish) -> None:
        """A publish of a script: its PRODUCER span, if it is one of a known script."""
        of_script = (span for span in self.producers.values() if "redis.pubsub.receivers" not in span.attributes)
        producer = next((span for span in of_script if has_content_of(span, publish)), None)
        if producer is not None:
            del self.producers[producer.span_id]
            self.figures.producers += 1
            self.check_common(producer, publish, "publish")

    def check_deliveries(self, what: str, found: Counter, publishes: list[Publish], modes: tuple[str, ...]) -> None:
        certain, possible = Counter(), Counter()
        for publish in publishes:
            for delivery in publish.deliveries:
                if self.modes.get(delivery.service) in modes:
                    key = (delivery.service, delivery.pattern, len(publish.payload))
                    possible[key] += 1
                    certain[key] += delivery.connection in self.alive
        for key, count in (certain - found).items():
            self.problems.append(f"{count} CONSUMER spans missing, {key}: {what}")
        for key, count in (found - possible).items():
            self.problems.append(f"{count} CONSUMER spans too many, {key}: {what}")

    def check_producer(self, span: Span, publish: Publish) -> None:
        self.figures.producers += 1
        self.check_common(span, publish, "publish")
        if span.service != publish.service:
            self.problems.append(f"published by {publish.service}, the span says {span.service}: {describe(publish)}")
        if span.parent_id:
            self.problems.append(f"a publish with a parent that nobody gave it: {span}")
        counted, possible = span.attributes.get("redis.pubsub.receivers"), len(publish.deliveries)
        certain = sum(delivery.connection in self.alive for delivery in publish.deliveries)
        if not isinstance(counted, int) or not certain <= counted <= possible:
            self.problems.append(
                f"{counted} receivers on the span, {certain} to {possible} in truth: {describe(publish)}"
            )

    def check_common(self, span: Span, publish: Publish, operation: str) -> None:
        wanted = {
            "messaging.system": "redis",
            "messaging.operation.name": operation,
            "messaging.destination.name": publish.channel,
            "messaging.message.body.size": len(publish.payload),
            "redis.pubsub.sharded": True if publish.sharded else None,
        }
        wrong = [key for key, value in wanted.items() if span.attributes.get(key) != value]
        destination = span.attributes.get("messaging.destination.template", publish.channel)
        if wrong or span.failed or span.name != f"{operation} {destination}" or span.end < span.start:
            self.problems.append(f"wrong in {', '.join(wrong) or 'name, status or time'}: {span}")


def tells_of(span: Span, publish: Publish) -> bool:
    return span.service == publish.service and has_content_of(span, publish)


def has_content_of(span: Span, publish: Publish) -> bool:
    of = span.attributes.get
    found = (of("messaging.destination.name"), of("messaging.message.body.size"))
    return found == (publish.channel, len(publish.payload))


def channel_of(span: Span) -> str:
    return str(span.attributes.get("messaging.destination.name"))


def describe(publish: Publish) -> str:
    size, deliveries = len(publish.payload), len(publish.deliveries)
    return f"publish of {publish.service} on {publish.channel}, {size} B, {deliveries} deliveries"
