// What every client is put through, whatever its API: see stage.js for what a scenario gets. Payloads are compared byte by
// byte. Nothing waits for a time to pass: a scenario knows that nothing more comes when a later message is there.
"use strict";

const assert = require("assert");
const crypto = require("crypto");
const { scenario, plain, until } = require("./harness");

const EVERY_BYTE = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
const PAYLOADS = {
  empty: Buffer.alloc(0),
  "one zero byte": Buffer.from([0]),
  "every byte": EVERY_BYTE,
  text: Buffer.from("grüße, 世界 🌍"),
  JSON: Buffer.from('{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","a":[1,2]}'),
  "line ends": Buffer.from("\r\n\r\n$5\r\nhello\r\n"),
  "an answer of Redis": Buffer.from("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n"),
  "a push of Redis": Buffer.from(">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n"),
  "64 KiB": crypto.randomBytes(64 << 10),
  "1 MiB": crypto.randomBytes(1 << 20),
  "5 MiB": crypto.randomBytes(5 << 20),
};
const END = Buffer.from("that was all");

const over = (messages) => until(() => messages.some(({ payload }) => payload.equals(END)));
const texts = (messages) => messages.map(({ payload }) => payload.toString("latin1"));

// Values.

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

// Replies.

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

for (const type of ["string", "integer", "double", "null", "array", "set", "map", "bignum", "true", "false", "verbatim"]) {
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

// Pipelines and transactions.

scenario("10,000 commands in a pipeline, errors among them", async (stage) => {
  const client = await stage.empty();
  await client.call("SET", "text", "a");
  const replies = await client.pipeline(
    Array.from({ length: 10_000 }, (_, number) => (number % 100 === 99 ? ["INCR", "text"] : ["INCRBY", "number", number])),
  );
  let sum = 0;
  replies.forEach((reply, number) => {
    if (number % 100 === 99) assert.match(reply.message, /not an integer/);
    else assert.strictEqual(reply, (sum += number));
  });
});

scenario("1,000 single commands at once", async (stage) => {
  const client = await stage.empty();
  const replies = await Promise.all(Array.from({ length: 1_000 }, (_, number) => client.call("ECHO", `echo ${number}`)));
  assert.deepStrictEqual(plain(replies), Array.from({ length: 1_000 }, (_, number) => `echo ${number}`));
});

scenario("a transaction, with an error inside", async (stage) => {
  const client = await stage.empty();
  return client.transaction([["SET", "key", EVERY_BYTE], ["INCR", "key"], ["GET", "key"], ["HGETALL", "absent"], ["PING"]]);
});

scenario("a transaction of 5,000 commands", async (stage) => {
  const client = await stage.empty();
  const replies = await client.transaction(Array.from({ length: 5_000 }, () => ["INCR", "number"]));
  assert.deepStrictEqual(replies, Array.from({ length: 5_000 }, (_, number) => number + 1));
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
  assert.strictEqual(await client.transaction([["SET", "key", "mine"], ["PUBLISH", "news", "a"]]), null);
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

// Publish and subscribe.

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
        assert.deepStrictEqual(own, Array.from({ length: 200 }, (_, number) => `${which} ${number}`));
      }
    }
  });

  scenario(`${kind}, subscribing to 1,000 names and leaving them`, async (stage) => {
    const client = await stage.empty();
    const names = Array.from({ length: 1_000 }, (_, number) => `news:${number}`);
    const messages = await stage.listen(kind, ...names);
    for (const name of names.slice(1)) await messages.connection.unsubscribe(kind, name);
    const receivers = await client.pipeline(names.map((name) => [publish, name, name]));
    assert.deepStrictEqual(receivers, names.map((_, number) => (number === 0 ? 1 : 0)));
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
  await client.pipeline([["PUBLISH", "a", "1"], ["PUBLISH", "bb", "2"], ["SPUBLISH", "c", "3"], ["PUBLISH", "c", "nobody"]]);
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
  await client.pipeline([["SET", "key", "value"], ["RENAME", "key", "other"], ["DEL", "other"]]);
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
  return [channels, ...(await client.pipeline([["PUBSUB", "NUMSUB", "a", "e"], ["PUBSUB", "NUMPAT"], ["PUBSUB", "SHARDCHANNELS"]]))];
});

