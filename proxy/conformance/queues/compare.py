"""Libraries for jobs with plain programs: directly, behind proxies, and with a proxy on one side only. README.md says what is looked at."""

import argparse
import collections
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import redis
from patience import PATIENCE, Failure, wait_for_port, wait_until

JOBS = 100
WORKERS_PATIENCE = 5.0
"""Seconds that a worker has to end by itself."""
HERE = Path(__file__).parent
SIDES = ("api", "worker")
WAYS = {"direct": (), "proxied": SIDES, "only the API's proxy": ("api",), "only the worker's proxy": ("worker",)}


class Library(NamedTuple):
    name: str
    module: str
    variables: dict
    is_named: bool = True
    """Whether what names a job is seen at both ends."""


LIBRARIES = (
    Library("Celery", "celery", {}),
    Library("Huey", "huey", {}),
    Library("taskiq, list", "taskiq", {"TASKIQ_BROKER": "list"}),
    Library("taskiq, stream", "taskiq", {"TASKIQ_BROKER": "stream"}),
    Library("RQ", "rq", {}, is_named=False),
)


class Outcome(NamedTuple):
    results: list
    left: collections.Counter
    """What is left in Redis: keys without what differs from run to run, with their types and sizes."""
    spans: dict


class Stage:
    """The processes of one library in one way."""

    def __init__(self, programs, folder: Path, port: int) -> None:
        self._programs, self._folder, self._port = programs, folder, port
        self._running: dict[str, subprocess.Popen] = {}
        folder.mkdir(parents=True)

    def run(self, library: Library, proxied: tuple) -> Outcome:
        try:
            return self._run(library, proxied)
        finally:
            for process in self._running.values():
                process.kill()
                process.wait()

    def _run(self, library: Library, proxied: tuple) -> Outcome:
        server = [self._programs.redis_server, "--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        self._start("redis", server, {})
        wait_for_port("redis", "127.0.0.1", self._port, self._check_alive)
        urls = {side: f"redis://127.0.0.1:{self._port}/0" for side in SIDES}
        for number, side in enumerate(proxied, 1):
            urls[side] = self._proxy(side, self._port + number)
        direct = redis.Redis(port=self._port)
        program = [sys.executable, str(HERE / "libraries/program.py"), library.module]
        self._start("service", [*program, "work"], library.variables | {"REDIS_URL": urls["worker"]})
        wait_until("the worker waits for jobs", lambda: self._check_alive("service") or waits(direct))
        sending = subprocess.run(
            [*program, "send", str(JOBS)],
            env=os.environ | library.variables | {"REDIS_URL": urls["api"]},
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
            cwd=HERE / "libraries",
        )
        if sending.returncode != 0:
            raise Failure(f"the API ended with {sending.returncode}: {sending.stderr[-2000:]}")
        self._stop("service")
        left = left_in(direct)
        direct.close()
        for side in proxied:
            self._stop(f"proxy-{side}")
        spans = {side: spans_of(self._folder / f"proxy-{side}.out") for side in proxied}
        self._stop("redis")
        return Outcome(json.loads(sending.stdout.splitlines()[-1]), left, spans)

    def _proxy(self, side: str, port: int) -> str:
        command = [self._programs.proxy, "--listen", f"127.0.0.1:{port}", "--upstream", f"redis://127.0.0.1:{self._port}"]
        own = {"OTEL_SERVICE_NAME": side, "OTEL_TRACES_EXPORTER": "console"}
        self._start(f"proxy-{side}", [*command, "--console-format", "json"], own)
        wait_for_port(f"proxy-{side}", "127.0.0.1", port, self._check_alive)
        return f"redis://127.0.0.1:{port}/0"

    def _start(self, name: str, command: list, variables: dict) -> None:
        with open(self._folder / f"{name}.out", "wb") as out, open(self._folder / f"{name}.log", "wb") as log:
            self._running[name] = subprocess.Popen(
                command, env=os.environ | variables, stdout=out, stderr=log, stdin=subprocess.DEVNULL, cwd=HERE / "libraries"
            )

    def _check_alive(self, name: str) -> None:
        if (code := self._running[name].poll()) is not None:
            raise Failure(f"{name} has ended with {code}: {(self._folder / f'{name}.log').read_text()[-2000:]}")

    def _stop(self, name: str) -> None:
        process = self._running.pop(name)
        process.send_signal(signal.SIGTERM)
        # A worker that has done its jobs may wait for further ones for longer than anybody does.
        patience = WORKERS_PATIENCE if name == "service" else PATIENCE
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            if name != "service":
                raise Failure(f"{name} did not end") from None


def waits(direct: redis.Redis) -> bool:
    """Whether somebody waits for items."""
    return any("b" in client["flags"] for client in direct.client_list())


SIZES = {"list": "llen", "zset": "zcard", "set": "scard", "hash": "hlen", "stream": "xlen", "string": "strlen"}


def left_in(direct: redis.Redis) -> collections.Counter:
    """Of the jobs. What a worker writes of itself has its host and the time in it."""
    left = collections.Counter()
    for key in direct.scan_iter(count=1000):
        kind = direct.type(key).decode()
        name = re.sub(rb"[0-9a-f]{8,}(-[0-9a-f]{4,})*|\d+", b"#", key).decode(errors="replace")
        size = getattr(direct, SIZES[kind])(key) if kind in ("list", "stream", "zset") else 0
        left[f"{kind} {name} {size}"] += 1
    return left


def spans_of(file: Path) -> list:
    return [json.loads(line) for line in file.read_text().splitlines()]


def judge(library: Library, outcomes: dict) -> str:
    """Compares what came out, and returns a row of the table."""
    expected = outcomes["direct"]
    for way, outcome in outcomes.items():
        if outcome.results != list(range(1, JOBS + 1)):
            raise Failure(f"{library.name}, {way}: the results are {outcome.results}")
        if outcome.left != expected.left:
            difference = (outcome.left - expected.left, expected.left - outcome.left)
            raise Failure(f"{library.name}, {way}: in Redis is left {difference[0]}, and directly {difference[1]}")
    spans = outcomes["proxied"].spans
    added = [span for span in spans["api"] if span["name"].startswith("send")]
    taken = [span for span in spans["worker"] if span["kind"] == "CONSUMER" and "bytes" in span and span["name"].startswith("process")]
    by_trace = collections.defaultdict(list)
    for span in added:
        by_trace[span["trace"]].append(span)
    joined = [(by_trace[span["trace"]], span) for span in taken if span["trace"] in by_trace]
    wrong = [pair for pair in joined if len(pair[0]) != 1 or pair[0][0]["bytes"] != pair[1]["bytes"]]
    row = f"{library.name:<16} {JOBS} jobs, {len(added)} added, {len(taken)} taken, {len(joined)} joined, {len(wrong)} wrong"
    # Some workers also take what they tell each other.
    if wrong or len(joined) != (JOBS if library.is_named else 0) or len(added) != JOBS or len(taken) < JOBS:
        raise Failure(f"{row}: {wrong[:2]}")
    return row


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("results", "redis-server", "proxy"):
        parser.add_argument(f"--{name}", required=True)
    programs = parser.parse_args()
    port = 7000
    for library in LIBRARIES:
        outcomes = {}
        for way, proxied in WAYS.items():
            folder = Path(programs.results) / re.sub(r"\W+", "-", f"{library.name} {way}")
            outcomes[way] = Stage(programs, folder, port).run(library, proxied)
            port += 10
        print(judge(library, outcomes), flush=True)


try:
    main()
except Failure as failure:
    sys.exit(f"compare.py: {failure}")
