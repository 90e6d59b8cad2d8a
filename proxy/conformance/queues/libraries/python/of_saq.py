"""SAQ, whose jobs are added by a script, and whose list holds ids of jobs."""

import asyncio
import os
import sys

import jobs
from saq import Queue

queue = Queue.from_url(os.environ["REDIS_URL"])


async def length(context, *, text: str) -> int:
    return await asyncio.to_thread(jobs.length, text)


settings = {"queue": queue, "functions": [length], "concurrency": 2}


async def sent(texts):
    await queue.connect()
    keys = [(await queue.enqueue("length", text=text, timeout=0)).key for text in texts]
    # SAQ's own wait for one job misses one that ends before it listens, so the jobs are looked at, as `Queue.map` does.
    async with asyncio.timeout(60):
        found = await queue.jobs(keys)
        while not all(job.completed for job in found):
            await asyncio.sleep(0.05)  # between two looks
            found = await queue.jobs(keys)
    await queue.disconnect()
    return [job.result for job in found]


def send(texts):
    return asyncio.run(sent(texts))


WORKER = [sys.executable, "-m", "saq", "of_saq.settings"]
