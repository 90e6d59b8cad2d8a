"""The processes of one run: a Redis, proxies, workers, and the program that adds jobs."""

import collections
import itertools
import json
import os
import re
import signal
import subprocess
from pathlib import Path

import redis
from patience import PATIENCE, Failure, wait_for_port, wait_until

WORKERS_PATIENCE = 5.0
"""Seconds that a worker has to end by itself. One that has done its jobs may wait for further ones for longer than anybody does."""
HERE = Path(__file__).parent
SIZES = {"list": "llen", "zset": "zcard", "stream": "xlen"}
# A run has a network namespace to itself, in which every port is free.
PORTS = itertools.count(7000)


class Stage:
    """Starts processes by name, and ends with all of them. Each writes NAME.out and NAME.log into the folder."""

    def __init__(self, programs, folder: Path, library) -> None:
        self._programs, self._folder, self._library = programs, folder, library
        self._running: dict[str, subprocess.Popen] = {}

    def __enter__(self):
        self._folder.mkdir(parents=True)
        self.port = next(PORTS)
        server = [self._programs.redis_server, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        self._start("redis", server, {})
        wait_for_port("redis", "127.0.0.1", self.port, self._check_alive)
        self.redis = redis.Redis(port=self.port)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        return self

    def __exit__(self, *_) -> None:
        self.redis.close()
        for process in self._running.values():
            process.kill()
            process.wait()

    def start_proxy(self, service: str, options: tuple = ()) -> str:
        """Returns where it is."""
        port = next(PORTS)
        command = [self._programs.proxy, "--listen", f"127.0.0.1:{port}", "--upstream", f"redis://127.0.0.1:{self.port}", *options]
        own = {"OTEL_SERVICE_NAME": service, "OTEL_TRACES_EXPORTER": "console"}
        self._start(f"proxy-{service}", [*command, "--console-format", "json"], own)
        wait_for_port(f"proxy-{service}", "127.0.0.1", port, self._check_alive)
        return f"redis://127.0.0.1:{port}/0"

    def stop_proxy(self, service: str) -> list:
        """Returns its spans."""
        self._stop(f"proxy-{service}", PATIENCE)
        return [json.loads(line) for line in (self._folder / f"proxy-{service}.out").read_text().splitlines()]

    def start_worker(self, url: str) -> None:
        self._start("worker", self._side("work"), self._library.variables | {"REDIS_URL": url})
        wait_until("the worker waits for jobs", lambda: self._check_alive("worker") or self._waits())

    def stop_worker(self) -> None:
        self._stop("worker", WORKERS_PATIENCE, is_patient=True)

    def start_api(self, url: str, jobs: int) -> None:
        self._start("api", self._side("send", str(jobs)), self._library.variables | {"REDIS_URL": url})

    def results(self) -> list:
        """What the program that adds jobs has printed, once it has ended."""
        process = self._running.pop("api")
        try:
            code = process.wait(2 * PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            code = f"nothing for {2 * PATIENCE:.0f} s"
        if code != 0:
            raise Failure(f"the API ended with {code}: {self._log('api')}")
        return json.loads((self._folder / "api.out").read_text().splitlines()[-1])

    def left(self) -> collections.Counter:
        """What is left in Redis: keys without what differs from run to run, with their types and sizes."""
        left = collections.Counter()
        for key in self.redis.scan_iter(count=1000):
            if re.fullmatch(self._library.passing.encode(), key):
                continue
            kind = self.redis.type(key).decode()
            name = re.sub(rb"[0-9a-f]{8,}(-[0-9a-f]{4,})*|\d+", b"#", key).decode(errors="replace")
            # What a worker writes of itself has its host and the time in it.
            has_size = kind in SIZES and not re.fullmatch(self._library.unsized.encode(), key)
            size = getattr(self.redis, SIZES[kind])(key) if has_size else 0
            left[f"{kind} {name} {size}"] += 1
        return left

    def _side(self, *side: str) -> list:
        language = self._library.language
        launcher = HERE / "libraries" / language / "language.sh"
        return [str(launcher), "run", str(Path(self._programs.languages) / language), self._library.program, *side]

    def _waits(self) -> bool:
        clients = self.redis.client_list()
        if self._library.ready == "blocked":
            return any("b" in client["flags"] for client in clients)
        return any(client["cmd"] == self._library.ready for client in clients)

    def _start(self, name: str, command: list, variables: dict) -> None:
        with open(self._folder / f"{name}.out", "wb") as out, open(self._folder / f"{name}.log", "wb") as log:
            self._running[name] = subprocess.Popen(command, env=os.environ | variables, stdout=out, stderr=log, stdin=subprocess.DEVNULL)

    def _log(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text(errors="replace")[-2000:]

    def _check_alive(self, name: str) -> None:
        if (code := self._running[name].poll()) is not None:
            raise Failure(f"{name} has ended with {code}: {self._log(name)}")

    def _stop(self, name: str, patience: float, is_patient: bool = False) -> None:
        process = self._running.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            if not is_patient:
                raise Failure(f"{name} did not end: {self._log(name)}") from None
