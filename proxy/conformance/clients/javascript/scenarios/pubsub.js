// Publish and subscribe: channels, patterns and shard channels.
"use strict";

const assert = require("assert");
const { scenario, plain, until } = require("../harness");
const { EVERY_BYTE, PAYLOADS, END } = require("./payloads");
const { over, texts } = require("./messages");

for (const kind of ["subscribe", "psubscribe", "ssubscribe"]) {
  const publish = kind === "ssubscribe" ? "SPUBLISH" : "PUBLISH";

  for (const [name, payload] of Object.entries(PAYLOADS)) {
    scenario(`${kind}, a message: ${name}`, async (stage) => {
      const client = await stage.empty();
      const messages = await stage.listen(kind, "news");
      assert.strictEqual(await client.call(publish, "news", payload), 1);
      await client.call(publish, "news", END);
      await over(messages);
      assert.strictEqual(messages.length, 2);
      assert(messages[0].payload.equals(payload));
      assert.strictEqual(messages[0].channel, "news");
    });
  }

  scenario(`${kind}, 5,000 messages in order`, async (stage) => {
    const client = await stage.empty();
    const messages = await stage.listen(kind, "news");
    const payloads = Array.from({ length: 5_000 }, (_, number) => `message ${number}`);
    const receivers = await client.pipeline([...payloads, END].map((payload) => [publish, "news", payload]));
    await over(messages);
    assert.deepStrictEqual(texts(messages), [...payloads, String(END)]);
    assert(receivers.every((count) => count === 1));
  });

  scenario(`${kind}, 30 subscribers and two publishers`, async (stage) => {
    const publishers = [await stage.empty(), await stage.open()];
    const lists = await Promise.all(Array.from({ length: 30 }, () => stage.listen(kind, "news")));
    await Promise.all(
      publishers.map((client, which) =>
        client.pipeline(Array.from({ length: 200 }, (_, number) => [publish, "news", `${which} ${number}`])),
      ),
    );
    assert.strictEqual(await publishers[0].call(publish, "news", END), 30);
    for (const messages of lists) {
      await over(messages);
      for (const which of [0, 1]) {
        const own = texts(messages).filter((text) => text.startsWith(`${which} `));
        assert.deepStrictEqual(
          own,
          Array.from({ length: 200 }, (_, number) => `${which} ${number}`),
        );
      }
    }
  });

  scenario(`${kind}, subscribing to 1,000 names and leaving them`, async (stage) => {
    const client = await stage.empty();
    const names = Array.from({ length: 1_000 }, (_, number) => `news:${number}`);
    const messages = await stage.listen(kind, ...names);
    for (const name of names.slice(1)) await messages.connection.unsubscribe(kind, name);
    const receivers = await client.pipeline(names.map((name) => [publish, name, name]));
    assert.deepStrictEqual(
      receivers,
      names.map((_, number) => (number === 0 ? 1 : 0)),
    );
    await client.call(publish, names[0], END);
    await over(messages);
    assert.deepStrictEqual(texts(messages), [names[0], String(END)]);
  });
}

scenario("a channel and patterns on one connection: a message each", async (stage) => {
  const client = await stage.empty();
  const messages = await stage.listen("subscribe", "news.tech");
  await messages.connection.subscribe("psubscribe", "news.*", (message) => messages.push(message));
  await messages.connection.subscribe("psubscribe", "n[ae]ws?tech", (message) => messages.push(message));
  assert.strictEqual(await client.call("PUBLISH", "news.tech", EVERY_BYTE), 3);
  await until(() => messages.length === 3);
  assert(messages.every(({ payload }) => payload.equals(EVERY_BYTE)));
  return messages.map(({ pattern, channel }) => [pattern, channel]).sort();
});

scenario("a subscriber to all kinds at once", async (stage) => {
  const client = await stage.empty();
  const messages = await stage.listen("subscribe", "a");
  await messages.connection.subscribe("psubscribe", "b*", (message) => messages.push(message));
  await messages.connection.subscribe("ssubscribe", "c", (message) => messages.push(message));
  await client.pipeline([
    ["PUBLISH", "a", "1"],
    ["PUBLISH", "bb", "2"],
    ["SPUBLISH", "c", "3"],
    ["PUBLISH", "c", "nobody"],
  ]);
  await until(() => messages.length === 3);
  return texts(messages);
});

scenario("messages from a script", async (stage) => {
  const client = await stage.empty();
  const messages = await stage.listen("subscribe", "news");
  const count = await client.call("EVAL", "return redis.call('PUBLISH', KEYS[1], ARGV[1])", 1, "news", EVERY_BYTE);
  assert.strictEqual(count, 1);
  await client.call("PUBLISH", "news", END);
  await over(messages);
  assert.deepStrictEqual(texts(messages), [EVERY_BYTE.toString("latin1"), String(END)]);
});

scenario("messages of the server's own about keys", async (stage) => {
  const client = await stage.empty();
  await client.call("CONFIG", "SET", "notify-keyspace-events", "KEA");
  const messages = await stage.listen("psubscribe", "__key*__:*");
  await client.pipeline([
    ["SET", "key", "value"],
    ["RENAME", "key", "other"],
    ["DEL", "other"],
  ]);
  await until(() => messages.length === 8);
  await client.call("CONFIG", "SET", "notify-keyspace-events", "");
  return messages.map(({ channel, payload }) => [channel, payload]);
});

scenario("what PUBSUB says about subscriptions", async (stage) => {
  const client = await stage.empty();
  const messages = await stage.listen("subscribe", "a", "b");
  await messages.connection.subscribe("psubscribe", "c*", () => {});
  await messages.connection.subscribe("ssubscribe", "d", () => {});
  const channels = plain(await client.call("PUBSUB", "CHANNELS")).sort();
  return [
    channels,
    ...(await client.pipeline([
      ["PUBSUB", "NUMSUB", "a", "e"],
      ["PUBSUB", "NUMPAT"],
      ["PUBSUB", "SHARDCHANNELS"],
    ])),
  ];
});

scenario("commands on a connection that subscribes", async (stage) => {
  const client = await stage.empty();
  const messages = await stage.listen("subscribe", "news");
  if (!stage.traits.commandsWhileSubscribed) return "this client gives a subscriber a connection of its own";
  const own = messages.connection;
  // Replies and messages share the connection; neither may take the other's place.
  const calls = Array.from({ length: 500 }, (_, number) => [
    own.call("ECHO", `echo ${number}`),
    client.call("PUBLISH", "news", String(number)),
  ]);
  const echoes = await Promise.all(calls.map(([echo]) => echo));
  await Promise.all(calls.map(([, published]) => published));
  assert.strictEqual(await own.call("PUBLISH", "news", END), 1);
  await over(messages);
  assert.deepStrictEqual(
    plain(echoes),
    Array.from({ length: 500 }, (_, number) => `echo ${number}`),
  );
  assert.strictEqual(messages.length, 501);
});
