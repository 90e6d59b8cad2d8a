// Commands that wait, and streams.
"use strict";

const assert = require("assert");
const { scenario, plain, until } = require("../harness");
const { EVERY_BYTE } = require("./payloads");

scenario("a blocked pop, woken by a push", async (stage) => {
  const [client, blocked] = [await stage.empty(), await stage.open()];
  const popped = blocked.call("BLPOP", "list", "other", 0);
  await until(async () => /blocked_clients:1/.test(String(await client.call("INFO", "clients"))));
  await client.call("RPUSH", "list", EVERY_BYTE);
  assert.deepStrictEqual(plain(await popped), ["list", EVERY_BYTE.toString("latin1")]);
  assert.strictEqual(plain(await blocked.call("PING")), "PONG");
});

scenario("a blocked pop that gets nothing", async (stage) => (await stage.empty()).call("BLPOP", "list", "0.05"));

scenario("a blocked client, let go by CLIENT UNBLOCK", async (stage) => {
  const [client, ...blocked] = [await stage.empty(), await stage.open(), await stage.open()];
  const ids = await Promise.all(blocked.map((one) => one.call("CLIENT", "ID")));
  const calls = blocked.map((one) => one.call("BLPOP", "list", 0).catch((error) => error));
  await until(async () => /blocked_clients:2/.test(String(await client.call("INFO", "clients"))));
  assert.strictEqual(await client.call("CLIENT", "UNBLOCK", ids[0]), 1);
  assert.strictEqual(await client.call("CLIENT", "UNBLOCK", ids[1], "ERROR"), 1);
  return Promise.all(calls);
});

scenario("a blocked read of a stream", async (stage) => {
  const [client, blocked] = [await stage.empty(), await stage.open()];
  const read = blocked.call("XREAD", "BLOCK", 0, "STREAMS", "stream", "$");
  await until(async () => /blocked_clients:1/.test(String(await client.call("INFO", "clients"))));
  await client.call("XADD", "stream", "5-1", "field", EVERY_BYTE);
  return read;
});

scenario("a consumer group, from delivery to acknowledgement", async (stage) => {
  const client = await stage.empty();
  await client.call("XGROUP", "CREATE", "stream", "group", "0", "MKSTREAM");
  await client.pipeline([1, 2, 3].map((number) => ["XADD", "stream", `${number}-0`, "number", number]));
  return client.pipeline([
    ["XREADGROUP", "GROUP", "group", "me", "COUNT", 2, "STREAMS", "stream", ">"],
    ["XPENDING", "stream", "group"],
    ["XACK", "stream", "group", "1-0", "2-0"],
    ["XPENDING", "stream", "group"],
    ["XREADGROUP", "GROUP", "group", "me", "STREAMS", "stream", ">"],
    ["XREADGROUP", "GROUP", "group", "me", "STREAMS", "stream", ">"],
  ]);
});
