// The scenarios with node-redis. node node-redis.js PROTOCOL, with NODE_PATH, REDIS_HOST and REDIS_PORT set.
"use strict";

const { createClient, RESP_TYPES, WatchError } = require("redis");
const { run } = require("./harness");
require("./scenarios");

const protocol = Number(process.argv[2]);
const BYTES = { [RESP_TYPES.BLOB_STRING]: Buffer, [RESP_TYPES.VERBATIM_STRING]: Buffer };
const KINDS = {
  subscribe: ["subscribe", "unsubscribe"],
  psubscribe: ["pSubscribe", "pUnsubscribe"],
  ssubscribe: ["sSubscribe", "sUnsubscribe"],
};

class Connection {
  constructor(client) {
    this.client = client;
    this.typed = client.withTypeMapping(BYTES);
    this.listeners = new Map();
  }

  call(...args) {
    return this.typed.sendCommand(words(args));
  }

  pipeline(commands) {
    // What is called in one turn of the event loop leaves in one pipeline. `execAsPipeline` would lose the replies
    // after the first error.
    return Promise.all(commands.map((command) => this.call(...command).catch((error) => error)));
  }

  // An error inside is a reply like others; a transaction that Redis gave up has none.
  async transaction(commands) {
    const batch = this.typed.multi();
    for (const command of commands) batch.addCommand(words(command));
    try {
      return await batch.exec();
    } catch (error) {
      if (error instanceof WatchError) return null;
      if (error.replies) return error.replies;
      throw error;
    }
  }

  async subscribe(kind, name, listener) {
    const received = (payload, channel) =>
      listener(
        kind === "psubscribe"
          ? { pattern: name, channel: String(channel), payload }
          : { channel: String(channel), payload },
      );
    this.listeners.set(`${kind} ${name}`, received);
    await this.client[KINDS[kind][0]](name, received, true);
  }

  async unsubscribe(kind, name) {
    await this.client[KINDS[kind][1]](name, this.listeners.get(`${kind} ${name}`), true);
  }

  async monitor(listener) {
    const watcher = this.client.duplicate();
    watcher.on("error", () => {});
    await watcher.connect();
    // The line as Redis prints it: time, database, address, then each word in quotes.
    await watcher.monitor((line) =>
      listener([...String(line).matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, word]) => word)),
    );
    return () => watcher.destroy();
  }

  async quit() {
    const ended = new Promise((resolve) => this.client.once("end", resolve));
    const answer = await this.client.sendCommand(["QUIT"]).catch((error) => error);
    this.client.destroy();
    await ended;
    return answer;
  }

  cached(key) {
    return this.client.get(key);
  }

  cacheCounts() {
    const { hitCount, missCount } = this.client.clientSideCache.stats();
    return { hits: hitCount, misses: missCount };
  }

  close() {
    if (this.client.isOpen) this.client.destroy();
  }
}

const words = (args) => args.map((word) => (typeof word === "number" ? String(word) : word));

async function open({ username, password, database, name, caching } = {}) {
  const client = createClient({
    RESP: protocol,
    username,
    password,
    database,
    name,
    socket: {
      host: process.env.REDIS_HOST,
      port: Number(process.env.REDIS_PORT),
      reconnectStrategy: password === undefined ? () => 20 : false,
    },
    maintNotifications: "disabled",
    clientSideCache: caching ? {} : undefined,
  });
  client.on("error", () => {});
  await client.connect();
  return new Connection(client);
}

require("./stage").play(run, open, { commandsWhileSubscribed: protocol === 3, caches: protocol === 3 });
