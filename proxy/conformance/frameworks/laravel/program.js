"use strict";
// Laravel broadcasts from PHP, two servers in Node.js listen, as laravel-echo-server does it: with one pattern for all
// channels, and with the names of channels.
//
//     node program.js CLIENT     the client in PHP: phpredis or predis
//
// What comes from the Lua script of the broadcaster has no context: the proxy does not claim to connect it. What PHP
// publishes itself has one.

const { spawn } = require("node:child_process");
const { createRequire } = require("node:module");
const { readdirSync, readFileSync } = require("node:fs");
const { join } = require("node:path");
const { createInterface } = require("node:readline");
const { redisOf, expect, got, settle, tell } = require("../ledger.js");
const { Redis } = createRequire(process.env.MODULES + "/")("ioredis");

const CHANNELS = ["laravel_orders", "laravel_private-user.7"];
const DIRECT = "laravel_direct";

tell(async () => {
  const echo = new Redis(redisOf("echo-patterns"));
  echo.on("pmessageBuffer", (_, channel, message) => heard("echo-patterns", channel.toString(), message));
  await echo.psubscribe("laravel_*");
  const byName = new Redis(redisOf("echo-channels"));
  byName.on("messageBuffer", (channel, message) => heard("echo-channels", channel.toString(), message));
  await byName.subscribe(...CHANNELS, DIRECT);

  const php = spawn("php", [join(__dirname, "broadcast.php"), process.argv[2]], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise((resolve) => php.on("close", resolve));
  const answers = createInterface({ input: php.stdout })[Symbol.asyncIterator]();
  for (const name of readdirSync(process.env.PAYLOADS).sort()) {
    const file = join(process.env.PAYLOADS, name);
    const payload = readFileSync(file);
    const part = name.endsWith(".txt") ? payload.toString() : payload.toString("base64");
    php.stdin.write(file + "\n");
    const answer = await answers.next();
    if (answer.value !== "done") throw new Error(`PHP says ${answer.value}`);
    for (const receiver of ["echo-patterns", "echo-channels"]) {
      for (const channel of CHANNELS) {
        expect(receiver, channel, { event: "App\\Events\\Shipped", data: { part }, socket: null });
      }
      expect(receiver, DIRECT, payload);
    }
  }
  await settle();
  php.stdin.end();
  if ((await ended) !== 0) throw new Error("PHP has failed");
  await Promise.all([echo.quit(), byName.quit()]);
});

function heard(receiver, channel, message) {
  got(receiver, channel, channel === DIRECT ? message : JSON.parse(message.toString()));
}
