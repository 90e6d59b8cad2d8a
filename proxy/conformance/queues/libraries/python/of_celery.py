"""Celery. CELERY_LATE lets a job be acknowledged when it has been done, and CELERY_COUNTDOWN (seconds) delays the jobs."""

import os
import sys

import jobs
from celery import Celery

VISIBILITY_TIMEOUT = 2
"""Seconds after which jobs that were not acknowledged are restored, with CELERY_LATE."""
COUNTDOWN = float(os.environ.get("CELERY_COUNTDOWN", 0)) or None

app = Celery("jobs", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
if os.environ.get("CELERY_LATE"):
    # By itself, kombu looks for such jobs when it begins, and then every 100 seconds.
    looks = {"unacked_restore_interval": 1, "unacked_restore_throttle": 1}
    app.conf.update(task_acks_late=True, broker_transport_options=looks | {"visibility_timeout": VISIBILITY_TIMEOUT})


@app.task(autoretry_for=(jobs.Interrupted,), default_retry_delay=0)
def length(text):
    return jobs.length(text)


def send(texts):
    return [result.get(timeout=60) for result in [length.apply_async((text,), countdown=COUNTDOWN) for text in texts]]


WORKER = [sys.executable, "-m", "celery", "-A", "of_celery", "worker", "-c", "2", "-P", "threads"]
