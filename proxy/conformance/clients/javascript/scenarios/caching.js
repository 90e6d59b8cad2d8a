// The client's own cache, which Redis tells what has changed (pushes of CLIENT TRACKING).
"use strict";

const assert = require("assert");
const { scenario, until } = require("../harness");

scenario("a cached value is asked for once, and again after it changed", async (stage) => {
  if (!stage.traits.caches) return "this client keeps no cache";
  const [other, caching] = [await stage.empty(), await stage.open({ caching: true })];
  const keys = Array.from({ length: 200 }, (_, number) => `key:${number}`);
  await other.pipeline(keys.map((key) => ["SET", key, "old"]));
  for (const round of [1, 2]) {
    for (const key of keys) assert.strictEqual(await caching.cached(key), "old", `round ${round}`);
  }
  assert.deepStrictEqual(caching.cacheCounts(), { hits: 200, misses: 200 });
  await other.pipeline(keys.map((key) => ["SET", key, "new"]));
  await until(async () =>
    (await Promise.all(keys.map((key) => caching.cached(key)))).every((value) => value === "new"),
  );
});
