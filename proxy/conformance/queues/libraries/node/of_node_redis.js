"use strict";
// A consumer group of a stream with node-redis, in the version of RESP that PROTOCOL says.

const { from, URL_OF_REDIS } = require("./modules.js");
const { createClient } = from("redis");

async function connected() {
  const client = createClient({ url: URL_OF_REDIS, RESP: Number(process.env.PROTOCOL) });
  client.on("error", (error) => console.error(error));
  return client.connect();
}

async function send(texts) {
  const redis = await connected();
  await Promise.all(texts.map((text) => redis.xAdd("jobs", "*", { text })));
  const results = [];
  for (const { length } of texts) results.push(Number((await redis.blPop(`result:${length}`, 60)).element));
  return results;
}

async function work() {
  const [reading, redis] = [await connected(), await connected()];
  await redis.xGroupCreate("jobs", "workers", "$", { MKSTREAM: true });
  for (;;) {
    const [{ messages }] = await reading.xReadGroup("workers", "one", { key: "jobs", id: ">" }, { COUNT: 10, BLOCK: 0 });
    for (const { id, message } of messages) {
      await redis.xAck("jobs", "workers", id);
      await redis.rPush(`result:${message.text.length}`, String(message.text.length));
    }
  }
}

module.exports = { send, work };
