// Pipelines and transactions.
"use strict";

const assert = require("assert");
const { scenario, plain } = require("../harness");
const { EVERY_BYTE, END } = require("./payloads");
const { over, texts } = require("./messages");

scenario("10,000 commands in a pipeline, errors among them", async (stage) => {
  const client = await stage.empty();
  await client.call("SET", "text", "a");
  const replies = await client.pipeline(
    Array.from({ length: 10_000 }, (_, number) =>
      number % 100 === 99 ? ["INCR", "text"] : ["INCRBY", "number", number],
    ),
  );
  let sum = 0;
  replies.forEach((reply, number) => {
    if (number % 100 === 99) assert.match(reply.message, /not an integer/);
    else assert.strictEqual(reply, (sum += number));
  });
});

scenario("1,000 single commands at once", async (stage) => {
  const client = await stage.empty();
  const replies = await Promise.all(
    Array.from({ length: 1_000 }, (_, number) => client.call("ECHO", `echo ${number}`)),
  );
  assert.deepStrictEqual(
    plain(replies),
    Array.from({ length: 1_000 }, (_, number) => `echo ${number}`),
  );
});

scenario("a transaction, with an error inside", async (stage) => {
  const client = await stage.empty();
  return client.transaction([
    ["SET", "key", EVERY_BYTE],
    ["INCR", "key"],
    ["GET", "key"],
    ["HGETALL", "absent"],
    ["PING"],
  ]);
});

scenario("a transaction of 5,000 commands", async (stage) => {
  const client = await stage.empty();
  const replies = await client.transaction(Array.from({ length: 5_000 }, () => ["INCR", "number"]));
  assert.deepStrictEqual(
    replies,
    Array.from({ length: 5_000 }, (_, number) => number + 1),
  );
});

scenario("a transaction that publishes between other commands", async (stage) => {
  const client = await stage.empty();
  const messages = await stage.listen("subscribe", "news");
  const replies = await client.transaction([
    ["SET", "key", "value"],
    ["PUBLISH", "news", EVERY_BYTE],
    ["GET", "key"],
    ["PUBLISH", "nobody", "a"],
    ["PUBLISH", "news", END],
  ]);
  await over(messages);
  assert.deepStrictEqual(texts(messages), [EVERY_BYTE.toString("latin1"), String(END)]);
  return replies;
});

scenario("a watched key that changes", async (stage) => {
  const [client, other] = [await stage.empty(), await stage.open()];
  await client.call("WATCH", "key");
  await other.call("SET", "key", "changed");
  assert.strictEqual(
    await client.transaction([
      ["SET", "key", "mine"],
      ["PUBLISH", "news", "a"],
    ]),
    null,
  );
  assert.strictEqual(String(await client.call("GET", "key")), "changed");
});

scenario("a transaction given up, and one refused", async (stage) => {
  const client = await stage.empty();
  const answers = [];
  for (const command of [
    ["MULTI"],
    ["PUBLISH", "news", "a"],
    ["DISCARD"],
    ["EXEC"],
    ["MULTI"],
    ["NOSUCHCOMMAND"],
    ["PUBLISH", "news", "a"],
    ["EXEC"],
    ["PING"],
  ]) {
    answers.push(await client.call(...command).catch((error) => error));
  }
  return answers;
});
