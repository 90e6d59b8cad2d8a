import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './page.mjs';

const { listing } = load('format', 'listing');
const summary = (n, over) => ({ trace: `t${n}`, start: String(1_000 + n), updated: n, errors: 0, ...over });
const shown = (list) => list.rows.map(({ trace }) => trace).join(' ');
const any = () => true;
const loaded = (...transactions) => {
  const list = listing.create();
  listing.load(list, { transactions, next: null }, true);
  return list;
};

test('what is new stands above, by its start', () => {
  const list = loaded(summary(5), summary(3));
  listing.change(list, [summary(4), summary(9)], any, false);
  assert.equal(shown(list), 't9 t5 t4 t3');
});

test('a held list does not move, and shows what waited when it is let go', () => {
  const list = loaded(summary(2), summary(1));
  listing.change(list, [summary(3), summary(1, { updated: 7, errors: 2 })], any, true);
  assert.equal(shown(list), 't2 t1');
  assert.equal(list.waiting.size, 1);
  assert.equal(list.rows[1].errors, 2, 'what changed is changed where it stands');
  listing.change(list, [summary(3, { updated: 8, errors: 1 })], any, true);
  listing.release(list);
  assert.equal(shown(list), 't3 t2 t1');
  assert.equal(list.rows[0].errors, 1, 'the last word about it counts');
  assert.equal(list.waiting.size, 0);
});

test('what is not asked for stays away, and one that is waiting goes when it no longer matches', () => {
  const list = loaded();
  const failed = ({ errors }) => errors > 0;
  listing.change(list, [summary(1), summary(2, { errors: 1 })], failed, false);
  assert.equal(shown(list), 't2');
  listing.change(list, [summary(3, { errors: 1 })], failed, true);
  listing.change(list, [summary(3)], failed, true);
  assert.equal(list.waiting.size, 0);
});

test('an older word about a transaction is not taken', () => {
  const list = loaded(summary(1, { updated: 9, errors: 3 }));
  listing.change(list, [summary(1, { updated: 4 })], any, false);
  listing.load(list, { transactions: [summary(1, { updated: 5 })], next: 'c' }, false);
  assert.equal(list.rows.length, 1);
  assert.equal(list.rows[0].errors, 3);
  assert.equal(list.cursor, 'c');
});

test('a long list loses its oldest, and then has no next page', () => {
  const list = loaded();
  const many = Array.from({ length: listing.MOST_ROWS }, (_, k) => summary(k));
  listing.load(list, { transactions: many, next: 'more' }, true);
  assert.equal(list.cursor, 'more');
  listing.change(list, [summary(listing.MOST_ROWS)], any, false);
  assert.equal(list.rows.length, listing.MOST_ROWS);
  assert.equal(list.rows.at(-1).trace, 't1');
  assert.ok(!list.byTrace.has('t0'));
  assert.equal(list.cursor, null);
});
