"""RQ, whose lists hold nothing but the ids of jobs."""

import os
import sys

from redis import Redis
from rq import Queue


def length(text):
    return len(text)


def send(texts):
    queue = Queue(connection=Redis.from_url(os.environ["REDIS_URL"]))
    jobs = [queue.enqueue(length, text) for text in texts]
    return [job.latest_result(timeout=60).return_value for job in jobs]


WORKER = [sys.executable, "-m", "rq.cli", "worker", "--url", os.environ["REDIS_URL"]]
