// The scenarios with ioredis. node ioredis.js PROTOCOL, with NODE_PATH, REDIS_HOST and REDIS_PORT set.
"use strict";

const Redis = require("ioredis");
const { run } = require("./harness");
require("./scenarios");

const protocol = Number(process.argv[2]);
const KINDS = {
  subscribe: [
    "subscribe",
    "unsubscribe",
    "messageBuffer",
    (channel, payload) => ({ channel: String(channel), payload }),
  ],
  psubscribe: [
    "psubscribe",
    "punsubscribe",
    "pmessageBuffer",
    (pattern, channel, payload) => ({ pattern: String(pattern), channel: String(channel), payload }),
  ],
  ssubscribe: [
    "ssubscribe",
    "sunsubscribe",
    "smessageBuffer",
    (channel, payload) => ({ channel: String(channel), payload }),
  ],
};

class Connection {
  constructor(client) {
    this.client = client;
    // Breaking connections is part of the play; without a listener ioredis prints each.
    client.on("error", () => {});
  }

  call(name, ...args) {
    // Not `callBuffer`, which has no room for many thousand arguments. Without an encoding, replies are bytes.
    return this.client.sendCommand(new Redis.Command(name, args, { replyEncoding: null }));
  }

  async pipeline(commands) {
    return outcomes(await this.client.pipeline(commands.map(call)).exec());
  }

  async transaction(commands) {
    return outcomes(await this.client.multi(commands.map(call)).execBuffer());
  }

  async subscribe(kind, name, listener) {
    const [subscribe, , event, message] = KINDS[kind];
    const received = (...words) => {
      const now = message(...words);
      if ((now.pattern ?? now.channel) === name) listener(now);
    };
    this.client.on(event, received);
    await this.client[subscribe](name);
  }

  async unsubscribe(kind, name) {
    await this.client[KINDS[kind][1]](name);
  }

  async monitor(listener) {
    const monitor = await this.client.monitor();
    monitor.on("monitor", (_time, args) => listener(args));
    return () => monitor.disconnect();
  }

  async quit() {
    const ended = new Promise((resolve) => this.client.once("end", resolve));
    const answer = await this.client.quit();
    await ended;
    return answer;
  }

  close() {
    this.client.disconnect();
  }
}

const call = ([name, ...args]) => ["callBuffer", name, ...args];
const outcomes = (results) => results && results.map(([error, reply]) => error ?? reply);

async function open({ username, password, database, name } = {}) {
  const client = new Redis({
    host: process.env.REDIS_HOST,
    port: Number(process.env.REDIS_PORT),
    protocol,
    username,
    password,
    db: database,
    connectionName: name,
    lazyConnect: true,
    retryStrategy: () => 20,
    maxRetriesPerRequest: null,
  });
  const connection = new Connection(client);
  if (password !== undefined) {
    // ioredis goes on trying; whoever logs in wants to hear of it.
    const refused = new Promise((_, reject) => client.once("error", reject));
    await Promise.race([client.connect(), refused]).catch((error) => {
      client.disconnect();
      throw error;
    });
  } else {
    await client.connect();
  }
  return connection;
}

require("./stage").play(run, open, { commandsWhileSubscribed: false, caches: false });
