"""Libraries for jobs with plain programs: directly, behind proxies, and with a proxy on one side only. README.md says more.

  compare.py languages [PROGRAM...]      the languages that these libraries need, or all of libraries.py
  compare.py run [PROGRAM...] --results FOLDER --languages FOLDER --redis-server PROGRAM --proxy PROGRAM
"""

import argparse
import collections
import re
import sys
from pathlib import Path
from typing import NamedTuple

import cases
from ends import ends_of
from libraries import JOBS, Library, selected
from patience import Failure
from stage import Stage

SIDES = ("api", "worker")
WAYS = {"direct": (), "proxied": SIDES, "only the API's proxy": ("api",), "only the worker's proxy": ("worker",)}


class Outcome(NamedTuple):
    results: list
    left: collections.Counter
    spans: dict


def run(programs, folder: Path, library: Library, proxied: tuple) -> Outcome:
    with Stage(programs, folder, library) as stage:
        options = library.options + ((), library.options_of_one, library.options_of_both)[len(proxied)]
        urls = {side: stage.start_proxy(side, options) if side in proxied else stage.url(side) for side in SIDES}
        stage.start_worker(urls["worker"])
        stage.start_api(urls["api"], JOBS)
        results = stage.results()
        stage.stop_worker()
        left = stage.left()
        for side in proxied:
            stage.stop_proxy(side)
        return Outcome(results, left, stage.spans)


def judge(library: Library, outcomes: dict) -> str:
    """Compares what came out, and returns a row of the table."""
    expected = outcomes["direct"]
    for way, outcome in outcomes.items():
        if outcome.results != list(range(1, JOBS + 1)):
            raise Failure(f"{way}: the results are {outcome.results}")
        if outcome.left != expected.left:
            difference = (outcome.left - expected.left, expected.left - outcome.left)
            raise Failure(f"{way}: in Redis is left {difference[0]}, and directly {difference[1]}")
    ends = ends_of(*(outcomes["proxied"].spans[side] for side in SIDES), library.takes_ids)
    counts = f"{len(ends.sent)} added, {len(ends.taken)} taken, {len(ends.joined)} joined, {len(ends.wrong)} wrong"
    row = f"{JOBS} jobs, {counts}"
    if ends.wrong or (len(ends.sent), len(ends.joined)) != (library.sent, library.joined) or len(ends.taken) < library.joined:
        raise Failure(f"{row}, where {library.sent} added and {library.joined} joined were expected: {ends.wrong[:2]}")
    return f"{row} ({library.why})" if library.why else row


def compared(programs, name: str, library: Library) -> str:
    outcomes = {}
    for way, proxied in WAYS.items():
        outcomes[way] = run(programs, folder_of(programs, f"{name} {way}"), library, proxied)
    return judge(library, outcomes)


def played(programs, name: str, case: cases.Case) -> str:
    with Stage(programs, folder_of(programs, name), case.library) as stage:
        return cases.result_of(case, stage)


def folder_of(programs, name: str) -> Path:
    return Path(programs.results) / re.sub(r"\W+", "-", name)


def arguments():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("languages", "run"):
        commands.add_parser(name).add_argument("programs", nargs="*")
    for name in ("results", "languages", "redis-server", "proxy"):
        commands.choices["run"].add_argument(f"--{name}", required=True)
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    libraries = selected(asked.programs)
    if asked.command == "languages":
        print(*sorted({library.language for library in libraries}))
        return
    runs = [(library.name, compared, library) for library in libraries]
    runs += [(f"{case.name}, {case.library.name}", played, case) for case in cases.of_libraries(libraries)]
    failed = 0
    for name, play, what in runs:
        try:
            print(f"{name:<50} {play(asked, name, what)}", flush=True)
        except Failure as failure:
            failed += 1
            print(f"FAILED {name}: {failure}", flush=True)
    if failed:
        sys.exit(f"compare.py: {failed} of {len(runs)} failed")


if __name__ == "__main__":
    main()
