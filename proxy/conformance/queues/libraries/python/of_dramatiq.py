"""Dramatiq, whose jobs are added and taken by scripts."""

import os
import sys

import dramatiq
import jobs
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

URL = os.environ["REDIS_URL"]
# Nothing is maintained by chance, which would be done in some runs and not in others.
broker = RedisBroker(url=URL, maintenance_chance=0)
broker.add_middleware(Results(backend=RedisBackend(url=f"{URL}?socket_timeout={jobs.CLIENTS_PATIENCE}")))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def length(text):
    return jobs.length(text)


def send(texts):
    return [message.get_result(block=True, timeout=60_000) for message in [length.send(text) for text in texts]]


WORKER = [sys.executable, "-m", "dramatiq", "of_dramatiq", "--processes", "1", "--threads", "2"]
