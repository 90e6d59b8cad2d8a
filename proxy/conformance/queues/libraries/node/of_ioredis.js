"use strict";
// A consumer group of a stream with ioredis, in the version of RESP that PROTOCOL says.

const { from, ADDRESS } = require("./modules.js");
const { Redis } = from("ioredis");

const options = { ...ADDRESS, protocol: Number(process.env.PROTOCOL) };

async function send(texts) {
  const redis = new Redis(options);
  await Promise.all(texts.map((text) => redis.xadd("jobs", "*", "text", text)));
  const results = [];
  for (const { length } of texts) results.push(Number((await redis.blpop(`result:${length}`, 60))[1]));
  return results;
}

async function work() {
  const [reading, redis] = [new Redis(options), new Redis(options)];
  await redis.xgroup("CREATE", "jobs", "workers", "$", "MKSTREAM");
  for (;;) {
    const answer = await reading.xreadgroup("GROUP", "workers", "one", "COUNT", 10, "BLOCK", 0, "STREAMS", "jobs", ">");
    for (const [id, [, text]] of answer[0][1]) {
      await redis.xack("jobs", "workers", id);
      await redis.rpush(`result:${text.length}`, text.length);
    }
  }
}

module.exports = { send, work };
