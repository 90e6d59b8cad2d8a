"""An ordinary service with redis-py, told what to do by the end-to-end tests.

usage: client.py URL PROTOCOL FOLDER

Reads one command a line from standard input and answers each with one line. Payloads are files: their paths stand in
the commands, and every message received becomes a file in FOLDER and a line `message CHANNEL PATTERN PATH`.
"""

import itertools
import pathlib
import sys
import threading

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

url, protocol, folder = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
# A client made from a URL connects again only if told to.
service = redis.Redis.from_url(url, protocol=protocol, retry=Retry(NoBackoff(), 3))
pubsub = service.pubsub()
one_line = threading.Lock()
A_LONG_TIME = 3600  # seconds; redis-py fails on None while there is no subscription


def say(*words):
    with one_line:
        print(*words, flush=True)


def listen():
    try:
        receive()
    except Exception as error:
        say("failed", error)


def receive():
    for number in itertools.count():
        message = pubsub.get_message(timeout=A_LONG_TIME)
        if message is None:
            continue
        if not message["type"].endswith("message"):
            say("confirmed", message["type"], message["channel"].decode())
            continue
        path = folder / str(number)
        path.write_bytes(message["data"])
        pattern = message["pattern"].decode() if message["pattern"] else "-"
        say("message", message["channel"].decode(), pattern, path)


def payload(path):
    return pathlib.Path(path).read_bytes()


def publish(channel, path):
    say("receivers", service.publish(channel, payload(path)))


def spublish(channel, path):
    say("receivers", service.execute_command("SPUBLISH", channel, payload(path)))


def pipeline(channel, count):
    with service.pipeline(transaction=False) as batch:
        for number in range(int(count)):
            batch.publish(channel, str(number))
        say("receivers", *batch.execute())


def transaction(channel, *paths):
    with service.pipeline(transaction=True) as batch:
        for path in paths:
            batch.publish(channel, payload(path))
        say("receivers", *batch.execute())


COMMANDS = {
    "publish": publish,
    "spublish": spublish,
    "pipeline": pipeline,
    "transaction": transaction,
    # Confirmed by the listening thread.
    "subscribe": pubsub.subscribe,
    "psubscribe": pubsub.psubscribe,
    "ssubscribe": pubsub.ssubscribe,
    "unsubscribe": pubsub.unsubscribe,
}

threading.Thread(target=listen, daemon=True).start()
for line in sys.stdin:
    name, *arguments = line.split()
    COMMANDS[name](*arguments)
