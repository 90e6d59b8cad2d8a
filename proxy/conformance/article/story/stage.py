"""Starts and stops the programs of the article, their sidecars, Redis and Jaeger, as processes of one namespace with nothing but
loopback in it.

The article's programs have their addresses in their source: `redis:6379`, `jaeger:14268` and port 5000. So each process has
a file of hosts of its own, in which `redis` is its sidecar.
"""

import os
import signal
import subprocess
import urllib.request
from pathlib import Path

import jaeger_api
from patience import PATIENCE, Failure, wait_for_port, wait_until
from wire import Connection

REDIS = "127.0.0.1"
DEFECTS = ("ERROR", "panicked")
"""What must never be in the log of a sidecar."""


class Stage:
    """What runs for one scenario. `options` are those of the command line."""

    def __init__(self, options, name: str) -> None:
        self._options = options
        self._folder = Path(options.results) / name
        self._folder.mkdir()
        self._running: dict[str, subprocess.Popen] = {}
        self._sidecars: dict[str, str] = {}
        self._start("redis", [options.redis_server, "--bind", REDIS, "--port", "6379", "--save", ""], REDIS)
        wait_for_port("redis", REDIS, 6379, self._check_alive)
        self._start("jaeger", [options.jaeger], REDIS)
        for port in (4318, 14268, 16686):
            wait_for_port("jaeger", REDIS, port, self._check_alive)
        self.redis = Connection(REDIS)

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()

    def sidecar(self, name: str, service: str, *arguments: str) -> str:
        """Starts the sidecar of `service` and returns its address."""
        address = f"127.0.1.{1 + len(self._sidecars)}"
        command = [self._options.proxy, "--listen", f"{address}:6379", "--upstream", f"redis://{REDIS}:6379"]
        command += ["--admin", f"{address}:9127", *arguments]
        settings = {
            "OTEL_SERVICE_NAME": service,
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{REDIS}:4318",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        self._start(name, command, REDIS, settings)
        self._sidecars[name] = address
        wait_until(f"{name} is ready", lambda: self._is_ready(name, address))
        return address

    def program(self, name: str, program: str, redis: str) -> None:
        """Starts one of the instrumented programs; `redis` is the address that it knows by that name."""
        folder = self._options.own_programs if program == "relay" else self._options.programs
        self._start(name, [f"{folder}/{program}"], redis)

    def api(self, redis: str) -> None:
        self.program("api", "api", redis)
        wait_for_port("api", REDIS, 5000, self._check_alive)

    def request(self) -> None:
        """A report, as the article orders it."""
        with urllib.request.urlopen(f"http://{REDIS}:5000/reports", timeout=PATIENCE) as answer:
            answer.read()

    def wait_for_subscribers(self, channel: str, count: int) -> None:
        name = channel.encode()
        wait_until(
            f"{count} are subscribed to {channel}", lambda: self.redis.ask(b"PUBSUB", b"NUMSUB", name) == [name, count]
        )

    def wait_until_announced(self, channel: str, count: int) -> None:
        """Until proxies have announced so many subscribers of a channel. A sidecar that starts afterwards proves the whole
        audience at once; one that was there before may still hold a proof of a part of it for a moment."""
        pattern = b"__redistributed:1:*:c:*:" + channel.encode()

        def announced() -> int:
            return sum(int(name.split(b":")[5]) for name in self.redis.ask(b"PUBSUB", b"CHANNELS", pattern))

        wait_until(f"{count} subscribers of {channel} are announced", lambda: announced() == count)

    def wait_for_proof(self, name: str) -> None:
        """Until a sidecar in mode `auto` knows of one channel that every subscriber is behind a sidecar."""
        url = f"http://{self._sidecars[name]}:9127/metrics"

        def is_proven() -> bool:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                return 'redistributed_auto_channels{verdict="proxied"} 1\n' in answer.read().decode()

        wait_until(f"{name} knows its subscribers", is_proven)

    def printed(self, name: str) -> str:
        self._check_alive(name)
        return (self._folder / f"{name}.log").read_text()

    def spans(self, count: int) -> list[jaeger_api.Span]:
        """All of Jaeger's, once there are so many and the sidecars have ended, which send all that they have."""
        try:
            wait_until(f"Jaeger has {count} spans", lambda: len(jaeger_api.spans()) >= count)
        except Failure as failure:
            found = "\n".join(line for tree in jaeger_api.trees(jaeger_api.spans()) for line in tree.lines("  "))
            raise Failure(f"{failure}; it has\n{found}") from None
        for name in self._sidecars:
            self._stop_sidecar(name)
        return jaeger_api.spans()

    def _stop_sidecar(self, name: str) -> None:
        process = self._running.pop(name)
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
        log = (self._folder / f"{name}.log").read_text()
        if process.returncode != 0 or any(defect in log for defect in DEFECTS):
            raise Failure(f"{name} ended with {process.returncode}:\n{log}")

    def _start(self, name: str, command: list, redis: str, settings: dict | None = None) -> None:
        hosts = self._folder / f"{name}.hosts"
        hosts.write_text(f"127.0.0.1 localhost jaeger\n{redis} redis\n")
        private = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts)]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self._folder)} | (settings or {})
        with (self._folder / f"{name}.log").open("wb") as log:
            self._running[name] = subprocess.Popen(
                [*private, *command],
                cwd=self._folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _check_alive(self, name: str) -> None:
        if (status := self._running[name].poll()) is not None:
            log = (self._folder / f"{name}.log").read_text()
            raise Failure(f"{name} ended by itself with {status}:\n{log[-2000:]}")

    def _is_ready(self, name: str, address: str) -> bool:
        self._check_alive(name)
        try:
            with urllib.request.urlopen(f"http://{address}:9127/readyz", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False
