"""Celery."""

import os
import sys

from celery import Celery

app = Celery("jobs", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])


@app.task
def length(text):
    return len(text)


def send(texts):
    return [result.get(timeout=60) for result in [length.delay(text) for text in texts]]


WORKER = [sys.executable, "-m", "celery", "-A", "of_celery", "worker", "-c", "2", "-P", "threads"]
