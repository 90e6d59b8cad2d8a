"""RQ, whose lists hold nothing but the ids of jobs. RQ_DELAY (seconds) delays the jobs."""

import datetime
import os
import sys

from jobs import CLIENTS_PATIENCE, length
from redis import Redis
from rq import Queue, Retry

DELAY = datetime.timedelta(seconds=float(os.environ.get("RQ_DELAY", 0)))


def send(texts):
    queue = Queue(connection=Redis.from_url(os.environ["REDIS_URL"], socket_timeout=CLIENTS_PATIENCE))
    if DELAY:
        jobs = [queue.enqueue_in(DELAY, length, text) for text in texts]
    else:
        jobs = [queue.enqueue(length, text, retry=Retry(max=1)) for text in texts]
    return [job.latest_result(timeout=60).return_value for job in jobs]


WORKER = [sys.executable, "-m", "rq.cli", "worker", "--url", os.environ["REDIS_URL"]]
if DELAY:
    WORKER.append("--with-scheduler")
