import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load, span } from './page.mjs';

const { tree } = load('format', 'tree');
const id = (n) => n.toString(16).padStart(16, '0');
/** Spans from pairs of an id and its parent's; the n-th starts at n. */
const spans = (...pairs) =>
  pairs.map(([own, parent, over], k) => span({ id: id(own), parent: parent === null ? null : id(parent), start_us: k, ...over }));
const ids = (built, indexes) => [...indexes].map((i) => Number.parseInt(built.spans[i].id, 16));

test('parents come first, and siblings by their start', () => {
  const built = tree.build(spans([1, null], [2, 1, { start_us: 9 }], [3, 1, { start_us: 4 }], [4, 3, { start_us: 20 }], [5, 2]));
  assert.deepEqual(ids(built, built.order), [1, 3, 4, 2, 5]);
  assert.deepEqual([...built.depth], [0, 1, 1, 2, 2]);
  assert.deepEqual([...built.size], [5, 2, 2, 1, 1]);
});

test('a span whose parent has not arrived stands at the top and is told from the first one', () => {
  const built = tree.build(spans([1, null], [2, 99], [3, 2]));
  assert.deepEqual(ids(built, built.order), [1, 2, 3]);
  assert.deepEqual(
    [0, 1, 2].map((i) => tree.isOrphan(built, i)),
    [false, true, false],
  );
});

test('circles and spans that are their own parents are cut, and every span is shown once', () => {
  const built = tree.build(spans([1, 1], [2, 4], [3, 2], [4, 3], [5, 4], [5, 4]));
  assert.deepEqual([...ids(built, built.order)].sort(), [1, 2, 3, 4, 5, 5]);
  assert.equal(new Set(built.order).size, 6);
});

test('a chain of 100,000 spans is no danger', () => {
  const n = 100_000;
  const built = tree.build(spans(...Array.from({ length: n }, (_, k) => [k + 1, k === 0 ? null : k])));
  assert.equal(built.depth[n - 1], n - 1);
  assert.equal(built.size[0], n);
  assert.deepEqual(ids(built, tree.rows(built, new Set([1]))), [1, 2]);
});

test('what is below a closed span is not shown, and its row leads to the closest one that is', () => {
  const built = tree.build(spans([1, null], [2, 1], [3, 2], [4, 3], [5, 1]));
  const collapsed = new Set([1]);
  const shown = tree.rows(built, collapsed);
  assert.deepEqual(ids(built, shown), [1, 2, 5]);
  assert.equal(tree.rowOf(built, shown, 3), 1);
  assert.equal(tree.rowOf(built, shown, 4), 2);
  assert.equal(tree.reveal(built, collapsed, 3), true);
  assert.deepEqual(ids(built, tree.rows(built, collapsed)), [1, 2, 3, 4, 5]);
  assert.equal(tree.reveal(built, collapsed, 3), false);
  assert.deepEqual([...tree.inner(built)], [0, 1, 2]);
});

test('failures are counted upwards', () => {
  const built = tree.build(spans([1, null], [2, 1], [3, 2, { status: 'error' }], [4, 1, { status: 'error' }]));
  assert.deepEqual([...built.errors], [2, 1, 1, 1]);
});

test('the time covers what started before the first span, and is never empty', () => {
  const built = tree.build(spans([1, null, { start_us: 0, duration_us: 5 }], [2, 1, { start_us: -3, duration_us: 20 }]));
  assert.deepEqual([built.from, built.to], [-3, 17]);
  const instant = tree.build(spans([1, null, { start_us: 7, duration_us: 0 }]));
  assert.deepEqual([instant.from, instant.to], [7, 8]);
  assert.deepEqual([tree.build([]).from, tree.build([]).to], [0, 1]);
});

test('the words beside a bar are what is worth most', () => {
  const note = (...attributes) => tree.note(tree.build([span({ attributes })]), 0);
  assert.equal(note(['http.response.status_code', 202]), '202');
  assert.equal(note(['redis.pubsub.receivers', 0]), '0 receivers');
  assert.equal(note(['redis.pubsub.receivers', 1]), '1 receiver, none seen');
  assert.equal(
    note(['redis.pubsub.receivers', '5'], ['redistributed.context.skipped', 'auto_unproxied']),
    '5 receivers, not followed',
  );
  assert.equal(note(['error.type', 'WRONGTYPE'], ['db.response.status_code', 'WRONGTYPE']), 'WRONGTYPE');
  assert.equal(note(['http.response.status_code', 500], ['error.type', '500']), '500');
  assert.equal(note(['messaging.system', 'redis']), '');
});

test('receivers that Redis has counted stand beside the deliveries below, if these are others', () => {
  const attributes = [['redis.pubsub.receivers', 2]];
  const words = (...deliveries) => tree.note(tree.build(spans([1, null, { attributes, kind: 'producer' }], ...deliveries)), 0);
  assert.equal(words([2, 1, { kind: 'consumer' }], [3, 1, { kind: 'consumer' }]), '2 receivers');
  assert.equal(words([2, 1, { kind: 'consumer' }], [3, 1, { kind: 'client' }]), '2 receivers, 1 seen');
  const elsewhere = [{ trace: 't', span: 's' }];
  assert.equal(tree.note(tree.build(spans([1, null, { attributes, linked_from: elsewhere }])), 0), '2 receivers');
});

test('spans are found by name, service, id, key and value, whatever the case', () => {
  const built = tree.build(
    spans(
      [1, null, { name: 'POST /Reports' }],
      [2, 1, { resource: 1 }],
      [3, 1, { attributes: [['db.operation.name', 'HINCRBY']] }],
    ),
  );
  const found = (words) => ids(built, tree.find(built, ['api', 'worker-chart'], words));
  assert.deepEqual(found('reports'), [1]);
  assert.deepEqual(found('CHART'), [2]);
  assert.deepEqual(found('hincr'), [3]);
  assert.deepEqual(found('operation.name'), [3]);
  assert.deepEqual(found(id(2)), [2]);
  assert.deepEqual(found(''), []);
});
