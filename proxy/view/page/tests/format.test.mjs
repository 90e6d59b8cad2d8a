import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './page.mjs';

const { format } = load('format');

test('a duration has three or four digits and the unit that fits', () => {
  const expected = [
    [0, '0 µs'],
    [0.001, '1 ns'],
    [0.812, '812 ns'],
    [0.9994, '999 ns'],
    [0.9996, '1.00 µs'],
    [9.994, '9.99 µs'],
    [9.996, '10.0 µs'],
    [99.96, '100 µs'],
    [812.4, '812 µs'],
    [999.4, '999 µs'],
    [999.6, '1.00 ms'],
    [6_500, '6.50 ms'],
    [87_460, '87.46 ms'],
    [99_996, '100.0 ms'],
    [999_949, '999.9 ms'],
    [999_951, '1.00 s'],
    [59_994_000, '59.99 s'],
    [59_996_000, '1 min 00 s'],
    [125_000_000, '2 min 05 s'],
    [3_600_000_000, '1 h 00 min'],
    [-300, '−300 µs'],
    [Number.NaN, '–'],
  ];
  for (const [us, text] of expected) assert.equal(format.duration(us), text, `${us} µs`);
});

test('a time since the start has digits that tell neighbours apart', () => {
  const expected = [
    [0, '0 µs'],
    [1_580, '1.58 ms'],
    [99_994, '99.99 ms'],
    [99_996, '100.00 ms'],
    [111_123, '111.12 ms'],
    [999_996, '1.0000 s'],
    [1_111_234, '1.1112 s'],
    [125_123_456, '125.123 s'],
    [-300_000, '−300.00 ms'],
    [3_600_000_000, '1 h 00 min'],
  ];
  for (const [us, text] of expected) assert.equal(format.offset(us), text, `${us} µs`);
});

test('nothing is rounded where all digits are shown', () => {
  assert.equal(format.exactDuration(87_460.123), '87,460.123 µs');
  assert.equal(format.exactDuration(-0.5), '−0.5 µs');
});

test('a typed duration is understood with and without a unit, and refused otherwise', () => {
  const expected = [
    ['250ms', 250_000],
    ['1.5 s', 1_500_000],
    ['80us', 80],
    ['80 µs', 80],
    ['.5', 500],
    ['2min', 120_000_000],
    ['7', 7_000],
    ['5ns', 0.005],
  ];
  for (const [text, us] of expected) assert.equal(format.parseDuration(text), us, text);
  for (const text of ['', 'ms', '-1ms', '1 year', '1e3', '1..2', '0x10']) assert.equal(format.parseDuration(text), null, text);
});

test('a duration that is shown can be typed', () => {
  for (const us of [1, 80, 6_500, 1_500_000]) assert.equal(format.parseDuration(format.duration(us)), us);
});

test('times keep their nanoseconds, which a number could not', () => {
  assert.equal(format.later('1764518282123456789', 0.001), '1764518282123456790');
  assert.match(format.exactTime('1764518282123456789'), /:02\.123456789 UTC[+−]\d\d:\d\d$/);
  assert.match(format.exactTime('1764518282000000007'), /\.000000007 /);
});

test('a time has its day unless it is that of today', () => {
  const ns = '1764518282123456789';
  const day = new Date(1764518282123);
  assert.match(format.time(ns, day), /^\d\d:\d\d:02\.123$/);
  assert.match(format.time(ns, new Date(day.getTime() + 3 * 86_400_000)), /^2025-1\d-\d\d \d\d:\d\d:02\.123$/);
});

test('later times come first, also where a number has fewer digits', () => {
  assert.deepEqual(['9', '10', '11', '8'].sort(format.newestFirst), ['11', '10', '9', '8']);
});

test('counts and rates are short and do not round to the next unit twice', () => {
  for (const [n, text] of [
    [999, '999'],
    [1_000, '1k'],
    [12_345, '12.3k'],
    [99_951, '100k'],
    [999_499, '999k'],
    [999_500, '1M'],
    [4_600_000, '4.6M'],
  ]) {
    assert.equal(format.compact(n), text, String(n));
  }
  for (const [perSecond, text] of [
    [0, '0/s'],
    [0.2, '12/min'],
    [0.005, '0.3/min'],
    [0.96, '1/s'],
    [4.25, '4.3/s'],
    [20.8, '21/s'],
    [12_000, '12k/s'],
  ]) {
    assert.equal(format.rate(perSecond), text, String(perSecond));
  }
  assert.equal(format.many(1, 'span'), '1 span');
  assert.equal(format.many(1_200, 'span'), '1,200 spans');
});

test('what cannot be seen in foreign text is shown', () => {
  assert.equal(format.visible('a\u0000b\u001b[31m\n'), 'a⟨U+0000⟩b⟨U+001B⟩[31m⟨U+000A⟩');
  assert.equal(format.visible('safe\u202Egnp.exe'), 'safe⟨U+202E⟩gnp.exe');
  assert.equal(format.visible('\u200bzero\u2066x\ufeff'), '⟨U+200B⟩zero⟨U+2066⟩x⟨U+FEFF⟩');
  assert.equal(format.visible('half \ud83d and \ude00, whole 😀'), 'half ⟨U+D83D⟩ and ⟨U+DE00⟩, whole 😀');
  assert.equal(format.visible('שלום 你好 família <b>'), 'שלום 你好 família <b>');
});

test('long text is cut, and half a character at the cut is shown as such', () => {
  assert.equal(format.clipped('abcdef', 6), 'abcdef');
  assert.equal(format.clipped('abcdefg', 6), 'abcdef…');
  assert.equal(format.clipped('ab😀', 3), 'ab⟨U+D83D⟩…');
});
