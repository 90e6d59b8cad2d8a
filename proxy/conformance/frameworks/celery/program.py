"""Celery with Redis as broker and result backend: two workers, a client, and a monitor of events.

    python program.py VARIANT     json or pickle

Tasks themselves travel in lists. By Pub/Sub travel: results (PUBLISH beside SET in one transaction, on a channel of the
task's own), events of workers and tasks, and remote control to all workers (`inspect`, `broadcast`), whose answers are
lists again."""

import os
import signal
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))

from ledger import expect, got, payloads, redis_of, settle, until  # noqa: E402

WORKERS = ("celery-worker-a", "celery-worker-b")
VARIANT = sys.argv[1]


def address(service: str) -> str:
    host, port = redis_of(service)
    return f"{host}:{port}"


os.environ.update(SHOP_REDIS=address("celery-client"), SHOP_SERIALIZER=VARIANT)
import tasks  # noqa: E402
from celery import chord, group  # noqa: E402
from celery.events import EventReceiver  # noqa: E402


def start_worker(service: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "celery", "--app", "tasks", "worker", "--hostname", f"{service}@shop"]
    command += ["--concurrency", "2", "--loglevel", "WARNING"]
    environment = os.environ | {"SHOP_REDIS": address(service)}
    return subprocess.Popen(command, cwd=HERE, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr)


class Events(threading.Thread):
    """What `celery events` does: receives every event, on connections of its own."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.app = tasks.application(address("celery-events"), VARIANT)
        self.workers: set[str] = set()

    def run(self) -> None:
        with self.app.connection_for_read() as connection:
            EventReceiver(connection, handlers={"*": self.receive}, app=self.app).capture(limit=None, timeout=None)

    def receive(self, event: dict) -> None:
        if event["type"].startswith("task-"):
            # Events of one task come from the client and from a worker: their order is not promised.
            got("celery-events", f"{event['uuid']} {event['type']}", event["uuid"])
        else:
            self.workers.add(event["hostname"])


def send(signature, task_id: str, end: str = "task-succeeded"):
    """A task with an id that says what it is, and the events that it must lead to."""
    for kind in ("task-sent", "task-received", "task-started", end):
        expect("celery-events", f"{task_id} {kind}", task_id)
    return signature.set(task_id=task_id)


def results() -> None:
    """Every payload there and back, all at the same time."""
    sent = [send(tasks.echo.s(payload), f"echo-{number}").apply_async() for number, payload in enumerate(payloads())]
    for payload, result in zip(payloads(), sent):
        expect("celery-client", "results", payload)
        got("celery-client", "results", result.get(timeout=60))
    failed = send(tasks.refuse.s("as asked: ż"), "refuse", "task-failed").apply_async()
    expect("celery-client", "failures", "ValueError: as asked: ż")
    got("celery-client", "failures", f"{type(failed.get(timeout=60, propagate=False)).__name__}: {failed.result}")


def groups() -> None:
    """A group, and a chord: a task that gets the results of a group."""
    header = [send(tasks.echo.s(payload), f"member-{number}") for number, payload in enumerate(small())]
    expect("celery-client", "group", small())
    got("celery-client", "group", group(header).apply_async().get(timeout=60))
    header = [send(tasks.echo.s(payload), f"header-{number}") for number, payload in enumerate(small())]
    expect("celery-client", "chord", small())
    got("celery-client", "chord", chord(header)(send(tasks.join.s(), "body")).get(timeout=60))


def remote_control() -> None:
    """Questions to all workers: each is published once, and each worker answers."""
    everybody = {"timeout": 60, "limit": len(WORKERS)}
    expect("celery-client", "ping", sorted(f"{service}@shop pong" for service in WORKERS))
    replies = tasks.app.control.inspect(**everybody).ping()
    got("celery-client", "ping", sorted(f"{name} {reply['ok']}" for name, reply in replies.items()))
    for text in (payload for payload in small() if isinstance(payload, str)):
        replies = tasks.app.control.broadcast("repeat", arguments={"value": text}, reply=True, **everybody)
        expect("celery-client", "remote control", {f"{service}@shop": text for service in WORKERS})
        got("celery-client", "remote control", {name: value for reply in replies for name, value in reply.items()})


def small() -> list:
    return [payload for payload in payloads() if len(payload) < 10_000]


def main() -> None:
    events = Events()
    events.start()
    workers = [start_worker(service) for service in WORKERS]
    until("both workers report", lambda: events.workers == {f"{service}@shop" for service in WORKERS})
    results()
    groups()
    remote_control()
    settle()
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
        worker.wait()


main()
