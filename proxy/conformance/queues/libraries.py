"""Which libraries are compared, and what is expected of each. Nothing else knows them.

A library is a program in `libraries/LANGUAGE`, which `libraries/LANGUAGE/language.sh` fetches and runs as one of its two sides:
`send COUNT` adds that many jobs, each with a text of another length (1, 2, 3 ...), waits for the length that each of them gives back,
and prints these as an array of JSON in its last line; `work` works on jobs until SIGTERM. Redis is at REDIS_URL.
"""

from typing import NamedTuple

JOBS = 100
"""The jobs of a run."""


class Library(NamedTuple):
    name: str
    """As the table of README.md has it, without the version."""
    language: str
    program: str
    variables: dict = {}
    """The environment's variables by which the program is told what to be."""
    ready: str = "blocked"
    """What a connection of the worker does in Redis once the worker is ready: `blocked` in a command that waits, or the last command, as
    `CLIENT LIST` names it."""
    sent: int = JOBS
    """Spans of the side that adds jobs, with a proxy on both sides."""
    joined: int = JOBS
    """Spans of the side that works which are in the trace of the job's other one."""
    why: str = ""
    """Why not all are."""


LIBRARIES = (
    Library("Celery", "python", "celery"),
    Library("Huey", "python", "huey"),
    Library("taskiq, list", "python", "taskiq", {"TASKIQ_BROKER": "list"}),
    Library("taskiq, stream", "python", "taskiq", {"TASKIQ_BROKER": "stream"}),
    Library("RQ", "python", "rq", joined=0, why="its lists hold nothing but ids of jobs"),
)


def selected(programs: list) -> list:
    """The libraries with these programs, or all if none is named."""
    known = {library.program for library in LIBRARIES}
    if unknown := set(programs) - known:
        raise SystemExit(f"no library has the program {', '.join(sorted(unknown))}; the programs are {', '.join(sorted(known))}")
    return [library for library in LIBRARIES if not programs or library.program in programs]
