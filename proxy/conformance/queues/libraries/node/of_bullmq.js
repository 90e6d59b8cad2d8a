"use strict";
// BullMQ in the version that BULLMQ says, which adds jobs and hands them over by scripts.

const { from, ADDRESS } = require("./modules.js");
const { Queue, QueueEvents, Worker } = from(process.env.BULLMQ);

const connection = { ...ADDRESS, maxRetriesPerRequest: null };

async function send(texts) {
  const queue = new Queue("jobs", { connection });
  // Otherwise it misses what happens before its first XREAD.
  const events = new QueueEvents("jobs", { connection, lastEventId: "0-0" });
  await events.waitUntilReady();
  const jobs = await Promise.all(texts.map((text) => queue.add("length", { text })));
  return Promise.all(jobs.map((job) => job.waitUntilFinished(events, 60_000)));
}

function work() {
  new Worker("jobs", async (job) => job.data.text.length, { connection });
}

module.exports = { send, work };
