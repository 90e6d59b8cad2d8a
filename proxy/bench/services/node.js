// Node's own HTTP server, and a worker; ioredis, with one connection that everything shares and one for the subscription.
'use strict';
const crypto = require('crypto');
const http = require('http');
const Redis = require('ioredis');

const { PAUSE, PORT, REDIS_URL, ROLE } = process.env;
const client = new Redis(REDIS_URL);
const subscription = new Redis(REDIS_URL);
const waiting = new Map();
let last = null;

// How the services say what they are working for: README.md describes the marks.
const NOTHING = '\x1e0\x1e';
const MARK = /\x1e[^\x1e]*\x1e/g;
const markOf = request => `\x1er${request.headers.traceparent.split('-')[2]}\x1e`;

const sleep = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds));
const work = () => sleep(Math.random() * Number(PAUSE) * 1000);

async function create(mark, body) {
  const number = await client.incr('orders:seq' + mark);
  await work();
  const user = JSON.parse(await client.get(`user:${body.user}${mark}`) || '{}');
  await work();
  const order = { order: number, user: body.user, items: body.items, city: user.city };
  await client.set(`order:${number}${mark}`, JSON.stringify(order), 'EX', 600);
  await Promise.all([
    client.publish('orders', JSON.stringify({ order: number, user: body.user, count: body.items.length }) + mark),
    client.hincrby('stats:orders' + mark, 'created', 1),
  ]);
  return [201, { order: number }];
}

async function show(mark, number) {
  const order = JSON.parse(await client.get(`order:${number}${mark}`) || 'null');
  await work();
  if (!order) return [404, { error: 'unknown' }];
  const user = JSON.parse(await client.get(`user:${order.user}${mark}`) || '{}');
  return [200, { order, user }];
}

async function total(mark, body) {
  const id = crypto.randomUUID();
  const answer = new Promise(resolve => waiting.set(id, resolve));
  await client.publish('sum', JSON.stringify({ id, data: body }) + mark);
  const [result, markOfAnswer] = await answer;
  await client.set(`total:${result}${mark}${markOfAnswer}`, 1, 'EX', 60);
  await client.incr('totals' + mark + markOfAnswer);
  return [200, { total: result }];
}

const handlers = ROLE === 'worker' ? {
  async orders(message, mark) {
    const order = JSON.parse(await client.get(`order:${message.order}${mark}`) || '{}');
    await work();
    await client.set(`order:${message.order}:invoice${mark}`, JSON.stringify({ city: order.city }), 'EX', 600);
    await client.publish('orders.done', JSON.stringify({ order: message.order, kind: 'invoice' }) + mark);
    last = message.order;
  },
  async sum(message, mark) {
    await work();
    const rate = Number(await client.get(`rate:${message.data.kind}${mark}`));
    await work();
    const result = message.data.numbers.reduce((a, b) => a + b) * rate;
    await client.publish('sum.reply', JSON.stringify({ id: message.id, total: result }) + mark);
  },
} : {
  async 'sum.reply'(message, mark) {
    const resolve = waiting.get(message.id);
    waiting.delete(message.id);
    if (resolve) resolve([message.total, mark]);
  },
};

async function heartbeat() {
  for (;;) {
    await sleep(100 * (0.98 + 0.04 * Math.random()));
    const at = Date.now();
    await client.setex('health:worker' + NOTHING, 5, at);
    await client.publish('health', JSON.stringify({ last, at }) + NOTHING);
  }
}

async function answer(request, body) {
  const mark = markOf(request);
  if (request.method === 'GET') return show(mark, request.url.split('/')[2]);
  return (request.url === '/orders' ? create : total)(mark, JSON.parse(body));
}

subscription.subscribe(...Object.keys(handlers));
subscription.on('message', (channel, payload) => {
  handlers[channel](JSON.parse(payload.replace(MARK, '')), (payload.match(MARK) || []).join(''));
});
if (ROLE === 'worker') {
  heartbeat();
} else {
  http.createServer((request, response) => {
    const pieces = [];
    request.on('data', piece => pieces.push(piece));
    request.on('end', async () => {
      const [status, result] = await answer(request, Buffer.concat(pieces).toString());
      const body = JSON.stringify(result);
      response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
      response.end(body);
    });
  }).listen(Number(PORT), '127.0.0.1');
}
