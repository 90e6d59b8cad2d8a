"""A stream and a consumer group by hand, with redis-py. PROTOCOL is 2 or 3.

The first consumer does not work on a job in GROUP_LEAVES (lengths, separated by commas). Another one takes it over by `XAUTOCLAIM`.
"""

import os
import sys

import jobs
from redis import Redis, ResponseError

STREAM, GROUP = "jobs", "workers"
PROTOCOL = int(os.environ["PROTOCOL"])
LEAVES = {int(number) for number in os.environ.get("GROUP_LEAVES", "").split(",") if number}
BATCH = 10


def client() -> Redis:
    return Redis.from_url(os.environ["REDIS_URL"], protocol=PROTOCOL, socket_timeout=jobs.CLIENTS_PATIENCE)


def send(texts):
    with client() as redis:
        # A pipeline would wait for all texts.
        ids = [redis.xadd(STREAM, {"text": text}) for text in texts]
        return [int(redis.blpop([f"result:{entry.decode()}"], timeout=60)[1]) for entry in ids]


class Worker:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def run(self) -> None:
        try:
            self._redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        while True:
            self._take_over()
            answer = self._redis.xreadgroup(GROUP, "first", {STREAM: ">"}, count=BATCH, block=1000)
            for entry, fields in entries(answer):
                if len(fields[b"text"]) not in LEAVES:
                    self._work(entry, fields)

    def _take_over(self) -> None:
        start = None
        while start != b"0-0":
            start, claimed, *_ = self._redis.xautoclaim(STREAM, GROUP, "second", min_idle_time=0, start_id=start or b"0-0")
            for entry, fields in claimed:
                self._work(entry, fields)

    def _work(self, entry: bytes, fields: dict) -> None:
        result = jobs.length(fields[b"text"].decode())
        # Both or none, so that a job that was killed in between is not answered twice.
        with self._redis.pipeline() as pipeline:
            pipeline.rpush(f"result:{entry.decode()}", result).xack(STREAM, GROUP, entry).execute()


def entries(answer):
    """Those of one stream. In RESP3, redis-py may put them into a list of their own."""
    found = [entry for _, of_stream in (answer.items() if isinstance(answer, dict) else answer or []) for entry in of_stream]
    flat = found[0] if found and isinstance(found[0], list) else found
    return [(entry, fields) for entry, fields, *_ in flat]


WORKER = [sys.executable, __file__]

if __name__ == "__main__":
    with client() as redis:
        Worker(redis).run()
