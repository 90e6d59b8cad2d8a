"""Huey."""

import os
import sys

from huey import RedisHuey

huey = RedisHuey("jobs", url=os.environ["REDIS_URL"])


@huey.task()
def length(text):
    return len(text)


def send(texts):
    return [result.get(blocking=True, timeout=60) for result in [length(text) for text in texts]]


WORKER = [sys.executable, "-m", "huey.bin.huey_consumer", "of_huey.huey", "-w", "2"]
