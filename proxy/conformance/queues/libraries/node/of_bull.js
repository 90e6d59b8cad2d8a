"use strict";
// Bull, which adds jobs and hands them over by scripts.

const { from, URL_OF_REDIS } = require("./modules.js");
const Queue = from("bull");

async function send(texts) {
  const queue = new Queue("jobs", URL_OF_REDIS);
  const jobs = await Promise.all(texts.map((text) => queue.add({ text })));
  return Promise.all(jobs.map((job) => job.finished()));
}

function work() {
  return new Queue("jobs", URL_OF_REDIS).process(async (job) => job.data.text.length);
}

module.exports = { send, work };
