"""The Compose file's services and sidecars with a Collector, and with what receives spans at Jaeger's place."""

import json
import urllib.request
from pathlib import Path
from typing import NamedTuple

from backend import Backend
from fleet import Fleet
from patience import PATIENCE, Failure, wait_for_port, wait_until

WITHOUT_CAUSES = {"REDISTRIBUTED_FOLLOW": "off", "REDISTRIBUTED_COMMANDS": "none"}
"""What a sidecar tells of causes depends on what it has seen before. Without, the spans can be counted."""

COLLECTOR_METRICS = 8888
"""Where a Collector has its own unless told otherwise."""

BACKEND = ("127.0.0.1", 4399)

# The OTLP receiver of Jaeger 2 is the Collector's. Behind it the spans go to this program instead of a storage.
AT_JAEGERS_PLACE = """
receivers:
  otlp: { protocols: { grpc: { endpoint: "jaeger:${env:GRPC_PORT}" }, http: { endpoint: "jaeger:${env:HTTP_PORT}" } } }
exporters:
  otlp_http: { endpoint: "http://%s:%d", encoding: json, compression: none, sending_queue: { enabled: false } }
service:
  telemetry: { metrics: { level: none } }
  pipelines: { traces: { receivers: [otlp], exporters: [otlp_http] } }
""" % BACKEND


WITH_METRICS = """yaml:
exporters: { otlp_http/metrics: { endpoint: "http://%s:%d", encoding: json, compression: none } }
service: { pipelines: { metrics: { receivers: [otlp], processors: [memory_limiter], exporters: [otlp_http/metrics] } } }
""" % BACKEND
"""What a Collector needs more to hand on metrics. Jaeger takes none, so the Compose file's does not do that."""


class Ports(NamedTuple):
    grpc: int
    http: int


JAEGERS = Ports(4317, 4318)
"""As its image has them."""

BEHIND_THE_COLLECTOR = Ports(5317, 5318)
"""Where Jaeger's place is while the Collector has Jaeger's ports."""


class Stage(Fleet):
    """What runs. `programs` are those of the command line."""

    def __init__(self, programs, results: Path) -> None:
        super().__init__(programs, results)
        self.backend = Backend(*BACKEND)

    def start_jaeger(self, ports: Ports) -> None:
        config = self._results / "at-jaegers-place.yaml"
        config.write_text(AT_JAEGERS_PLACE)
        self._start(
            "jaeger",
            [self._programs.collector, f"--config={config}"],
            {"GRPC_PORT": ports.grpc, "HTTP_PORT": ports.http},
        )
        for port in ports:
            wait_for_port("jaeger", "jaeger", port, self._check_alive)

    def start_collector(self, *overrides: str) -> None:
        """With the Compose file's configuration; `overrides` are more of the Collector's `--config`. One is always
        needed: on one machine it cannot listen on 4317 and export to 4317."""
        overrides = (f"yaml:exporters::otlp_grpc::endpoint: jaeger:{BEHIND_THE_COLLECTOR.grpc}", *overrides)
        configs = [f"--config={config}" for config in (self._programs.collector_config, *overrides)]
        self._start("collector", [self._programs.collector, *configs], {})
        wait_until("the Collector is healthy", lambda: self._healthy("collector", "http://collector:13133/"))

    def start_fleet(self, **settings: str) -> list[str]:
        return super().start_fleet(**WITHOUT_CAUSES | settings)

    def order(self, title: str) -> None:
        """A report, as a client does."""
        body = json.dumps({"title": title}).encode()
        with urllib.request.urlopen("http://api:8080/reports", data=body, timeout=PATIENCE) as answer:
            if answer.status != 202:
                raise Failure(f"POST /reports was answered {answer.status}")

    def collector_total(self, metric: str) -> int:
        """The sum of one of the Collector's own metrics, whatever its labels."""
        metrics = self._metrics(COLLECTOR_METRICS)
        return sum(int(value) for name, value in metrics.items() if name.partition("{")[0] == metric)
