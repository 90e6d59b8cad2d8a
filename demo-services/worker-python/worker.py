"""A worker of the report service in Python: makes the part `archive`, a gzip file of the order.

It does what the Rust workers do: it hears of reports on the channel `reports`, stores its part and announces it on
`reports.done`. Environment: REDIS_URL (default redis://127.0.0.1:6379) and KIND (default archive).
"""

import base64
import gzip
import json
import os
import re
import signal
import sys
import time

import redis

KIND = os.environ.get("KIND", "archive")
EXPIRY_SECONDS = 3600


def log(text):
    print(f"worker {KIND}: {text}", file=sys.stderr, flush=True)


def work(connection, payload):
    job = json.loads(payload)
    report, title = job["id"], job["title"]
    if not re.fullmatch("[0-9a-f]{32}", report):
        raise ValueError("the id is not 32 hex digits")
    # Where a real archive would be compressed, which takes much longer for some reports than for others.
    time.sleep(0.045 * (0.3, 0.5, 0.9, 1.6, 2.8)[int(report[:8], 16) % 5])
    content = base64.b64encode(gzip.compress(title.encode())).decode()
    part = json.dumps({"content_type": "application/gzip", "content": content})
    with connection.pipeline(transaction=False) as pipe:
        pipe.set(f"report:{report}:{KIND}", part, ex=EXPIRY_SECONDS)
        pipe.hincrby(f"report-parts:{report}", KIND, 1).expire(f"report-parts:{report}", EXPIRY_SECONDS)
        pipe.execute()
    connection.publish("reports.done", json.dumps({"id": report, "kind": KIND}))
    log(f"report {report}: {len(part)} bytes")


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    connection = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"))
    while True:
        try:
            with connection.pubsub(ignore_subscribe_messages=True) as jobs:
                jobs.subscribe("reports")
                for message in jobs.listen():
                    try:
                        work(connection, message["data"])
                    except (ValueError, TypeError, KeyError) as error:
                        log(f"skipped a message: {error!r}")
        except redis.RedisError as error:
            log(f"{error}; trying again")
            time.sleep(0.5)


main()
