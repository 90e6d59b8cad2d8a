"""Starts and stops the services of the Compose file and their sidecars, as processes of one namespace with nothing but loopback in
it. The parts `collector` and `jaeger` share it.

The names of the Compose file's network lead to loopback.
"""

import json
import os
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

from patience import PATIENCE, Failure, wait_for_port, wait_until

HOSTS = "127.0.0.1 localhost redis jaeger collector api worker-sidecar\n"

SIDECARS = {"api-sidecar": 9127, "worker-sidecar": 9128}
"""With the port of each one's metrics, which the Compose file does not open."""

LAST = (*SIDECARS, "collector", "jaeger", "redis")
"""What ends after the services, in this order: sidecars before what they send to."""

# Whatever proxy the machine's environment names, there is none in this namespace.
urllib.request.install_opener(urllib.request.build_opener(urllib.request.ProxyHandler({})))


class Fleet:
    """What runs. `programs` has the paths `compose`, `redis_server`, `proxy` and `programs`, of the folder with `demo-api` and
    `demo-worker`."""

    def __init__(self, programs, results: Path) -> None:
        self._programs = programs
        self._results = results
        self._compose = json.loads(Path(programs.compose).read_text())["services"]
        self._running: dict[str, subprocess.Popen] = {}
        self._starts = 0
        hosts = results / "hosts"
        hosts.write_text(HOSTS)
        subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)
        # By this file, here Podman's, the proxy knows that it is in a container.
        subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True)
        Path("/run/.containerenv").touch()

    def log(self, name: str) -> str:
        """What the last process of this name has written."""
        return max(self._results.glob(f"*-{name}.log")).read_text()

    def start_redis(self) -> None:
        command = [self._programs.redis_server, *self._compose["redis"]["command"][1:], "--dir", str(self._results)]
        self._start("redis", command, {})
        wait_for_port("redis", "redis", 6379, self._check_alive)

    def start_fleet(self, **settings: str) -> list[str]:
        """The Rust services and their sidecars, these with the Compose file's environment and `settings` over it. Returns the
        name of each worker's service as often as the worker has replicas.

        In mode `auto`, messages are followed once all subscribers are known to be behind sidecars. The API's sidecar starts
        when all workers are announced. If it were there before, it could still hold a proof of a part of them."""
        self._start_sidecar("worker-sidecar", settings)
        workers = self._start_workers()
        wait_until("all workers are announced", lambda: announced("reports") == len(workers))
        self._start_sidecar("api-sidecar", settings)
        environment = self._compose["api"]["environment"]
        self._start("api", [f"{self._programs.programs}/demo-api"], environment)
        # Not through its sidecar, as in Compose: that would make spans.
        wait_until("the API is healthy", lambda: self._healthy("api", f"http://{environment['LISTEN']}/health"))
        wait_until("all have subscribed", lambda: subscribers() == {"reports": len(workers), "reports.done": 1})
        wait_until("all subscribers are known to be behind sidecars", self._all_is_proven)
        return workers

    def _start_sidecar(self, name: str, settings: dict[str, str]) -> None:
        """With a host name of its own, as in Compose."""
        port = SIDECARS[name]
        own = {"REDISTRIBUTED_ADMIN": f"127.0.0.1:{port}"}
        environment = self._compose[name]["environment"] | own | settings
        self._start_on_host(name, port, environment)

    def _start_on_host(self, name: str, admin: int, environment: dict[str, str]) -> None:
        """A sidecar on a host that has its name, until it is ready."""
        named = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$1"', name]
        self._start(name, [*named, self._programs.proxy], environment)
        wait_until(f"{name} is ready", lambda: self._healthy(name, f"http://127.0.0.1:{admin}/readyz"))

    def _start_workers(self) -> list[str]:
        workers = []
        for name, service in self._compose.items():
            if not name.startswith("worker-") or "demo-worker:" not in service["image"]:
                continue
            replicas = (service.get("deploy") or {}).get("replicas", 1)
            for replica in range(1, replicas + 1):
                self._start(f"{name}-{replica}", [f"{self._programs.programs}/demo-worker"], service["environment"])
                workers.append(name)
        return workers

    def _all_is_proven(self) -> bool:
        """Whether each service of each sidecar knows of both channels that they have only subscribers behind sidecars. A sidecar
        counts the channels of all its services together."""
        return all(
            int(self._metrics(port)['redistributed_auto_channels{verdict="proxied"}']) >= 2 * self._services_of(name)
            for name, port in SIDECARS.items()
        )

    def _services_of(self, sidecar: str) -> int:
        return len(self._compose[sidecar]["environment"].get("REDISTRIBUTED_ROUTES", "one").split())

    def spans_total(self, result: str) -> int:
        """Of all sidecars: `sent`, `failed` or `dropped`."""
        return self._of_sidecars(f'redistributed_spans_total{{result="{result}"}}')

    def spans_unsent(self) -> int:
        """Those that wait, and those on their way."""
        return self._of_sidecars("redistributed_spans_queued") + self._of_sidecars("redistributed_spans_in_flight")

    def stop(self, name: str) -> None:
        """By SIGTERM; the process must end well."""
        process = self._running.pop(name)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise Failure(f"{name} does not end") from None
        if process.returncode != 0:
            raise Failure(f"{name} ended with {process.returncode}; its log is in {self._results}")

    def stop_all(self) -> None:
        """Services before their sidecars, those before what they send to."""
        order = [name for name in self._running if name not in LAST]
        order += [name for name in LAST if name in self._running]
        for name in order:
            self.stop(name)

    def _of_sidecars(self, metric: str) -> int:
        return sum(int(self._metrics(port)[metric]) for port in SIDECARS.values())

    def _metrics(self, port: int) -> dict[str, float]:
        """By name with labels."""
        url = f"http://localhost:{port}/metrics"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            lines = answer.read().decode().splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line[:1] not in ("", "#")}

    def _start(self, name: str, command: list, environment: dict) -> None:
        self._starts += 1
        # A service knows what the Compose file tells it and nothing of the machine's environment.
        environment = {"PATH": os.environ["PATH"]} | {key: str(value) for key, value in (environment or {}).items()}
        with open(self._results / f"{self._starts:03}-{name}.log", "wb") as log:
            self._running[name] = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _check_alive(self, name: str) -> None:
        if (status := self._running[name].poll()) is not None:
            raise Failure(f"{name} ended by itself with {status}:\n{self.log(name)[-2000:]}")

    def _healthy(self, name: str, url: str) -> bool:
        self._check_alive(name)
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False


def subscribers() -> dict[str, int]:
    """Of the story's channels, by Redis itself."""
    lines = ask_redis("PUBSUB NUMSUB reports reports.done")
    return {lines[2]: int(lines[3][1:]), lines[5]: int(lines[6][1:])}


def announced(channel: str) -> int:
    """The subscribers of a channel that sidecars have announced to each other (proxy/docs/auto.md)."""
    lines = ask_redis(f"PUBSUB CHANNELS __redistributed:1:*:c:*:{channel}")
    return sum(int(line.split(":")[5]) for line in lines if line.startswith("__"))


def ask_redis(command: str) -> list[str]:
    """The lines of the answer, and one more."""
    with socket.create_connection(("redis", 6379), timeout=PATIENCE) as connection:
        connection.sendall(f"{command}\r\nQUIT\r\n".encode())
        return connection.makefile().read().splitlines()
