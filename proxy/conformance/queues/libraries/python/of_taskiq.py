"""taskiq, with a list, a stream and a consumer group, or Pub/Sub, as TASKIQ_BROKER says."""

import asyncio
import os
import sys

import jobs
from taskiq_redis import ListQueueBroker, PubSubBroker, RedisAsyncResultBackend, RedisStreamBroker

URL = os.environ["REDIS_URL"]
Broker = {"list": ListQueueBroker, "stream": RedisStreamBroker, "pubsub": PubSubBroker}[os.environ["TASKIQ_BROKER"]]
broker = Broker(url=URL).with_result_backend(RedisAsyncResultBackend(redis_url=URL))


@broker.task
async def length(text: str) -> int:
    return await asyncio.to_thread(jobs.length, text)


async def sent(texts):
    await broker.startup()
    tasks = [await length.kiq(text) for text in texts]
    results = [(await task.wait_result(timeout=60)).return_value for task in tasks]
    await broker.shutdown()
    return results


def send(texts):
    return asyncio.run(sent(texts))


WORKER = [sys.executable, "-m", "taskiq", "worker", "of_taskiq:broker", "-w", "1"]
