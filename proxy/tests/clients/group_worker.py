"""Two ordinary workers of a consumer group with redis-py, which the end-to-end test of streams runs.

usage: group_worker.py URL PROTOCOL STREAM GROUP

The stream has six entries. The first worker takes them all: it acknowledges the first at once, the second in a transaction on
another connection, the third in a pipeline, and the others never. The second worker claims the fifth by XCLAIM and the sixth by
XAUTOCLAIM, and acknowledges them. For each acknowledgement a line says which entry it was of, and the times right before it was sent
and right after it was answered, in nanoseconds: `ID BEFORE AFTER`.
"""

import sys
import time

import redis

url, protocol, stream, group = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
first, other, second = (redis.Redis.from_url(url, protocol=protocol) for _ in range(3))


def acknowledge(entry, how):
    before = time.time_ns()
    how()
    print(entry.decode(), before, time.time_ns(), flush=True)


def entries(reply):
    """The entries of the only stream, which RESP3 has in a map."""
    [found] = reply.values() if isinstance(reply, dict) else [entries for _, entries in reply]
    # redis-py has one more list around them in RESP3.
    return found[0] if isinstance(reply, dict) else found


def work(fields):
    first.set(b"result:" + fields[b"job"], "done")


got = entries(first.xreadgroup(group, "first", {stream: ">"}, count=10))
ids = [entry for entry, _ in got]
assert len(ids) == 6, got
for _, fields in got:
    work(fields)
acknowledge(ids[0], lambda: first.xack(stream, group, ids[0]))

for entry, is_transaction in ((ids[1], True), (ids[2], False)):
    pipeline = other.pipeline(transaction=is_transaction)
    pipeline.set("last", entry)
    pipeline.xack(stream, group, entry)
    acknowledge(entry, pipeline.execute)

[(claimed, _)] = second.xclaim(stream, group, "second", 0, [ids[4]])
acknowledge(claimed, lambda: second.xack(stream, group, claimed))

_, [(claimed, _)], *_ = second.xautoclaim(stream, group, "second", 0, ids[5], count=1)
acknowledge(claimed, lambda: second.xack(stream, group, claimed))

assert first.xpending(stream, group)["pending"] == 1
