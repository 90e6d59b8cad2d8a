"""The job that every library does, and the texts of the jobs. Both count what they do, and stop where the kit wants to interfere.

TALLY_URL leads directly to Redis, to a database that no library uses: its hash `done` counts how often the job of each length was
done. GATES names places, separated by commas: `send-N` is behind the Nth job that is added, `work-N` is in the first execution of
the job of length N, and `fail-N` lets that execution fail. At the first two, the list `reached` gets the place, and the list `go
PLACE` is waited for.
"""

import os

from redis import Redis

GATES = os.environ.get("GATES", "").split(",")
GATE_PATIENCE = 120
"""Seconds."""
CLIENTS_PATIENCE = 90
"""Seconds that a client waits for a reply. By itself, redis-py gives up sooner than a program that waits for a result."""


class Interrupted(Exception):
    """What the kit makes a job fail with."""


def texts(count: int):
    """Each job has another length, by which its two ends can be told from those of others."""
    for number in range(1, count + 1):
        yield "x" * number
        stop_at(f"send-{number}")


def length(text: str) -> int:
    number = len(text)
    with tally() as redis:
        is_first = redis.hincrby("begun", number, 1) == 1
    if is_first:
        stop_at(f"work-{number}")
        if f"fail-{number}" in GATES:
            raise Interrupted(f"fail-{number}")
    with tally() as redis:
        redis.hincrby("done", number, 1)
    return number


def stop_at(place: str) -> None:
    if place in GATES:
        with tally() as redis:
            redis.rpush("reached", place)
            if redis.blpop([f"go {place}"], timeout=GATE_PATIENCE) is None:
                raise TimeoutError(place)


def tally() -> Redis:
    # Without the client's own time-out, which is shorter than the wait at a gate.
    return Redis.from_url(os.environ["TALLY_URL"], socket_timeout=None)
