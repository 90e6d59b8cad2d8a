"""Huey. HUEY_DELAY (seconds) delays the jobs."""

import os
import sys

import jobs
from huey import RedisHuey
from huey.exceptions import TaskException

DELAY = float(os.environ.get("HUEY_DELAY", 0))

huey = RedisHuey("jobs", url=os.environ["REDIS_URL"])


@huey.task(retries=1)
def length(text):
    return jobs.length(text)


def added(text):
    return length.schedule((text,), delay=DELAY) if DELAY else length(text)


def result_of(task):
    try:
        return task.get(blocking=True, timeout=60)
    except TaskException:
        # The result of the second try replaces this one.
        task.reset()
        return task.get(blocking=True, timeout=60)


def send(texts):
    return [result_of(task) for task in [added(text) for text in texts]]


WORKER = [sys.executable, "-m", "huey.bin.huey_consumer", "of_huey.huey", "-w", "2"]
