// Connections that come, go, break and come back; users; MONITOR.
"use strict";

const assert = require("assert");
const { scenario, plain, until } = require("../harness");
const { EVERY_BYTE } = require("./payloads");
const { texts } = require("./messages");

scenario("a killed subscriber comes back, with its subscriptions", async (stage) => {
  const client = await stage.empty();
  const messages = await stage.listen("subscribe", "a");
  await messages.connection.subscribe("psubscribe", "b*", (message) => messages.push(message));
  await client.call("PUBLISH", "a", "before");
  await until(() => messages.length === 1);
  assert.strictEqual(await client.call("CLIENT", "KILL", "TYPE", "pubsub"), 1);
  const back = async () =>
    plain(
      await client.pipeline([
        ["PUBSUB", "NUMSUB", "a"],
        ["PUBSUB", "NUMPAT"],
      ]),
    );
  await until(async () => JSON.stringify(await back()).replace(/\W+/g, "") === "a11");
  assert.deepStrictEqual(
    await client.pipeline([
      ["PUBLISH", "a", "after"],
      ["PUBLISH", "bb", EVERY_BYTE],
    ]),
    [1, 1],
  );
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
  assert.deepStrictEqual(
    plain(replies),
    clients.map((_, number) => String(number)),
  );
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
      .filter(([field]) =>
        ["name", "db", "sub", "psub", "ssub", "multi", "user", "resp", "lib-name", "lib-ver"].includes(field),
      ),
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
