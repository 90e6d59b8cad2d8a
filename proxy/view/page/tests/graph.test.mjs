import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './page.mjs';

const { graphLayout, graphModel } = load('format', 'graph-layout', 'graph-model');
const node = (id) => ({ id, width: 100, height: 40 });
const edge = (text) => ({ from: text[0], to: text[1] });
const drawn = (names, ...pairs) => {
  const nodes = [...names].map(node);
  const edges = pairs.map(edge);
  const size = graphLayout.layout(nodes, edges);
  return { nodes: Object.fromEntries(nodes.map((one) => [one.id, one])), edges, size };
};

const assertApart = (nodes) => {
  const all = Object.values(nodes);
  for (const [k, a] of all.entries()) {
    for (const b of all.slice(k + 1)) {
      const isApart = Math.abs(a.x - b.x) >= (a.width + b.width) / 2 || Math.abs(a.y - b.y) >= (a.height + b.height) / 2;
      assert.ok(isApart, `${a.id} and ${b.id} overlap`);
    }
  }
};

test('a message goes from left to right', () => {
  const { nodes, edges } = drawn('abc', 'ab', 'bc');
  assert.ok(nodes.a.x < nodes.b.x && nodes.b.x < nodes.c.x);
  assert.equal(nodes.a.y, nodes.c.y, 'a straight way is drawn straight');
  assert.ok(edges.every(({ points }) => points.length === 2 && points[0].x < points[1].x));
});

test('an answer goes back, around what stands between, and ends where it leads', () => {
  const { nodes, edges } = drawn('abcd', 'ab', 'bc', 'cd', 'da');
  const back = edges[3];
  assert.equal(back.isBack, true);
  assert.ok(back.points[0].x > back.points.at(-1).x);
  assert.ok(Math.abs(back.points.at(-1).x - (nodes.a.x + 50)) < 1, 'it ends at the edge of a');
  for (const { x, y } of back.points.slice(1, -1)) {
    assert.ok(
      Object.values(nodes).every((one) => Math.abs(x - one.x) > 50 || Math.abs(y - one.y) >= 20),
      'no bend lies under a node',
    );
  }
});

test('nodes never overlap, with circles, loops, unknown ends and 60 nodes', () => {
  const letters = Array.from({ length: 60 }, (_, k) => String.fromCharCode(0x4e00 + k));
  let seed = 7;
  const next = () => {
    seed = (seed * 48_271) % 2_147_483_647;
    return letters[seed % 60];
  };
  const pairs = Array.from({ length: 110 }, () => `${next()}${next()}`);
  const { nodes, size, edges } = drawn(letters.join(''), ...pairs, 'a?');
  assertApart(nodes);
  assert.ok(Object.values(nodes).every(({ x, y }) => x > 0 && y > 0 && x < size.width && y < size.height));
  assert.ok(edges.filter(({ from, to }) => from !== to && nodes[to]).every(({ points }) => points.length >= 2));
});

test('a large graph with many circles is not one long row', () => {
  const letters = Array.from({ length: 60 }, (_, k) => String.fromCharCode(0x4e00 + k));
  // Thirty services with a channel each, which three others receive.
  const pairs = letters.slice(0, 30).flatMap((service, k) => {
    const channel = letters[30 + k];
    const receivers = [k * 11 + 3, k * 7 + 1, k * 17 + 5].map((to) => letters[to % 30]);
    return [`${service}${channel}`, ...receivers.map((to) => `${channel}${to}`)];
  });
  const { nodes } = drawn(letters.join(''), ...pairs);
  assertApart(nodes);
  const layers = new Set(Object.values(nodes).map(({ layer }) => layer)).size;
  assert.ok(layers <= 14, `${layers} layers`);
});

test('lines do not cross where they need not', () => {
  const { nodes } = drawn('abcxyz', 'az', 'by', 'cx');
  const order = (...ids) => ids.sort((p, q) => nodes[p].y - nodes[q].y).join('');
  assert.equal(
    order('x', 'y', 'z'),
    order('a', 'b', 'c').replace(/./g, (id) => ({ a: 'z', b: 'y', c: 'x' })[id]),
  );
});

test('the same graph is drawn in the same way', () => {
  const once = () => {
    const { nodes, edges } = drawn('abcdef', 'ab', 'bc', 'bd', 'ce', 'de', 'ea', 'af');
    return JSON.stringify([Object.values(nodes).map(({ id, x, y }) => [id, x, y]), edges.map(({ points }) => points)]);
  };
  assert.equal(once(), once());
});

const side = (type, name) => ({ type, name });
const told = (from, to, over) => ({ from, to, count: 60, errors: 0, rate: 1, p50_us: 100, p95_us: 900, inferred: 0, ...over });

test('services and channels are nodes, requests come in beside their service, and Redis is words', () => {
  const { nodes, edges } = graphModel.build({
    services: [
      { name: 'worker', spans: 3, errors: 1 },
      { name: 'api', spans: 2, errors: 0 },
    ],
    channels: [{ name: 'reports', kind: 'channel', messages: 60, rate: 1, p50_us: 1, p95_us: 2_000 }],
    edges: [
      told(side('client', ''), side('service', 'api')),
      told(side('service', 'api'), side('channel', 'reports')),
      told(side('channel', 'reports'), side('service', 'worker')),
      told(side('service', 'worker'), side('redis'), { rate: 12 }),
    ],
  });
  assert.deepEqual(
    nodes.map(({ id }) => id),
    ['service api', 'service worker', 'channel reports', 'client  api'],
  );
  assert.deepEqual(
    edges.map(({ from, to }) => [from, to]),
    [
      ['client  api', 'service api'],
      ['service api', 'channel reports'],
      ['channel reports', 'service worker'],
    ],
  );
  const worker = nodes[1];
  assert.deepEqual(worker.lines, ['3 spans · 1 error', 'Redis 12/s · p95 900 µs']);
  assert.equal(edges[1].words, '1/s · p95 900 µs');
  assert.deepEqual(edges[2].sentence, ['reports', 'delivers to', 'worker']);
});

test('an edge to something that is not listed has a node all the same', () => {
  const { nodes } = graphModel.build({ services: [], channels: [], edges: [told(side('service', 'a'), side('channel', 'b'))] });
  assert.deepEqual(
    nodes.map(({ id }) => id),
    ['service a', 'channel b'],
  );
});

test('of many channels the busiest are drawn, with the services that they connect, and the rest is counted', () => {
  const all = Array.from({ length: 50 }, (_, k) => k);
  const { nodes, edges, left } = graphModel.build(
    {
      services: all.map((k) => ({ name: `s${k}`, spans: 1, errors: 0 })),
      channels: all.map((k) => ({ name: `c${k}`, kind: 'channel', messages: k, rate: k, p50_us: 1, p95_us: 1 })),
      edges: all.flatMap((k) => [
        told(side('service', `s${k}`), side('channel', `c${k}`)),
        told(side('client', ''), side('service', `s${k}`)),
      ]),
    },
    2,
  );
  assert.deepEqual(
    nodes.map(({ id }) => id),
    ['service s48', 'service s49', 'channel c48', 'channel c49', 'client  s48', 'client  s49'],
  );
  assert.equal(edges.length, 4);
  assert.deepEqual(left, { channels: 48, services: 48 });
});
