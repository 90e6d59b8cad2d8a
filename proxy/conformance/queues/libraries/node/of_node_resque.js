"use strict";
// node-resque, which keeps its jobs as Resque does. It hands them over by a script, and keeps no results: each job leaves its own
// in a list that is named after its text.

const { from, ADDRESS } = require("./modules.js");
const { Queue, Worker } = from("node-resque");
const { Redis } = from("ioredis");

const connection = { ...ADDRESS, database: 0 };

async function send(texts) {
  const queue = new Queue({ connection });
  queue.on("error", fail);
  await queue.connect();
  for (const text of texts) await queue.enqueue("jobs", "length", [text]);
  const redis = new Redis(ADDRESS);
  const results = [];
  for (const { length } of texts) results.push(Number((await redis.blpop(`result:${length}`, 60))[1]));
  return results;
}

async function work() {
  const redis = new Redis(ADDRESS);
  const perform = (text) => redis.rpush(`result:${text.length}`, text.length);
  // Milliseconds between two looks at an empty queue.
  const worker = new Worker({ connection, queues: ["jobs"], timeout: 100 }, { length: { perform } });
  worker.on("error", fail);
  worker.on("failure", (queue, job, error) => fail(error));
  await worker.connect();
  await worker.start();
  // Otherwise it leaves in Redis what it was doing.
  process.once("SIGTERM", () => worker.end().then(() => process.exit(0), fail));
}

function fail(error) {
  console.error(error);
  process.exit(1);
}

module.exports = { send, work };
