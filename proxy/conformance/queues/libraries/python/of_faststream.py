"""FastStream with a list, a stream and a consumer group, or Pub/Sub, as FASTSTREAM_WAY says. Answers come on channels."""

import asyncio
import itertools
import json
import os
import sys

import jobs
from faststream import FastStream
from faststream.redis import PubSub, RedisBroker
from faststream.redis.schemas import ListSub, StreamSub

AT_ONCE = 10
"""Jobs."""
WAY = os.environ["FASTSTREAM_WAY"]
SOURCE = {
    "list": {"list": ListSub("jobs")},
    "stream": {"stream": StreamSub("jobs", group="workers", consumer="worker")},
    "pubsub": {"channel": PubSub("jobs")},
}[WAY]
KIND = next(iter(SOURCE))

broker = RedisBroker(os.environ["REDIS_URL"])
app = FastStream(broker)


@broker.subscriber(**SOURCE)
async def length(text: str) -> int:
    return await asyncio.to_thread(jobs.length, text)


async def sent(texts):
    async with broker:
        results = []
        while some := list(itertools.islice(texts, AT_ONCE)):
            answers = await asyncio.gather(*(broker.request(text, **{KIND: "jobs"}, timeout=60) for text in some))
            results += [json.loads(answer.body) for answer in answers]
        return results


def send(texts):
    return asyncio.run(sent(texts))


WORKER = [sys.executable, __file__]

if __name__ == "__main__":
    asyncio.run(app.run())
