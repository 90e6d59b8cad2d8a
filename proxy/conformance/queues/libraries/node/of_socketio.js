"use strict";
// Socket.IO with its adapter for streams: one server tells a text to all browsers, the browser of the other answers its own server
// with the length, and that one tells it to all browsers.

const { from, URL_OF_REDIS } = require("./modules.js");
const { createAdapter } = from("@socket.io/redis-streams-adapter");
const { createClient } = from("redis");
const { Server } = from("socket.io");
const { io: browse } = from("socket.io-client");

// A server named `name` that reads what other servers tell, and a browser of its own.
async function server(name, onConnection) {
  const client = createClient({ url: URL_OF_REDIS, name });
  client.on("error", (error) => console.error(error));
  await client.connect();
  const io = new Server(0, { adapter: createAdapter(client) });
  io.on("connection", onConnection);
  const browser = browse(`http://127.0.0.1:${io.httpServer.address().port}`, { transports: ["websocket"] });
  await new Promise((resolve, reject) => browser.on("connect", resolve).on("connect_error", reject));
  // What is told before the adapter reads is not for it.
  for (let isReading = false; !isReading; ) {
    const clients = (await client.sendCommand(["CLIENT", "LIST"])).split("\n");
    isReading = clients.some((line) => line.includes(`name=${name} `) && line.includes(" cmd=xread "));
  }
  return { client, io, browser };
}

async function send(texts) {
  const { io, browser } = await server("api", () => {});
  const results = new Set();
  const all = new Promise((resolve) => {
    browser.on("result", (length) => results.add(length).size === texts.length && resolve());
  });
  for (const text of texts) io.emit("length", text);
  await all;
  return [...results].sort((one, other) => one - other);
}

async function work() {
  const { client, io, browser } = await server("worker", (socket) => socket.on("result", (length) => io.emit("result", length)));
  browser.on("length", (text) => browser.emit("result", text.length));
  // This is how the stage sees that all is ready.
  await client.ping();
}

module.exports = { send, work };
