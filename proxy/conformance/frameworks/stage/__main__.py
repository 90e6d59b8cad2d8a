"""Plays every framework's story direct and behind proxies, and compares. `run.sh` calls it, inside a network namespace.

    python stage KIT PROXY RESULTS --server NAME=PROGRAM... --framework NAME...

Five runs of each story, each with a fresh server:

- `direct`: no proxy anywhere. What was received must be what was sent.
- `inject`: every service behind its own proxy.
- `auto`: the same in the default mode, where contexts are added only while all receivers are known to be behind proxies.
- `rollout 1`: the first service has no proxy, the others one with `--mode strip`: the first step of the README's way to
  roll out.
- `rollout 2`: every service has a proxy, every other one is still in `strip` mode: half-way through the second step.

In each proxied run what was received must be what was sent and what was received direct, and the spans must be exactly
those that `traces.py` asks for.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path

import payloads
import traces
from collector import Collector
from processes import REDIS_PORT, SIDECAR_PORT, Failure, Monitor, Program, Redis, Sidecar

STAGE_ADDRESS = "127.0.0.1"
RUNS = ("direct", "inject", "auto", "rollout 1", "rollout 2")


def main() -> int:
    parser = argparse.ArgumentParser(prog="stage")
    parser.add_argument("kit", type=Path, help="folder with what `suite.sh fetch` brought, one folder a framework")
    parser.add_argument("proxy", help="the program redistributed")
    parser.add_argument("results", type=Path, help="folder for logs and the table")
    parser.add_argument("--server", action="append", required=True, metavar="NAME=PROGRAM")
    parser.add_argument("--framework", action="append", required=True)
    parser.add_argument("--run", action="append", choices=RUNS, help="only these, and the direct run (default: all)")
    options = parser.parse_args()
    table = Table(options.results)
    for server in options.server:
        for framework in options.framework:
            suite = Suite(framework, options.kit / framework)
            for variant in suite.ask("variants"):
                play_all(suite, variant, server, options, table)
    return table.end()


class Suite:
    def __init__(self, name: str, fetched: Path) -> None:
        self.name = name
        self.script = Path(__file__).parent.parent / name / "suite.sh"
        self.fetched = fetched

    def ask(self, question: str) -> list[str]:
        return subprocess.run([self.script, question], check=True, capture_output=True, text=True).stdout.split()


def play_all(suite: Suite, variant: str, server: str, options: argparse.Namespace, table: "Table") -> None:
    server_name, program = server.split("=", 1)
    services = suite.ask("services")
    direct = None
    for run in RUNS:
        if options.run and run not in ("direct", *options.run):
            continue
        folder = options.results / server_name / f"{suite.name}-{variant}" / run.replace(" ", "-")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        started = time.monotonic()
        figures, problems, count = traces.Figures(), [], 0
        try:
            results, figures = play(suite, variant, program, options.proxy, run, services, folder, problems)
            count = sum(len(result["got"]) for result in results)
            problems += unlike_sent(results)
            if run == "direct":
                direct = results
            elif results != direct:
                problems += unlike_direct(results, direct)
        except Failure as failure:
            problems.append(str(failure))
        (folder / "problems.txt").write_text("".join(f"{problem}\n" for problem in problems))
        table.row(server_name, f"{suite.name} {variant}", run, count, figures, problems, time.monotonic() - started)
        if direct is None:
            break  # There is nothing to compare with.


def modes_of(run: str, services: list[str]) -> dict[str, str]:
    """The services that have a proxy, and its mode."""
    return {
        "direct": {},
        "inject": dict.fromkeys(services, "inject"),
        "auto": dict.fromkeys(services, "auto"),
        "rollout 1": dict.fromkeys(services[1:], "strip"),
        "rollout 2": {service: ("strip", "inject")[index % 2] for index, service in enumerate(services)},
    }[run]


def play(
    suite: Suite,
    variant: str,
    server: str,
    proxy: str,
    run: str,
    services: list[str],
    folder: Path,
    problems: list[str],
) -> tuple[list[dict], traces.Figures]:
    """One run of one story: what the program says it got, and what was seen of spans. What is wrong with the spans and
    the proxies is added to `problems`, also if the run fails."""
    addresses = {service: f"127.0.1.{index}" for index, service in enumerate(services, 1)}
    modes = modes_of(run, services)
    environment: dict[str, str] = {}
    for service, address in addresses.items():
        port = SIDECAR_PORT if service in modes else REDIS_PORT
        environment["REDIS_" + service.upper().replace("-", "_")] = f"{address}:{port}"

    # What is started first ends last, whatever happens in between.
    with ExitStack() as started:
        sent = Path(started.enter_context(tempfile.TemporaryDirectory()))
        payloads.write(sent)
        for address in (STAGE_ADDRESS, *addresses.values()):
            subprocess.run(["ip", "address", "replace", f"{address}/32", "dev", "lo"], check=True)
        collector = started.enter_context(closing(Collector()))
        redis = Redis(server, folder, STAGE_ADDRESS)
        started.callback(redis.stop)
        for service, mode in modes.items():
            sidecar = Sidecar(proxy, service, addresses[service], mode, collector.endpoint, folder)
            started.callback(lambda sidecar=sidecar: problems.extend(sidecar.stop()))
        names = {address: service for service, address in addresses.items()}
        monitor = started.enter_context(closing(Monitor(STAGE_ADDRESS, names)))
        command = [str(suite.script), "run", str(suite.fetched), variant]
        program = Program(command, environment | {"PAYLOADS": str(sent)}, folder)
        started.callback(program.stop)
        results = program.results()
        alive = monitor.alive()
        program.finish()
        wire = monitor.finish()
    found, figures = traces.check(wire.publishes, collector.spans, modes, alive)
    if not wire.publishes:
        problems.append("nothing was published")
    problems += found
    return sorted(results, key=lambda result: (result["receiver"], result["stream"])), figures


def unlike_sent(results: list[dict]) -> list[str]:
    """What did not arrive as it was sent: each payload, their number and their order."""
    problems = []
    if not results:
        problems.append("the program compared nothing")
    for result in results:
        if result["got"] != result["expected"]:
            where = f"{result['receiver']}, {result['stream']}"
            problems.append(f"{where}: not what was sent: {difference(result['expected'], result['got'])}")
    return problems


def unlike_direct(results: list[dict], direct: list[dict]) -> list[str]:
    problems = []
    by_stream = {(result["receiver"], result["stream"]): result["got"] for result in direct}
    for result in results:
        receiver, stream = result["receiver"], result["stream"]
        before = by_stream.pop((receiver, stream), [])
        if before != result["got"]:
            problems.append(f"{receiver}, {stream}: not what it got direct: {difference(before, result['got'])}")
    problems += [f"{receiver}, {stream}: missing" for receiver, stream in by_stream]
    return problems


def difference(wanted: list[str], got: list[str]) -> str:
    """The first one."""
    at = next((at for at, pair in enumerate(zip(wanted, got)) if pair[0] != pair[1]), min(len(wanted), len(got)))
    first = [values[at][:200] if at < len(values) else "nothing" for values in (wanted, got)]
    return f"{len(wanted)} and {len(got)} payloads; number {at}: {first[0]} and {first[1]}"


class Table:
    """Prints a row for each run and keeps them in a file."""

    def __init__(self, folder: Path) -> None:
        self._rows = (folder / "summary.tsv").open("w")
        self._failed = 0
        self._passed = 0
        counts = ("received", "publishes", "by Lua", "PRODUCER", "CONSUMER", "own trace", "traced")
        self._print(("server", "story", "run", *counts, "seconds", "result"))

    def row(
        self,
        server: str,
        story: str,
        run: str,
        received: int,
        figures: traces.Figures,
        problems: list[str],
        seconds: float,
    ) -> None:
        seen = (figures.publishes, figures.in_scripts, figures.producers, figures.consumers, figures.own_traces)
        seen += (f"{figures.traced}/{figures.received}",)
        self._print((server, story, run, received, *seen, f"{seconds:.1f}", "FAILED" if problems else "equal"))
        for problem in problems[:12]:
            print(f"    {problem}", flush=True)
        if len(problems) > 12:
            print(f"    and {len(problems) - 12} more", flush=True)
        if problems:
            self._failed += 1
        else:
            self._passed += 1

    def _print(self, cells: tuple) -> None:
        widths = (10, 34, 10, 8, 9, 6, 8, 8, 9, 9, 7, 6)
        print("  ".join(f"{cell!s:<{width}}" for cell, width in zip(cells, widths)).rstrip(), flush=True)
        self._rows.write("\t".join(map(str, cells)) + "\n")
        self._rows.flush()

    def end(self) -> int:
        self._rows.close()
        print(f"\n{self._passed} passed, {self._failed} failed")
        return 1 if self._failed or not self._passed else 0


if __name__ == "__main__":
    sys.exit(main())
