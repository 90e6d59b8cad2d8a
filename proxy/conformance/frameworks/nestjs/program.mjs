// NestJS microservices over their Redis transport: two services that answer and listen, and two clients.
//
// The transport publishes JSON: a request on the channel that is its pattern, answers on `pattern.reply`, which every
// client with an open question to that pattern gets and sorts out by id. Binary travels as base64.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const { payloads, redisOf, expect, got, until, arrived, settle, tell } = createRequire(import.meta.url)("../ledger.js");
const resolve = createRequire(process.env.MODULES + "/").resolve;
const load = (name) => import(pathToFileURL(resolve(name)));
await load("reflect-metadata");
const { Controller, Module } = await load("@nestjs/common");
const { NestFactory } = await load("@nestjs/core");
const { ClientProxyFactory, EventPattern, MessagePattern, Transport } = await load("@nestjs/microservices");
const { lastValueFrom, from, toArray } = await load("rxjs");

const transport = (service, options) => ({ transport: Transport.REDIS, options: { ...redisOf(service), ...options } });

/** Answers questions about orders, and listens to what is announced. */
class Orders {
  echo(order) {
    got("nest-orders", "echo", order);
    return order;
  }

  /** Three answers to one question. */
  parts(order) {
    return from([order.number, order.part, "done"]);
  }

  refuse() {
    throw new Error("refused, as asked");
  }

  announced(order) {
    got("nest-orders", "announced", order);
  }
}
decorate(Orders, "echo", MessagePattern("orders.echo"));
decorate(Orders, "parts", MessagePattern("orders.parts"));
decorate(Orders, "refuse", MessagePattern({ cmd: "refuse" }));
decorate(Orders, "announced", EventPattern("announced.orders"));

/** Listens only, with a pattern of channels (PSUBSCRIBE). */
class Audit {
  announced(order) {
    got("nest-audit", "announced.orders", order);
  }
}
decorate(Audit, "announced", EventPattern("announced.*"));

/** What a TypeScript compiler makes of a decorator above a method. */
function decorate(controller, method, decorator) {
  decorator(controller.prototype, method, Object.getOwnPropertyDescriptor(controller.prototype, method));
}

async function start(service, controller, options = {}) {
  Controller()(controller);
  class App {}
  Module({ controllers: [controller] })(App);
  const app = await NestFactory.createMicroservice(App, { ...transport(service, options), logger: false });
  await app.listen();
  return app;
}

async function connect(service) {
  const client = ClientProxyFactory.create(transport(service));
  await client.connect();
  return { service, client, ask: (pattern, order) => lastValueFrom(client.send(pattern, order).pipe(toArray())) };
}

tell(async () => {
  const orders = await start("nest-orders", Orders);
  const audit = await start("nest-audit", Audit, { wildcards: true });
  const shops = [await connect("nest-shop-a"), await connect("nest-shop-b")];
  await until("every service listens", () => listening(shops[0].client));

  for (const { service, client, ask } of shops) {
    const list = payloads().map((payload, number) => ({ service, number, part: plain(payload) }));
    for (const order of list) {
      expect("nest-orders", "echo", order);
      expect(service, "answers", [order]);
      got(service, "answers", await ask("orders.echo", order));
      expect(service, "several answers", [order.number, order.part, "done"]);
      got(service, "several answers", await ask("orders.parts", order));
    }
    for (const order of list) {
      await lastValueFrom(client.emit("announced.orders", order), { defaultValue: null });
      expect("nest-orders", "announced", order);
      expect("nest-audit", "announced.orders", order);
    }
    await arrived();
    // The transport does not tell a client more than this.
    expect(service, "refusals", "Internal server error");
    got(service, "refusals", await ask({ cmd: "refuse" }, {}).catch((error) => error.message ?? error));
  }
  await crossing(shops);
  await settle();
  for (const { client } of shops) await client.close();
  await orders.close();
  await audit.close();
});

/** Services subscribe some time after they say that they are there. Redis counts the subscriptions. */
async function listening(client) {
  const [redis] = client.unwrap();
  const channels = ["orders.echo", "orders.parts", '{"cmd":"refuse"}', "announced.orders"];
  const found = await redis.pubsub("CHANNELS");
  return channels.every((channel) => found.includes(channel)) && (await redis.pubsub("NUMPAT")) === 1;
}

/** Questions of both clients at the same time: each gets all answers on the wire, and must find its own. */
async function crossing(shops) {
  const small = payloads().filter(({ length }) => length < 10_000);
  await Promise.all(
    shops.flatMap(({ service, ask }) =>
      small.map(async (payload, number) => {
        const order = { service, number, part: plain(payload) };
        const stream = `crossing ${number}`;
        expect(service, stream, [order.number, order.part, "done"]);
        got(service, stream, await ask("orders.parts", order));
      }),
    ),
  );
}

function plain(payload) {
  return typeof payload === "string" ? payload : payload.toString("base64");
}
