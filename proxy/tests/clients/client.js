// An ordinary service with ioredis, told what to do by the end-to-end tests.
//
// usage: NODE_PATH=... node client.js URL FOLDER
//
// Reads one command a line from standard input and answers each with one line. Payloads are files: their paths stand in
// the commands, and every message received becomes a file in FOLDER and a line `message CHANNEL PATTERN PATH`.
"use strict";

const fs = require("fs");
const path = require("path");
const readline = require("readline");
const Redis = require("ioredis");

const [url, folder] = process.argv.slice(2);
const service = new Redis(url);
const subscriber = new Redis(url);
let received = 0;

function say(...words) {
  fs.writeSync(1, words.join(" ") + "\n");
}

function message(channel, pattern, payload) {
  const file = path.join(folder, String(received++));
  fs.writeFileSync(file, payload);
  say("message", channel, pattern, file);
}

subscriber.on("messageBuffer", (channel, payload) => message(channel, "-", payload));
subscriber.on("pmessageBuffer", (pattern, channel, payload) => message(channel, pattern, payload));
subscriber.on("smessageBuffer", (channel, payload) => message(channel, "-", payload));

const counts = (results) => results.map(([error, count]) => (error ? error.message : count));
const confirmed = (what) => async (name) => {
  await subscriber[what](name);
  say("confirmed", what, name);
};

const commands = {
  publish: async (channel, file) => say("receivers", await service.publish(channel, fs.readFileSync(file))),
  spublish: async (channel, file) => say("receivers", await service.spublish(channel, fs.readFileSync(file))),
  pipeline: async (channel, count) => {
    const batch = service.pipeline();
    for (let number = 0; number < Number(count); number++) batch.publish(channel, String(number));
    say("receivers", ...counts(await batch.exec()));
  },
  transaction: async (channel, ...files) => {
    const batch = service.multi();
    for (const file of files) batch.publish(channel, fs.readFileSync(file));
    say("receivers", ...counts(await batch.exec()));
  },
  subscribe: confirmed("subscribe"),
  psubscribe: confirmed("psubscribe"),
  ssubscribe: confirmed("ssubscribe"),
  unsubscribe: confirmed("unsubscribe"),
};

readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => {
    const [name, ...words] = line.split(" ");
    // An answer that does not come is seen by the test, with this text.
    commands[name](...words).catch((error) => say("failed", error.message));
  })
  .on("close", () => process.exit(0));
