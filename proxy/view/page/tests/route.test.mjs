import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './page.mjs';

const { route } = load('format', 'route');
const TRACE = '0123456789abcdef0123456789abcdef';

test('a place survives being written as a link', () => {
  const query = { text: 'a&b=c #?', service: 'api', channel: 'reports/{id}', min_us: '80', errors: '1' };
  assert.deepEqual(route.parse(route.transactions(query)), { page: 'transactions', query });
  assert.deepEqual(route.parse(route.trace(TRACE, '00000000000000ff')), { page: 'trace', trace: TRACE, span: '00000000000000ff' });
  assert.deepEqual(route.parse(route.trace(TRACE)), { page: 'trace', trace: TRACE, span: null });
});

test('a fragment that is not understood leads to the transactions', () => {
  for (const fragment of ['', '#', '#/', '#/nowhere', '#/trace/xyz', `#/trace/${TRACE}0`, '#/__proto__']) {
    assert.deepEqual(route.parse(fragment), { page: 'transactions', query: {} }, fragment);
  }
  assert.deepEqual(route.parse(`#/trace/${TRACE}/not-a-span`), { page: 'trace', trace: TRACE, span: null });
  assert.deepEqual(route.parse('#/transactions?min_us=soon&errors=yes&max_us=-1&evil=1'), { page: 'transactions', query: {} });
});

test('a pasted trace id or traceparent is told from words', () => {
  assert.deepEqual(route.traceIn(` ${TRACE.toUpperCase()} `), { trace: TRACE, span: null });
  assert.deepEqual(route.traceIn(`00-${TRACE}-00f067aa0ba902b7-01`), { trace: TRACE, span: '00f067aa0ba902b7' });
  for (const text of ['', 'POST /reports', TRACE.slice(1), `${TRACE}0`, `x${TRACE}`]) assert.equal(route.traceIn(text), null, text);
});

test('a summary that arrives is held against each filter', () => {
  const summary = { services: ['api', 'worker'], channels: ['reports'], errors: 0, duration_us: 500 };
  for (const query of [{}, { service: 'worker' }, { channel: 'reports' }, { min_us: '500' }, { max_us: '500' }])
    assert.ok(route.matches(summary, query));
  for (const query of [{ service: 'work' }, { channel: 'report' }, { min_us: '501' }, { max_us: '499' }, { errors: '1' }]) {
    assert.ok(!route.matches(summary, query), JSON.stringify(query));
  }
});
