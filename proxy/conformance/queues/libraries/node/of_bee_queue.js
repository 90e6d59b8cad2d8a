"use strict";
// Bee-Queue, which adds jobs by a script, and tells results by Pub/Sub.

const { from, URL_OF_REDIS } = require("./modules.js");
const Queue = from("bee-queue");

async function send(texts) {
  const queue = new Queue("jobs", { redis: URL_OF_REDIS, isWorker: false });
  await queue.ready();
  // A job's own event is missed if it comes before the reply that adds the job, on another connection. The queue misses none.
  const results = new Map();
  const all = new Promise((resolve, reject) => {
    queue.on("job succeeded", (id, result) => results.set(id, result).size === texts.length && resolve());
    queue.on("job failed", (id, error) => reject(error));
  });
  const jobs = await Promise.all(texts.map((text) => queue.createJob({ text }).save()));
  await all;
  return jobs.map(({ id }) => results.get(id));
}

function work() {
  new Queue("jobs", { redis: URL_OF_REDIS, sendEvents: true }).process(async (job) => job.data.text.length);
}

module.exports = { send, work };
