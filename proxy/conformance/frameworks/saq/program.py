"""SAQ: a client that waits for the results of jobs, and a worker.

    python program.py json            the story
    python program.py json worker     its worker

Jobs travel in lists and keys. By Pub/Sub travel their states, on a channel of the job's own: the client subscribes to a pattern
that covers all of them."""

import asyncio
import os
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))

from ledger import expect, got, payloads, redis_of, settle  # noqa: E402
from saq import Queue, Worker  # noqa: E402


ROUNDS = 20
"""One is over before the default mode has had time to know anybody."""


def queue_of(service: str) -> Queue:
    host, port = redis_of(service)
    return Queue.from_url(f"redis://{host}:{port}")


async def echo(_context, *, value):
    return value


async def work() -> None:
    # Without sweeps, which look for jobs of workers that have ended, and take a job that has just begun for one.
    never = 1_000_000
    timers = {"schedule": 1, "worker_info": 1, "sweep": never, "abort": 1}
    await Worker(queue_of("saq-worker"), functions=[echo], concurrency=4, timers=timers).start()


def texts() -> list[str]:
    """SAQ's jobs are JSON, which has no bytes."""
    return [payload for payload in payloads() if isinstance(payload, str) and len(payload) < 10_000]


async def apply(queue: Queue, stream: str, value: str) -> None:
    expect("saq-client", stream, value)
    got("saq-client", stream, await queue.apply("echo", value=value, timeout=60, poll_interval=0.01))


async def story() -> None:
    queue = queue_of("saq-client")
    await queue.connect()
    # Who waits for one job subscribes to the states of all. This job does not exist, so the subscription stays.
    listening = asyncio.create_task(queue.listen(["none"], lambda *_: False, timeout=None))
    while not (await queue.info())["workers"]:
        await asyncio.sleep(0.01)
    for value in texts() * ROUNDS:
        await apply(queue, "one after the other", value)
    # Each has a stream of its own, because their order is not promised.
    await asyncio.gather(*(apply(queue, f"together {number}", value) for number, value in enumerate(texts())))
    settle()
    listening.cancel()
    await queue.disconnect()


if __name__ == "__main__":
    if sys.argv[2:] == ["worker"]:
        asyncio.run(work())
    else:
        worker = subprocess.Popen([sys.executable, __file__, sys.argv[1], "worker"], stdout=sys.stderr)
        asyncio.run(story())
        worker.send_signal(signal.SIGTERM)
        worker.wait()
