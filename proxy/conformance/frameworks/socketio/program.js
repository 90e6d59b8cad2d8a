"use strict";
// Two Socket.IO servers that share their broadcasts through Redis, and four clients of them.
//
//     node program.js ADAPTER-CLIENT     as in `redis-adapter-ioredis` or `sharded-node-redis`
//
// Each server has its own Redis connections and so its own proxy. What a client gets of the other server's events has
// come through Redis; what it gets of its own server's has not, and must be the same.

const { createServer } = require("node:http");
const { createRequire } = require("node:module");
const { payloads, redisOf, expect, got, until, arrived, settle, tell } = require("../ledger.js");
const load = createRequire(process.env.MODULES + "/");
const { Server } = load("socket.io");
const { io: connect } = load("socket.io-client");
const { createAdapter, createShardedAdapter } = load("@socket.io/redis-adapter");

const [variant] = process.argv.slice(2);
const sharded = variant.startsWith("sharded-");
const clientOf = variant.endsWith("-ioredis") ? ioredis : nodeRedis;

tell(async () => {
  const a = await startServer("io-a");
  const b = await startServer("io-b");
  const clients = [];
  for (const [name, server, room] of [
    ["a1", a, "red"],
    ["a2", a, "blue"],
    ["b1", b, "red"],
    ["b2", b, "blue"],
  ]) {
    clients.push(await startClient(name, server, room));
  }
  await until("both servers know of each other", async () => (await a.io.of("/").adapter.serverCount()) === 2);
  if (sharded) await until("both servers listen to the rooms", () => roomsAreSubscribed(a));

  await broadcast(a, b, clients);
  await rooms(a, b, clients);
  await betweenServers(a, b);
  await acknowledgements(a, clients);
  await aboutSockets(a, b, clients);
  // The last words: what is behind them on each stream would be one too many.
  a.io.emit("from-a", "the end");
  b.io.emit("from-b", "the end");
  for (const { name } of clients) {
    expect(name, "from-a", ["the end"]);
    expect(name, "from-b", ["the end"]);
  }
  await settle();
  for (const { socket } of clients) socket.disconnect();
  for (const server of [a, b]) await server.close();
});

/** Every payload from both servers to everybody, alone and as an attachment among other things. */
async function broadcast(a, b, clients) {
  for (const [server, event] of [
    [a, "from-a"],
    [b, "from-b"],
  ]) {
    for (const payload of payloads()) {
      const message = { note: "żółw 🐢", part: payload, nested: [{ part: Buffer.from([0, 255]) }, 7, null] };
      server.io.emit(event, payload);
      server.io.emit(event, message, "and more");
      for (const { name } of clients) {
        expect(name, event, [payload]);
        expect(name, event, [message, "and more"]);
      }
    }
    await arrived();
  }
}

/** Only members of a room get its messages, wherever they are connected; one can be left out. */
async function rooms(a, b, clients) {
  for (const [index, payload] of small().entries()) {
    const [server, event] = index % 2 ? [b, "from-b"] : [a, "from-a"];
    const room = index % 3 ? "red" : "blue";
    server.io.to(room).emit(event, room, payload);
    server.io.except(room).emit(event, "not " + room, payload);
    for (const client of clients) {
      expect(client.name, event, client.room === room ? [room, payload] : ["not " + room, payload]);
    }
  }
  await arrived();
}

/** Events that servers send each other, and their answers. Socket.IO sends them as JSON: texts only. */
async function betweenServers(a, b) {
  b.io.on("hello", (text, answer) => {
    got("io-b", "server-side", text);
    answer(text);
  });
  for (const text of small().filter((payload) => typeof payload === "string")) {
    expect("io-b", "server-side", text);
    expect("io-a", "server-side answers", [text]);
    got("io-a", "server-side answers", await a.io.serverSideEmitWithAck("hello", text));
  }
}

/** A question to every client of the cluster, and all their answers. */
async function acknowledgements(a, clients) {
  for (const payload of small()) {
    const answers = await a.io.timeout(30_000).emitWithAck("question", payload);
    for (const { name } of clients) expect(name, "questions", payload);
    expect("io-a", "answers", clients.map(({ name }) => `${name} has heard`).sort());
    got("io-a", "answers", answers.sort());
  }
}

/** What servers know of each other's sockets, and commands to them. */
async function aboutSockets(a, b, clients) {
  const found = await b.io.fetchSockets();
  expect("io-b", "sockets", clients.map(({ name, room }) => `${name} in ${room}`).sort());
  got(
    "io-b",
    "sockets",
    found.map(({ data, rooms }) => `${data.name} in ${[...rooms].find((room) => room in { red: 1, blue: 1 })}`).sort(),
  );

  a.io.in("red").socketsJoin("green");
  await until("all of red are in green", async () => (await a.io.in("green").fetchSockets()).length === 2);
  if (sharded) await until("green is listened to", () => isSubscribed(b, "green"));
  a.io.to("green").emit("from-a", "to green");
  for (const { name, room } of clients) if (room === "red") expect(name, "from-a", ["to green"]);
  await arrived();
  b.io.socketsLeave("green");
  await until("nobody is in green", async () => (await a.io.in("green").fetchSockets()).length === 0);
}

/** The payloads without the large ones, which every client has got in the broadcasts. */
function small() {
  return payloads().filter(({ length }) => length < 10_000);
}

async function startServer(service) {
  const redis = await clientOf(service);
  const http = createServer();
  const requests = { requestsTimeout: 60_000 };
  const adapter = sharded ? createShardedAdapter(redis.pub, redis.sub) : createAdapter(redis.pub, redis.sub, requests);
  const io = new Server(http, { adapter });
  io.on("connection", (socket) => {
    socket.data.name = socket.handshake.auth.name;
    socket.join(socket.handshake.auth.room);
    socket.emit("welcome");
  });
  await new Promise((listening) => http.listen(0, "127.0.0.1", listening));
  return { io, redis, port: http.address().port, close: () => io.close().then(redis.close) };
}

async function startClient(name, server, room) {
  const socket = connect(`http://127.0.0.1:${server.port}`, { auth: { name, room }, transports: ["websocket"] });
  for (const event of ["from-a", "from-b"]) socket.on(event, (...values) => got(name, event, values));
  socket.on("question", (payload, answer) => {
    got(name, "questions", payload);
    answer(`${name} has heard`);
  });
  await new Promise((welcome) => socket.once("welcome", welcome));
  return { name, room, socket };
}

/** The sharded adapter gives each room a channel, and subscribes to it some time after the first socket has joined. */
async function roomsAreSubscribed(server) {
  return (await isSubscribed(server, "red", 2)) && (await isSubscribed(server, "blue", 2));
}

async function isSubscribed({ redis }, room, by = 2) {
  const [, count] = await redis.command("PUBSUB", "SHARDNUMSUB", `socket.io#/#${room}#`);
  return count === by;
}

async function ioredis(service) {
  const Redis = load("ioredis").Redis;
  const pub = new Redis(redisOf(service));
  const sub = pub.duplicate();
  return {
    pub,
    sub,
    command: (...words) => pub.call(...words),
    close: () => Promise.all([pub.quit(), sub.quit()]),
  };
}

async function nodeRedis(service) {
  const { host, port } = redisOf(service);
  const pub = load("redis").createClient({ socket: { host, port }, commandOptions: { timeout: 60_000 } });
  const sub = pub.duplicate();
  await Promise.all([pub.connect(), sub.connect()]);
  return {
    pub,
    sub,
    command: (...words) => pub.sendCommand(words),
    close: () => Promise.all([pub.close(), sub.close()]),
  };
}
