"""The processes of one run: a Redis, proxies, workers, and the program that adds jobs."""

import collections
import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import redis
from patience import PATIENCE, Failure, wait_for_port, wait_until

WORKERS_PATIENCE = 5.0
"""Seconds that a worker has to end by itself. One that has done its jobs may wait for further ones for longer than anybody does."""
HERE = Path(__file__).parent
SIZES = {"list": "llen", "zset": "zcard", "stream": "xlen"}
ADDRESSES = {"kit": "127.0.0.1", "api": "127.0.0.2", "worker": "127.0.0.3"}
"""Where each side has its Redis without a proxy, so that Redis can tell their connections apart."""
TALLY = 1
"""The number of the database in which the programs count what they do."""
# A run has a network namespace to itself, in which every port is free.
PORTS = itertools.count(7000)


class Stage:
    """Starts processes by name, and ends with all of them. Each writes NAME.out and NAME.log into the folder."""

    def __init__(self, programs, folder: Path, library) -> None:
        self._programs, self._folder, self._library = programs, folder, library
        self._running: dict[str, subprocess.Popen] = {}
        self._proxies: dict[str, list] = {}
        self.spans = collections.defaultdict(list)
        """Of the proxies that have ended, for each service."""

    def __enter__(self):
        self._folder.mkdir(parents=True)
        self.port = next(PORTS)
        server = [self._programs.redis_server, "--port", str(self.port), "--bind", *ADDRESSES.values(), "--save", ""]
        self._start("redis", [*server, "--dir", str(self._folder)], {})
        wait_for_port("redis", "127.0.0.1", self.port, self._check_alive)
        self.redis = redis.Redis(port=self.port)
        self.tally = redis.Redis(port=self.port, db=TALLY, socket_timeout=None)
        return self

    def __exit__(self, *_) -> None:
        self.redis.close()
        self.tally.close()
        for process in self._running.values():
            kill_all(process)

    def url(self, side: str) -> str:
        """Of Redis, without a proxy."""
        return f"redis://{ADDRESSES[side]}:{self.port}/0"

    def start_proxy(self, service: str, options: tuple = ()) -> str:
        """Returns where it is."""
        port = next(PORTS)
        address = ["--listen", f"127.0.0.1:{port}", "--upstream", f"redis://127.0.0.1:{self.port}"]
        self._proxies[service] = [self._programs.proxy, *address, "--console-format", "json", "--drain-timeout", "1s", *options]
        self._run_proxy(service, port)
        return f"redis://127.0.0.1:{port}/0"

    def replace_proxy(self, service: str, url: str) -> None:
        """By a new process that listens where the old one did."""
        self.stop_proxy(service)
        self._run_proxy(service, urlsplit(url).port)

    def _run_proxy(self, service: str, port: int) -> None:
        own = {"OTEL_SERVICE_NAME": service, "OTEL_TRACES_EXPORTER": "console"}
        self._start(f"proxy-{service}", self._proxies[service], own)
        wait_for_port(f"proxy-{service}", "127.0.0.1", port, self._check_alive)

    def stop_proxy(self, service: str) -> None:
        self._stop(f"proxy-{service}", PATIENCE)
        self.spans[service] += [json.loads(line) for line in (self._folder / f"proxy-{service}.out").read_text().splitlines()]

    def start_worker(self, url: str) -> None:
        self._start("worker", self._side("work"), self._variables(url))
        wait_until("the worker waits for jobs", lambda: self._check_alive("worker") or self._waits())

    def kill_worker(self) -> None:
        """With what it has started."""
        kill_all(self._running.pop("worker"))

    def wait_at(self, place: str) -> None:
        """Until one of the programs has come to this place of GATES, where it waits for `go_on`."""
        found = self.tally.blpop(["reached"], timeout=PATIENCE)
        if found is None or found[1].decode() != place:
            raise Failure(f"the programs came to {found}, and not to {place}: {self._log('api')} {self._log('worker')}")

    def go_on(self, place: str) -> None:
        self.tally.rpush(f"go {place}", "")

    def cut_connections(self, side: str) -> None:
        """Those of a side without a proxy, but not the ones by which it counts."""
        if not self.redis.client_kill_filter(laddr=f"{ADDRESSES[side]}:{self.port}"):
            raise Failure(f"the {side} had no connection")

    def done(self) -> collections.Counter:
        """How many jobs were done how often."""
        return collections.Counter(int(times) for times in self.tally.hvals("done"))

    def stop_worker(self) -> None:
        self._stop("worker", WORKERS_PATIENCE, is_patient=True)

    def start_api(self, url: str, jobs: int) -> None:
        self._start("api", self._side("send", str(jobs)), self._variables(url))

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

    def _variables(self, url: str) -> dict:
        # The programs count what they do where no proxy and no library sees it.
        return self._library.variables | {"REDIS_URL": url, "TALLY_URL": f"redis://127.0.0.1:{self.port}/{TALLY}"}

    def _side(self, *side: str) -> list:
        language = self._library.language
        launcher = HERE / "libraries" / language / "language.sh"
        return [str(launcher), "run", str(Path(self._programs.languages) / language), self._library.program, *side]

    def _waits(self) -> bool:
        what, _, channel = self._library.ready.partition(" ")
        if channel:
            return self.redis.pubsub_numsub(channel)[0][1] > 0
        clients = self.redis.client_list()
        return any("b" in client["flags"] if what == "blocked" else client["cmd"] == what for client in clients)

    def _start(self, name: str, command: list, variables: dict) -> None:
        with open(self._folder / f"{name}.out", "wb") as out, open(self._folder / f"{name}.log", "ab") as log:
            files = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": log}
            # A group of its own, so that it can be killed with what it has started.
            self._running[name] = subprocess.Popen(command, env=os.environ | variables, start_new_session=True, **files)

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
            kill_all(process)
            if not is_patient:
                raise Failure(f"{name} did not end: {self._log(name)}") from None


def kill_all(process: subprocess.Popen) -> None:
    """The process and those that it has started."""
    # It may have ended and been seen to.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