scenario("commands on a connection that subscribes", async (stage) => {
  const client = await stage.empty();
  const messages = await stage.listen("subscribe", "news");
  if (!stage.traits.commandsWhileSubscribed) return "this client gives a subscriber a connection of its own";
  const own = messages.connection;
  // Replies and messages share the connection; neither may take the other's place.
  const calls = Array.from({ length: 500 }, (_, number) => [own.call("ECHO", `echo ${number}`), client.call("PUBLISH", "news", String(number))]);
  const echoes = await Promise.all(calls.map(([echo]) => echo));
  await Promise.all(calls.map(([, published]) => published));
  assert.strictEqual(await own.call("PUBLISH", "news", END), 1);
  await over(messages);
  assert.deepStrictEqual(plain(echoes), Array.from({ length: 500 }, (_, number) => `echo ${number}`));
  assert.strictEqual(messages.length, 501);
});

// Blocking.

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

// Scripts.

scenario("scripts by their digest, and functions", async (stage) => {
  const client = await stage.empty();
  await client.call("SCRIPT", "FLUSH");
  await client.call("FUNCTION", "FLUSH");
  const digest = String(await client.call("SCRIPT", "LOAD", "return {KEYS[1], ARGV[1], 1, {2, false, 'three'}}"));
  const library = "#!lua name=mine\nredis.register_function('twice', function(keys, args) return args[1] .. args[1] end)";
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

// Connections.

scenario("a killed subscriber comes back, with its subscriptions", async (stage) => {
  const client = await stage.empty();
  const messages = await stage.listen("subscribe", "a");
  await messages.connection.subscribe("psubscribe", "b*", (message) => messages.push(message));
  await client.call("PUBLISH", "a", "before");
  await until(() => messages.length === 1);
  assert.strictEqual(await client.call("CLIENT", "KILL", "TYPE", "pubsub"), 1);
  const back = async () => plain(await client.pipeline([["PUBSUB", "NUMSUB", "a"], ["PUBSUB", "NUMPAT"]]));
  await until(async () => JSON.stringify(await back()).replace(/\W+/g, "") === "a11");
  assert.deepStrictEqual(await client.pipeline([["PUBLISH", "a", "after"], ["PUBLISH", "bb", EVERY_BYTE]]), [1, 1]);
  await until(() => messages.length === 3);
  return texts(messages);
});

scenario("a killed client comes back, with its database and its name", async (stage) => {
  const client = await stage.empty();
  const victim = await stage.open({ database: 3, name: "victim" });
  await victim.call("SET", "key", "in three");
  const id = await victim.call("CLIENT", "ID");
  assert.strictEqual(await client.call("CLIENT", "KILL", "ID", id), 1);
  await until(async () => (await victim.call("CLIENT", "ID").catch(() => id)) !== id);
  return [await victim.call("GET", "key"), await victim.call("CLIENT", "GETNAME")];
});

scenario("50 connections opened, used and closed at once", async (stage) => {
  const clients = await Promise.all(Array.from({ length: 50 }, () => stage.open()));
  const replies = await Promise.all(clients.map((client, number) => client.call("ECHO", String(number))));
  assert.deepStrictEqual(plain(replies), clients.map((_, number) => String(number)));
});

scenario("a connection that says QUIT", async (stage) => {
  const client = await stage.open();
  await client.call("PING");
  return client.quit();
});

scenario("what the server knows of the connection", async (stage) => {
  const client = await stage.open({ name: "known" });
  const info = String(await client.call("CLIENT", "INFO"));
  return Object.fromEntries(
    info
      .trim()
      .split(" ")
      .map((field) => field.split("="))
      .filter(([field]) => ["name", "db", "sub", "psub", "ssub", "multi", "user", "resp", "lib-name", "lib-ver"].includes(field)),
  );
});

scenario("users, passwords and what they may not do", async (stage) => {
  const client = await stage.empty();
  await client.call("ACL", "SETUSER", "reader", "on", ">secret", "~public:*", "&public:*", "+@all", "-@admin");
  const reader = await stage.open({ username: "reader", password: "secret" });
  const refused = await stage.open({ username: "reader", password: "wrong" }).catch((error) => error);
  assert(refused instanceof Error);
  const replies = await reader.pipeline([
    ["ACL", "WHOAMI"],
    ["GET", "public:a"],
    ["GET", "private"],
    ["PUBLISH", "public:news", "a"],
    ["PUBLISH", "private", "a"],
    ["ACL", "LIST"],
  ]);
  await client.call("ACL", "DELUSER", "reader");
  return [replies, refused];
});

scenario("MONITOR shows another client's commands", async (stage) => {
  const client = await stage.empty();
  const seen = [];
  const stop = await client.monitor((args) => seen.push(args.map(String)));
  const other = await stage.open();
  await other.call("SET", "key", "a value");
  await other.call("GET", "end");
  await until(() => seen.some((args) => args[1] === "end"));
  await stop();
  return seen.filter(([command]) => ["SET", "GET"].includes(command.toUpperCase()));
});
