"use strict";
// Bee-Queue, which adds jobs by a script, and tells results by Pub/Sub.

const { from, URL_OF_REDIS } = require("./modules.js");
const Queue = from("bee-queue");

async function send(texts) {
  const queue = new Queue("jobs", { redis: URL_OF_REDIS, isWorker: false });
  await queue.ready();
  return Promise.all(texts.map((text) => finished(queue.createJob({ text }))));
}

function finished(job) {
  return new Promise((resolve, reject) => {
    job.on("succeeded", resolve);
    job.on("failed", reject);
    job.save().catch(reject);
  });
}

function work() {
  new Queue("jobs", { redis: URL_OF_REDIS, sendEvents: true }).process(async (job) => job.data.text.length);
}

module.exports = { send, work };
