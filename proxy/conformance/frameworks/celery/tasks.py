"""The application that the workers run. Where its Redis is differs from process to process: each has its own proxy."""

import os

from celery import Celery
from celery.worker.control import inspect_command


def application(redis: str, serializer: str) -> Celery:
    app = Celery("shop", broker=f"redis://{redis}/0", backend=f"redis://{redis}/1")
    app.conf.update(
        task_serializer=serializer,
        result_serializer=serializer,
        accept_content=[serializer, "json"],  # events and remote control are JSON
        result_extended=True,
        worker_send_task_events=True,
        task_send_sent_event=True,
        broker_connection_retry_on_startup=True,
        timezone="UTC",
    )
    return app


app = application(os.environ["SHOP_REDIS"], os.environ["SHOP_SERIALIZER"])


@app.task
def echo(value):
    return value


@app.task
def join(values):
    return values


@app.task
def refuse(value):
    raise ValueError(value)


@inspect_command(args=[("value", str)])
def repeat(_state, value):
    """A remote control command of the application: every worker answers with what it was asked."""
    return value
