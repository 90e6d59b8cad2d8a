// Replies of every type, and scripts and functions that make them.
"use strict";

const { scenario } = require("../harness");
const { EVERY_BYTE } = require("./payloads");

scenario("replies as the client shows them", async (stage) => {
  const client = await stage.empty();
  await client.pipeline([
    ["HSET", "hash", "a", 1, "b", 2],
    ["SADD", "set", 1, 2, 3],
    ["ZADD", "sorted", 1.5, "one", 2.25, "two"],
    ["RPUSH", "list", "a", "", "c"],
    ["GEOADD", "geo", 13.361389, 38.115556, "Palermo"],
    ["XADD", "stream", "1-1", "field", "value"],
  ]);
  return client.pipeline([
    ["HGETALL", "hash"],
    ["SMEMBERS", "set"],
    ["ZRANGE", "sorted", 0, -1, "WITHSCORES"],
    ["ZSCORE", "sorted", "two"],
    ["LRANGE", "list", 0, -1],
    ["GEOPOS", "geo", "Palermo", "nowhere"],
    ["XRANGE", "stream", "-", "+"],
    ["XREAD", "STREAMS", "stream", "0"],
    ["GET", "absent"],
    ["LRANGE", "absent", 0, -1],
    ["EXISTS", "hash", "absent"],
    ["LPOP", "absent", 3],
    ["CONFIG", "GET", "maxmemory-p*"],
    ["COMMAND", "INFO", "PUBLISH"],
  ]);
});

for (const type of [
  "string",
  "integer",
  "double",
  "null",
  "array",
  "set",
  "map",
  "bignum",
  "true",
  "false",
  "verbatim",
]) {
  scenario(`a reply of the type ${type}`, async (stage) => (await stage.empty()).call("DEBUG", "PROTOCOL", type));
}

scenario("errors, word for word", async (stage) => {
  const client = await stage.empty();
  await client.call("SET", "text", "a");
  return client.pipeline([
    ["INCR", "text"],
    ["LPUSH", "text", "a"],
    ["NOSUCHCOMMAND", "a", "b\r\nc"],
    ["GET"],
    ["PUBLISH", "channel"],
    ["SET", "text", "a", "EX", "0"],
    ["EVAL", "return redis.error_reply('MYERR of a script')", "0"],
    ["EVAL", "this is no Lua", "0"],
    ["EVALSHA", "0".repeat(40), "0"],
    ["XREADGROUP", "GROUP", "none", "me", "STREAMS", "none", ">"],
    ["SELECT", "99"],
    ["HELLO", "9"],
    ["CLIENT", "KILL", "ID", "0"],
    ["PING", "still there"],
  ]);
});

scenario("scripts by their digest, and functions", async (stage) => {
  const client = await stage.empty();
  await client.call("SCRIPT", "FLUSH");
  await client.call("FUNCTION", "FLUSH");
  const digest = String(await client.call("SCRIPT", "LOAD", "return {KEYS[1], ARGV[1], 1, {2, false, 'three'}}"));
  const library =
    "#!lua name=mine\nredis.register_function('twice', function(keys, args) return args[1] .. args[1] end)";
  await client.call("FUNCTION", "LOAD", "REPLACE", library);
  return client.pipeline([
    ["EVALSHA", digest, 1, "key", EVERY_BYTE],
    ["SCRIPT", "EXISTS", digest, "0".repeat(40)],
    ["FCALL", "twice", 0, "ab"],
    ["EVAL", "redis.setresp(3); return {double = 1.5}", 0],
    ["EVAL", "redis.setresp(3); return {map = {a = true}}", 0],
    ["EVAL", "redis.setresp(3); return {big_number = '123456789012345678901234567890'}", 0],
  ]);
});
