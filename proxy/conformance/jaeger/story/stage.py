"""The Compose file's services and sidecars with a real Jaeger, and sidecars of their own for publishers and subscribers."""

import json
import os
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

import jaeger_api
from fleet import SIDECARS, Fleet
from patience import PATIENCE, Failure, wait_for_port, wait_until

ENDPOINTS = {"http/protobuf": "http://jaeger:4318", "grpc": "http://jaeger:4317"}
"""Where Jaeger takes spans, by OTEL_EXPORTER_OTLP_PROTOCOL."""

API = "http://api:8080"
AGENT = "story/1"


class Report(NamedTuple):
    """A report as its client knows it."""

    id: str
    title: str
    number: str
    trace: str
    """That of the request, which the API's sidecar tells in its answer."""
    body: int
    """The request's body in bytes, like `answer`."""
    answer: int
    ordered: int
    """When the request was sent, in nanoseconds since 1970."""


class Stage(Fleet):
    """What runs. `programs` are those of the command line."""

    def __init__(self, programs, results: Path) -> None:
        super().__init__(programs, results)
        self._ports = iter(range(7000, 8000))
        self._own: list[str] = []

    def start_jaeger(self) -> None:
        """With its own configuration: in memory, on the ports of its image."""
        self._start("jaeger", [self._programs.jaeger], {})
        for port in (4317, 4318, 16686):
            wait_for_port("jaeger", "jaeger", port, self._check_alive)

    def sidecar(self, service: str, **settings: str) -> int:
        """Starts a sidecar that is not in the Compose file, and returns the port that its service connects to."""
        port, admin = next(self._ports), next(self._ports)
        own = {
            "REDISTRIBUTED_LISTEN": f"127.0.0.1:{port}",
            "REDISTRIBUTED_UPSTREAM": "redis://redis:6379",
            "REDISTRIBUTED_ADMIN": f"127.0.0.1:{admin}",
            "OTEL_SERVICE_NAME": service,
        }
        self._start_on_host(service, admin, own | settings)
        self._own.append(service)
        return port

    def end_sidecars(self) -> None:
        """Services first. A sidecar sends all that it has when it ends."""
        services = [name for name in self._running if name not in (*SIDECARS, *self._own, "jaeger", "redis")]
        for name in (*services, *SIDECARS, *self._own):
            if name in self._running:
                self.stop(name)
        self._own.clear()

    def order(self, title: str, number: str) -> Report:
        """Orders a report, as a client does."""
        body = json.dumps({"title": title, "order": number}).encode()
        request = urllib.request.Request(f"{API}/reports", body, {"User-Agent": AGENT})
        ordered = time.time_ns()
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            text = answer.read()
            if answer.status != 202 or not (told := answer.headers["traceresponse"]):
                raise Failure(f"POST /reports was answered {answer.status}: {answer.headers}")
        id = json.loads(text)["id"]
        return Report(id, title, number, told.split("-")[1], len(body), len(text), ordered)

    def wait_for_parts(self, report: Report, count: int) -> None:
        """Until the report has all its parts."""
        with urllib.request.urlopen(f"{API}/reports/{report.id}?wait=20", timeout=PATIENCE) as answer:
            found = json.load(answer)
        if not found["complete"] or len(found["parts"]) != count:
            raise Failure(f"report {report.id} is not complete: {found}")

    def wait_for_workers(self, report: Report, workers: list[str]) -> int:
        """Until each worker has said that it is done with the report, which is after Redis has answered it for the last time.
        Returns the time of that."""
        for worker in workers:
            said = f"report {report.id}: "
            wait_until(f"{worker} is done with {report.id}", lambda: said in self.log(f"{worker}-1"))
        return time.time_ns()

    def wait_until_sent(self) -> int:
        """Until the Compose file's sidecars have nothing left to send. Returns how many spans they have sent."""
        wait_until("no span waits", lambda: not self._of_each_sidecar("redistributed_spans_waiting"))
        wait_until("the sidecars have sent their spans", lambda: self.spans_unsent() == 0)
        if (lost := self.spans_total("failed") + self.spans_total("dropped")) != 0:
            raise Failure(f"the sidecars have lost {lost} spans")
        return self.spans_total("sent")

    def unknown_causes(self) -> list[str]:
        """Which causes the Compose file's sidecars could not tell, and why."""
        return self._of_each_sidecar("redistributed_causes_unknown_total")

    def _of_each_sidecar(self, metric: str) -> list[str]:
        """What the Compose file's sidecars say of a metric, where that is not 0."""
        return [
            f"{name}: {key} {value:.0f}"
            for name, port in SIDECARS.items()
            for key, value in self._metrics(port).items()
            if key.partition("{")[0] == metric and value
        ]

    def demo(self, protocol: str) -> str:
        """Runs the program behind `make demo`, which sends all spans on to Jaeger, and returns what it printed."""
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": ENDPOINTS[protocol], "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
        command = [f"{self._programs.programs}/demo", "--redis-server", self._programs.redis_server]
        environment = {"PATH": os.environ["PATH"], "NO_COLOR": "1"} | settings
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if ended.returncode != 0:
            raise Failure(f"the demo ended with {ended.returncode}:\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}")
        return ended.stdout


def known_traces(service: str) -> set[str]:
    """The ids of all traces in which Jaeger has spans of a service."""
    return {shown["traceID"] for shown in jaeger_api.ask(f"/api/traces?service={service}&limit=5000")}
