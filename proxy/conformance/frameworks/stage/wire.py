"""What Redis itself says has been published, and to whom it was delivered.

The source is Redis's own MONITOR, read from the server and not through a proxy. It lists each command in the order in
which it ran, with the address of the connection it came on. Every service has an address of its own (see `play` in
`__main__.py`), so that an address names a service. Publishes of a script come from `lua`. From the subscribe commands
follows who had to receive each message: the expectation that the spans are held against owes nothing to the proxy.

MONITOR does not tell when a connection ends. So the deliveries to a connection that was gone at the end of the story
are possible, not certain (`traces.py`).
"""

import ast
import re
from dataclasses import dataclass, field

LINE = re.compile(rb"^\+[0-9.]+ \[\d+ (\S+)\] (.*)$", re.DOTALL)
ARGUMENT = re.compile(rb'"(?:[^"\\]+|\\.)*"', re.DOTALL)
PUBLISH = re.compile(rb'"s?publish" (' + ARGUMENT.pattern + rb") ", re.DOTALL | re.IGNORECASE)

# The trailer as written down in proxy/core/src/carrier/trailer.rs, without its optional fields, which nobody sends here.
BEGIN = b"\x00\xfbrdtrac"
END = b"\xfbrdtrac\xfe"
TRAILER_LEN = 41


@dataclass(frozen=True)
class Context:
    trace_id: str
    span_id: str


@dataclass(frozen=True)
class Delivery:
    """One subscription that a message was delivered to. `pattern` is that of a PSUBSCRIBE."""

    service: str
    connection: str
    pattern: str | None


@dataclass
class Publish:
    service: str
    channel: str
    sharded: bool
    payload: bytes
    """As the application sent it."""
    context: Context | None
    deliveries: list[Delivery]


@dataclass
class Wire:
    """Reads lines of MONITOR. `services` maps addresses to names."""

    services: dict[str, str]
    publishes: list[Publish] = field(default_factory=list)
    subscriptions: dict[str, dict[str, list[bytes]]] = field(default_factory=dict)

    def read(self, line: bytes) -> None:
        match = LINE.match(line)
        if not match:
            raise ValueError(f"not a line of MONITOR: {line[:80]!r}")
        connection = match[1].decode()
        # A quick look at the name first: what is not Pub/Sub may be large, and there is much of it.
        name = match[2][1 : match[2].index(b'"', 1)].lower()
        if name in (b"publish", b"spublish"):
            # Payloads may be large: the rest of the line is taken as it is.
            head = PUBLISH.match(match[2])
            channel, payload = literal(head[1]), literal(match[2][head.end() :])
            self._publish(connection, name == b"spublish", channel, payload)
        elif name in (b"subscribe", b"psubscribe", b"ssubscribe"):
            held = self._held(connection, name)
            held += [channel for channel in arguments(match[2])[1:] if channel not in held]
        elif name in (b"unsubscribe", b"punsubscribe", b"sunsubscribe"):
            held, gone = self._held(connection, name.replace(b"un", b"")), arguments(match[2])[1:]
            held[:] = [channel for channel in held if gone and channel not in gone]
        elif name in (b"reset", b"quit"):
            self.subscriptions.pop(connection, None)

    def _held(self, connection: str, kind: bytes) -> list[bytes]:
        return self.subscriptions.setdefault(connection, {}).setdefault(kind.decode(), [])

    def _publish(self, connection: str, sharded: bool, channel: bytes, payload: bytes) -> None:
        if channel.startswith(b"__redistributed:"):
            return  # What proxies tell each other is no message of a service.
        deliveries = []
        for subscriber, held in self.subscriptions.items():
            service = self._service(subscriber)
            if channel in held.get("ssubscribe" if sharded else "subscribe", []):
                deliveries.append(Delivery(service, subscriber, None))
            if not sharded:
                patterns = [pattern for pattern in held.get("psubscribe", []) if glob(pattern).fullmatch(channel)]
                deliveries += [Delivery(service, subscriber, text(pattern)) for pattern in patterns]
        payload, context = split_trailer(payload)
        self.publishes.append(Publish(self._service(connection), text(channel), sharded, payload, context, deliveries))

    def _service(self, connection: str) -> str:
        if connection == "lua":
            return "lua"
        address = connection.rpartition(":")[0]
        if address not in self.services:
            raise ValueError(f"a connection from {connection}, which is no service's address")
        return self.services[address]


def arguments(quoted: bytes) -> list[bytes]:
    """MONITOR quotes arguments as Python quotes bytes."""
    return [literal(argument) for argument in ARGUMENT.findall(quoted)]


def literal(argument: bytes) -> bytes:
    return ast.literal_eval("b" + argument.decode("ascii"))


def text(name: bytes) -> str:
    return name.decode("utf-8", "replace")


def glob(pattern: bytes) -> re.Pattern[bytes]:
    """A pattern of PSUBSCRIBE, as far as frameworks use them: `*` and `?`; a backslash makes the next byte plain."""
    if re.search(rb"(?<!\\)\[", pattern):
        raise ValueError(f"character classes are not understood here: {pattern!r}")
    parts = re.findall(rb"\\(.)|(\*)|(\?)|(.)", pattern, re.DOTALL)
    regex = b"".join(
        b".*" if star else b"." if any_ else re.escape(plain or other) for plain, star, any_, other in parts
    )
    return re.compile(regex, re.DOTALL)


def split_trailer(payload: bytes) -> tuple[bytes, Context | None]:
    """The payload without its trailer, and the context in the trailer."""
    trailer = payload[-TRAILER_LEN:]
    if len(trailer) < TRAILER_LEN or not trailer.startswith(BEGIN) or not trailer.endswith(END) or trailer[32] > 3:
        return payload, None
    return payload[:-TRAILER_LEN], Context(trailer[8:24].hex(), trailer[24:32].hex())
