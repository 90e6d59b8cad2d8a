"""Which libraries are compared, and what is expected of each. Nothing else knows them.

A library is a program in `libraries/LANGUAGE`, which `libraries/LANGUAGE/language.sh` fetches and runs as one of its two sides:
`send COUNT` adds that many jobs, each with a text of another length (1, 2, 3 ...), waits for the length that each of them gives
back, and prints these as an array of JSON in its last line; `work` works on jobs until SIGTERM. Redis is at REDIS_URL.
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
    """What a connection of the worker does in Redis once the worker is ready: it is `blocked` in a command that waits, it has
    `subscribed CHANNEL`, or it has sent this command, as `CLIENT LIST` names it."""
    options: tuple = ()
    """Of each proxy."""
    options_of_one: tuple = ()
    """Further ones of the proxy where only one side has one."""
    options_of_both: tuple = ()
    """Further ones of the proxies where both sides have one."""
    passing: str = ""
    """A regular expression for keys that expire within seconds, so that they may or may not be left."""
    unsized: str = ""
    """A regular expression for keys whose size differs from run to run."""
    sent: int = JOBS
    """Spans of the side that adds jobs, with a proxy on both sides."""
    joined: int = JOBS
    """Spans of the side that works which are in the trace of the job's other one."""
    why: str = ""
    """Why not all are."""
    takes_ids: bool = False
    """Whether a worker may take nothing but the job's id, so that the length of the job is not in its span."""


INJECT = ("--mode", "inject")
"""Mode `auto`, the default, would first have to prove that the workers are behind proxies."""


def bullmq(version: int, way: str = "", options: tuple = ()) -> Library:
    # The event `drained` is there once more each time the worker is faster than the program that adds jobs.
    keys = {"passing": "bull:jobs:stalled-check", "unsized": "bull:jobs:events"}
    return Library(f"BullMQ {version}{way}", "node", "bullmq", {"BULLMQ": f"bullmq{version}"}, options=options, **keys)


LIBRARIES = (
    Library("Celery", "python", "celery"),
    Library("Celery, envelopes", "python", "celery", options=("--envelope", "celery")),
    Library("Huey", "python", "huey"),
    Library("taskiq, list", "python", "taskiq", {"TASKIQ_BROKER": "list"}),
    Library("taskiq, list, envelopes", "python", "taskiq", {"TASKIQ_BROKER": "list"}, options=("--envelope", "taskiq")),
    Library("taskiq, stream", "python", "taskiq", {"TASKIQ_BROKER": "stream"}),
    Library("taskiq, Pub/Sub", "python", "taskiq", {"TASKIQ_BROKER": "pubsub"}, "subscribed taskiq", options_of_both=INJECT),
    Library("RQ", "python", "rq"),
    Library("Dramatiq", "python", "dramatiq", ready="evalsha"),
    Library("SAQ", "python", "saq", passing="saq:default:(schedule|sweep)", takes_ids=True),
    Library("FastStream, list", "python", "faststream", {"FASTSTREAM_WAY": "list"}, options=("--queue", "jobs")),
    Library("FastStream, stream", "python", "faststream", {"FASTSTREAM_WAY": "stream"}),
    Library("FastStream, Pub/Sub", "python", "faststream", {"FASTSTREAM_WAY": "pubsub"}, "subscribed jobs", options_of_both=INJECT),
    Library("redis-py, group, RESP2", "python", "group", {"PROTOCOL": "2"}),
    Library("redis-py, group, RESP3", "python", "group", {"PROTOCOL": "3"}),
    bullmq(5),
    bullmq(5, ", envelopes", ("--envelope", "bullmq")),
    bullmq(6),
    bullmq(6, ", envelopes", ("--envelope", "bullmq")),
    Library("Bull", "node", "bull", passing="bull:jobs:stalled-check", takes_ids=True),
    Library(
        "Bee-Queue",
        "node",
        "bee_queue",
        # In mode `auto`, the first event after somebody without a proxy has subscribed may have a context. Bee-Queue ends at that.
        options_of_one=("--mode", "strip"),
        passing="bq:jobs:stallBlock",
        takes_ids=True,
    ),
    Library("node-resque", "node", "node_resque", ready="evalsha", joined=0, why="its jobs have no ids, and are taken by a script"),
    Library("Socket.IO, streams", "node", "socketio", ready="ping"),
    Library("ioredis, group, RESP2", "node", "ioredis", {"PROTOCOL": "2"}),
    Library("ioredis, group, RESP3", "node", "ioredis", {"PROTOCOL": "3"}),
    Library("node-redis, group, RESP2", "node", "node_redis", {"PROTOCOL": "2"}),
    Library("node-redis, group, RESP3", "node", "node_redis", {"PROTOCOL": "3"}),
    Library("Sidekiq", "ruby", "sidekiq"),
    Library("Sidekiq, envelopes", "ruby", "sidekiq", options=("--envelope", "sidekiq")),
    Library("Laravel, phpredis", "php", "laravel", {"LARAVEL_CLIENT": "phpredis"}),
    Library("Laravel, predis", "php", "laravel", {"LARAVEL_CLIENT": "predis"}),
)


def selected(programs: list) -> list:
    """The libraries with these programs, or all if none is named."""
    known = {library.program for library in LIBRARIES}
    if unknown := set(programs) - known:
        raise SystemExit(f"no library has the program {', '.join(sorted(unknown))}; the programs are {', '.join(sorted(known))}")
    return [library for library in LIBRARIES if not programs or library.program in programs]
