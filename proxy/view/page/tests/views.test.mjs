import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './page.mjs';

const { scale, rows, colours, channels, scatter, pieces } = load(
  'format',
  'route',
  'scale',
  'colours',
  'dom',
  'rows',
  'pieces',
  'scatter',
  'channels',
);

test('marks of a ruler are 1, 2 or 5 times a power of ten, at most as many as there is room for', () => {
  assert.deepEqual(scale.ticks(0, 91_390, 8), { distance: 20_000, all: [0, 20_000, 40_000, 60_000, 80_000] });
  assert.deepEqual(scale.ticks(-300, 5_000, 3).all, [0, 2_000, 4_000]);
  for (const length of [0.001, 0.37, 1, 812.5, 1e5, 3.6e9, 7e11]) {
    const { distance, all } = scale.ticks(0, length, 8);
    assert.ok(all.length >= 2 && all.length <= 10, `${length}: ${all}`);
    assert.ok(
      [1, 2, 5].includes(Number((distance / 10 ** Math.floor(Math.log10(distance) + 1e-9)).toPrecision(3))),
      `${length}: ${distance}`,
    );
  }
});

test('marks have the decimals that tell neighbours apart', () => {
  assert.equal(scale.label(20_000, 20_000), '20 ms');
  assert.equal(scale.label(1_250_000, 50_000), '1.25 s');
  assert.equal(scale.label(0.5, 0.1), '500 ns');
  assert.equal(scale.label(-300, 100), '−300 µs');
  assert.equal(scale.label(0, 1), '0');
});

test('a view stays within the transaction', () => {
  assert.deepEqual(scale.within({ from: -50, to: 20 }, 0, 100), { from: 0, to: 70 });
  assert.deepEqual(scale.within({ from: 90, to: 140 }, 0, 100), { from: 50, to: 100 });
  assert.deepEqual(scale.within({ from: -1_000, to: 2_000 }, 0, 100), { from: 0, to: 100 });
  const narrow = scale.within({ from: 5, to: 5 }, 0, 100);
  assert.ok(narrow.to > narrow.from);
});

test('zooming keeps the time under the pointer where it is', () => {
  const view = scale.zoomed({ from: 0, to: 100 }, 0.5, 25);
  assert.deepEqual(view, { from: 12.5, to: 62.5 });
  assert.equal((25 - view.from) / (view.to - view.from), 0.25);
});

test('only rows in sight are made, also at both ends', () => {
  assert.deepEqual(rows.range(0, 600, 25, 100_000, 8), { first: 0, end: 32 });
  assert.deepEqual(rows.range(1_250_000, 600, 25, 100_000, 8), { first: 49_992, end: 50_032 });
  assert.deepEqual(rows.range(2_499_400, 600, 25, 100_000, 8), { first: 99_968, end: 100_000 });
  assert.deepEqual(rows.range(9_000_000, 600, 25, 10, 8), { first: 2, end: 10 });
  assert.deepEqual(rows.range(0, 600, 25, 0, 8), { first: 0, end: 0 });
});

test('going to a row scrolls as little as possible when it is near, and into the middle when it is far', () => {
  const to = (row, top = 1_000) => rows.scrolled(top, 528, 28, 25, row);
  assert.equal(to(45), 1_000);
  assert.equal(to(39), 975);
  assert.equal(to(60), 1_025);
  assert.equal(to(1_000), 25_000 - 237.5);
  assert.equal(to(0, 20_000), 0);
});

test('a service keeps its colour, and twelve have twelve', () => {
  const palette = colours.create();
  const names = Array.from({ length: 12 }, (_, k) => `service-${k}`);
  const first = names.map((name) => colours.of(palette, name));
  assert.equal(new Set(first).size, 12);
  for (let k = 12; k < 40; k += 1) assert.ok(colours.of(palette, `service-${k}`) < colours.COLOURS);
  assert.deepEqual(
    names.map((name) => colours.of(palette, name)),
    first,
  );
  assert.equal(colours.of(colours.create(), 'api'), colours.of(colours.create(), 'api'));
});

test('receivers that Redis counts are held against deliveries that were seen', () => {
  const verdict = (said, seen, untraced = []) => channels.verdict({ receivers_said: said, deliveries_seen: seen, untraced });
  assert.equal(verdict(5, 5).words, 'all seen');
  assert.deepEqual([verdict(5, 3).kind, verdict(5, 3).words], ['warn', '2 not seen']);
  assert.match(verdict(5, 0, [{ reason: 'auto_unproxied', count: 1 }]).why, /not followed/);
  assert.equal(verdict(3, 5).words, '2 more seen');
  assert.equal(verdict(0, 0).words, 'nobody listened');
});

test('the drawing above the list has the oldest at its left and the slowest at its top', () => {
  const row = (start, us) => ({ start: String(start), duration_us: us, errors: 0, name: '', service: '' });
  const { dots } = scatter.layout([row(30_000_000_000n, 1_000), row(20_000_000_000n, 100_000), row(10_000_000_000n, 10)], 800);
  assert.ok(dots[0].x > dots[1].x && dots[1].x > dots[2].x);
  assert.ok(dots[1].y < dots[0].y && dots[0].y < dots[2].y);
});

const written = (spans) =>
  `{"summary":{"trace":"t"},"resources":[],"spans":[\n${spans.map((span) => JSON.stringify(span)).join(',\n')}\n]}`;

test('a transaction is read piece by piece, wherever it is cut', () => {
  const spans = Array.from({ length: 5_000 }, (_, k) => ({ id: k, name: `line\nfeed "${'x'.repeat(k % 400)}" }],[{` }));
  const text = written(spans);
  for (const size of [1_000_003, pieces.PIECE, 65_536, 4_099]) {
    const reader = pieces.create();
    let parts = 0;
    for (let at = 0; at < text.length; at += size) parts += Number(pieces.push(reader, text.slice(at, at + size)));
    assert.ok(parts >= 1, 'some of it was parsed before the end');
    assert.deepEqual(pieces.end(reader), { summary: { trace: 't' }, resources: [], spans });
  }
});

test('a small transaction, an empty one, and one without line feeds are read as well', () => {
  for (const text of [written([{ id: 1 }]), written([]), '{"summary":{"trace":"t"},"resources":[],"spans":[{"id":1}]}']) {
    const reader = pieces.create();
    pieces.push(reader, text);
    assert.deepEqual(pieces.end(reader), JSON.parse(text));
  }
  const one = JSON.stringify({ spans: [{ name: 'x'.repeat(2 * pieces.PIECE) }] });
  const reader = pieces.create();
  pieces.push(reader, one.slice(0, pieces.PIECE + 5));
  pieces.push(reader, one.slice(pieces.PIECE + 5));
  assert.deepEqual(pieces.end(reader), JSON.parse(one));
});

test('text that ends too early is an error, not half a transaction', () => {
  const text = written(Array.from({ length: 20_000 }, (_, k) => ({ id: k, name: 'x'.repeat(60) })));
  const reader = pieces.create();
  pieces.push(reader, text.slice(0, text.length - 30));
  assert.throws(() => pieces.end(reader), SyntaxError);
});
