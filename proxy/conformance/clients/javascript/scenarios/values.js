// Values, keys and arguments of every kind and size.
"use strict";

const assert = require("assert");
const crypto = require("crypto");
const { scenario, plain } = require("../harness");
const { EVERY_BYTE, PAYLOADS } = require("./payloads");

for (const [kind, value] of Object.entries(PAYLOADS)) {
  scenario(`a value: ${kind}`, async (stage) => {
    const client = await stage.empty();
    await client.call("SET", "key", value);
    assert(value.equals(await client.call("GET", "key")));
    assert.strictEqual(await client.call("STRLEN", "key"), value.length);
  });
}

scenario("a value of 64 MiB", async (stage) => {
  const client = await stage.empty();
  const value = crypto.randomBytes(64 << 20);
  await client.call("SET", "key", value);
  assert(value.equals(await client.call("GET", "key")));
});

scenario("keys and fields of every byte", async (stage) => {
  const client = await stage.empty();
  await client.call("HSET", EVERY_BYTE, EVERY_BYTE, EVERY_BYTE);
  assert(EVERY_BYTE.equals(await client.call("HGET", EVERY_BYTE, EVERY_BYTE)));
  return client.call("KEYS", "*");
});

scenario("50,000 arguments, and as many replies", async (stage) => {
  const client = await stage.empty();
  const keys = Array.from({ length: 50_000 }, (_, number) => `key:${number}`);
  await client.call("MSET", ...keys.flatMap((key) => [key, `${key}'s value`]));
  const values = await client.call("MGET", ...keys, "absent");
  assert.deepStrictEqual(plain(values), [...keys.map((key) => `${key}'s value`), null]);
});

scenario("a scan over 5,000 keys", async (stage) => {
  const client = await stage.empty();
  await client.pipeline(Array.from({ length: 5_000 }, (_, number) => ["SET", `key:${number}`, number]));
  const found = new Set();
  let cursor = "0";
  do {
    const [next, keys] = await client.call("SCAN", cursor, "COUNT", 100);
    for (const key of keys) found.add(String(key));
    cursor = String(next);
  } while (cursor !== "0");
  assert.strictEqual(found.size, 5_000);
});
