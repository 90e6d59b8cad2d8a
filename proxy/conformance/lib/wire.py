"""Connections of a story itself to Redis: a publisher, a plain subscriber, and Redis's own MONITOR. The parts `article` and
`jaeger` share it."""

import re
import socket

from patience import PATIENCE

ESCAPED = re.compile(rb"\\(x[0-9a-f]{2}|.)")
"""As MONITOR writes what does not print."""

NAMED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}


class Connection:
    """Commands in RESP2."""

    def __init__(self, host: str, port: int = 6379) -> None:
        self._socket = socket.create_connection((host, port), timeout=PATIENCE)
        self._stream = self._socket.makefile("rb")

    def send(self, *words: bytes) -> None:
        parts = [b"*%d\r\n" % len(words), *(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)]
        self._socket.sendall(b"".join(parts))

    def reply(self):
        line = self._stream.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        if kind == b"$":
            return self._stream.read(int(rest) + 2)[:-2]
        if kind in (b"", b"-"):
            raise ConnectionError(f"Redis answered {line!r}")
        return int(rest) if kind == b":" else rest

    def ask(self, *words: bytes):
        self.send(*words)
        return self.reply()

    def line(self) -> bytes:
        return self._stream.readline()[:-2]

    def close(self) -> None:
        self._stream.close()
        self._socket.close()


class Subscriber:
    """A service that knows nothing of contexts."""

    def __init__(self, host: str, channel: str, port: int = 6379) -> None:
        self._connection = Connection(host, port)
        self._connection.ask(b"SUBSCRIBE", channel.encode())

    def message(self) -> bytes:
        kind, _, payload = self._connection.reply()
        if kind != b"message":
            raise ConnectionError(f"a {kind!r} instead of a message")
        return payload

    def close(self) -> None:
        self._connection.close()


class Wire:
    """What was published, as Redis has received it."""

    def __init__(self) -> None:
        self._feed = Connection("127.0.0.1")
        self._feed.ask(b"MONITOR")

    def published(self, channel: str) -> bytes:
        """The payload of the next publish on `channel`."""
        start = b'"%b" ' % channel.encode()
        while True:
            _, _, command = self._feed.line().partition(b"] ")
            name, _, rest = command.partition(b" ")
            if name.upper() == b'"PUBLISH"' and rest.startswith(start):
                return ESCAPED.sub(_unescaped, rest[len(start) + 1 : -1])


def _unescaped(match: re.Match) -> bytes:
    what = match[1]
    return bytes.fromhex(what[1:].decode()) if what[:1] == b"x" and len(what) == 3 else NAMED.get(what, what)
