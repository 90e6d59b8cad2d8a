"""What each span of the story has to be, field by field, as proxy/docs/spans.md describes it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from otlp import CLIENT, CONSUMER, PRODUCER, SERVER, Span
from stage import AGENT, Report

SAME_TIME = 1_000
"""Nanoseconds that two spans may differ in when the same moment was: each span is dated by itself."""

USUAL = {"table": 20, "summary": 35, "page": 55, "chart": 80}
BY_REPORT = (300, 500, 900, 1_600, 2_800)
"""How long a worker works on a report in microseconds is the product of one of each (demo-services/worker/src/kind.rs)."""

ANY_ADDRESS = re.compile(r"127\.0\.0\.1:\d+")
ANY_NAME = re.compile(r"[a-z_]+")
ANY_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

HOSTS = {"api": "api-sidecar", "worker": "worker-sidecar"}
"""The names of the Compose file's sidecars, by the first word of the services that they stand before."""

KERNEL = Path("/proc/sys/kernel/random/boot_id").read_text().strip()

JOBS, ANNOUNCEMENTS = "reports", "reports.done"

PEER = {"network.peer.address": "127.0.0.1", "network.peer.port": 6379, "server.address": "redis"}
REDIS = PEER | {"server.port": 6379}


class OnePort:
    """Matches any port."""

    def fullmatch(self, value) -> bool:
        return isinstance(value, int) and 0 < value < 65536

    def __repr__(self) -> str:
        return "a port"


@dataclass(frozen=True)
class Wanted:
    """A span. A value that is a pattern stands for all that match it."""

    service: str
    name: str
    kind: int
    attributes: dict
    events: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()

    def differences(self, span: Span, machine: dict | None = None) -> list[str]:
        """The fields in which a span is not this one. Identity and times are told by the rest of the trace. `machine` is what its
        resource has besides."""
        found = [
            f"{name}: found {getattr(span, name)!r}, expected {getattr(self, name)!r}"
            for name in ("service", "name", "kind", "events", "links")
            if getattr(span, name) != getattr(self, name)
        ]
        if span.status != 0 or span.scope != "redistributed":
            found.append(f"status {span.status} and scope {span.scope!r}, expected 0 and 'redistributed'")
        found += _differences("attribute", span.attributes, self.attributes)
        return found + _differences("resource attribute", span.resource, resource(self.service) | (machine or {}))


def resource(service: str) -> dict:
    version = re.compile(r"\d+\.\d+\.\d+")
    return {
        "service.name": service,
        "service.instance.id": ANY_UUID,
        # Each sidecar has a name of its own, and all have one kernel.
        "host.name": HOSTS.get(service.partition("-")[0], service),
        "host.id": KERNEL,
        "telemetry.sdk.name": "redistributed",
        "telemetry.sdk.language": "rust",
        "telemetry.sdk.version": version,
        "telemetry.distro.name": "redistributed",
        "telemetry.distro.version": version,
    }


def _differences(what: str, found: dict, expected: dict) -> list[str]:
    return [
        f"{what} {key}: found {found.get(key)!r}, expected {expected.get(key)!r}"
        for key in sorted(found.keys() | expected.keys())
        if not _is(found.get(key), expected.get(key))
    ]


def _is(found, expected) -> bool:
    matches: Callable | None = getattr(expected, "fullmatch", None)
    if matches is None:
        return found == expected
    return found is not None and bool(matches(found if isinstance(expected, OnePort) else str(found)))


def request(report: Report) -> Wanted:
    attributes = {
        "client.address": "127.0.0.1",
        "http.request.method": "POST",
        "http.request.body.size": report.body,
        "http.response.body.size": report.answer,
        "http.response.status_code": 202,
        "http.route": "/reports",
        "network.peer.address": "127.0.0.1",
        "network.peer.port": OnePort(),
        "network.protocol.version": "1.1",
        "server.address": "api",
        "server.port": 8080,
        "url.path": "/reports",
        "url.scheme": "http",
        "user_agent.original": AGENT,
    }
    return Wanted("api", "POST /reports", SERVER, attributes)


def command(service: str, name: str) -> Wanted:
    attributes = PEER | {
        "db.namespace": "0",
        "db.operation.name": name,
        "db.system.name": "redis",
        "redistributed.cause": ANY_NAME,
    }
    return Wanted(service, name, CLIENT, attributes)


def publish(service: str, channel: str, size: int, receivers: int, is_caused: bool = False) -> Wanted:
    attributes = _message(channel, "publish", "send", size) | {"redis.pubsub.receivers": receivers}
    if is_caused:
        attributes["redistributed.cause"] = ANY_NAME
    return Wanted(service, f"publish {channel}", PRODUCER, attributes)


def delivery(service: str, channel: str, size: int, events: tuple[str, ...] = (), links=()) -> Wanted:
    return Wanted(service, f"process {channel}", CONSUMER, _message(channel, "process", "process", size), events, links)


def _message(channel: str, name: str, kind: str, size: int) -> dict:
    return REDIS | {
        "messaging.system": "redis",
        "messaging.operation.name": name,
        "messaging.operation.type": kind,
        "messaging.destination.name": channel,
        "messaging.message.body.size": size,
        "messaging.client.id": ANY_ADDRESS,
    }


def effort(report: Report, worker: str) -> int:
    """How long the worker works on its part at least, in nanoseconds."""
    seed = 0xCBF2_9CE4_8422_2325
    for byte in report.id.encode():
        seed = (seed ^ byte) * 0x0100_0000_01B3 % 2**64
    return USUAL[worker.removeprefix("worker-")] * BY_REPORT[seed % 5] * 1_000
