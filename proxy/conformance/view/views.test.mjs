// The graph, the channels, and messages without a trace.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { report, request, span, id, unfollowed } from './otlp.mjs';
import { ago, browser, forAllTests, picture, program, send, startProgram } from './stage.mjs';

forAllTests();

const box = (page, name) => page.locator(`.node[data-node="${name}"]`);

test('views say what to do as long as nothing has arrived', async () => {
  for (const [place, heading] of [
    ['#/graph', 'Nothing has arrived yet'],
    ['#/channels', 'Nothing has arrived yet'],
    ['#/untraced', 'None'],
  ]) {
    const page = await browser.open(program, place);
    await page.getByRole('heading', { name: heading, exact: true }).waitFor();
    await page.close();
  }
});

test('services and channels stand from left to right, as messages go, and the way back is drawn', async () => {
  for (let k = 0; k < 6; k += 1) await send(program, report(ago(6 - k), { fails: k === 2 }).body);
  const page = await browser.open(program, '#/graph');
  await box(page, 'service worker-mail').waitFor();
  const x = async (name) => (await box(page, name).boundingBox()).x;
  assert.ok((await x('service api')) < (await x('channel reports')));
  assert.ok((await x('channel reports')) < (await x('service worker-chart')));
  assert.ok((await x('service worker-chart')) < (await x('channel reports.done')));
  assert.equal(await page.locator('path.edge-line').count(), 6, 'requests in, two publishes, three deliveries');
  assert.match(await box(page, 'service worker-mail').textContent(), /1 error/);
  assert.equal(
    await page.locator('.edge.is-inferred .edge-line').count(),
    2,
    'publishes whose parents are all inferred are dashed',
  );
  await page.close();
});

test('the table below the graph says all in words', async () => {
  const page = await browser.open(program, '#/graph');
  const rows = page.getByRole('region', { name: 'Connections' }).locator('tbody tr');
  await rows.first().waitFor();
  const words = await rows.locator('th').allTextContents();
  for (const expected of [
    'api publishes to reports',
    'reports delivers to worker-chart',
    'reports.done delivers to api',
    'api sends commands to Redis',
  ]) {
    assert.ok(words.includes(expected), `${expected} in ${words}`);
  }
  const delivery = rows.filter({ hasText: 'reports delivers to worker-chart' });
  assert.match(await delivery.textContent(), /6.*87\.46 ms/);
  await page.close();
});

test('a node shows what it is connected with, and leads to its transactions', async () => {
  const page = await browser.open(program, '#/graph');
  await box(page, 'channel reports.done').hover();
  await page.locator('.is-pointed').waitFor();
  assert.equal(await page.locator('.node.is-near').count(), 3, 'the channel, its publisher and its receiver');
  await box(page, 'service worker-mail').click();
  await page.waitForURL(/#\/transactions\?service=worker-mail$/);
  await page.locator('.transaction').first().waitFor();
  await page.close();
});

test('channels tell who publishes, who receives, and how both counts compare', async () => {
  await send(program, unfollowed(ago(2), 'user:{id}', 3, 'auto_unproxied').body);
  const page = await browser.open(program, '#/channels');
  const row = (name) => page.locator('tbody tr').filter({ has: page.locator('th', { hasText: new RegExp(`^${name}$`) }) });
  await row('reports').waitFor();
  const text = async (name) => (await row(name).locator('td').allTextContents()).slice(0, 7);
  const [publishers, receivers, messages, said, seen, verdict, skipped] = await text('reports');
  assert.equal(publishers, 'api6');
  assert.match(receivers, /worker-chart6.*worker-mail6/);
  assert.deepEqual([messages, said, seen, skipped], ['6', '12', '12', 'none']);
  assert.match(verdict, /^all seen/);
  const lonely = await text('user:\\{id\\}');
  assert.deepEqual(lonely.slice(1, 5), ['nobody seen', '1', '3', '0']);
  assert.match(lonely[5], /^3 not seen/);
  assert.match(lonely[6], /auto_unproxied/);
  await page.getByLabel('Find a channel').fill('mail');
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1);
  await page.close();
});

test('messages without a trace are listed with the reason, and lead to their publish', async () => {
  const { trace, body } = unfollowed(ago(1), 'audit', 1, 'size');
  await send(program, body);
  const page = await browser.open(program, '#/untraced');
  await page.getByRole('heading', { name: 'size', exact: true }).waitFor();
  assert.match(await page.locator('.reason', { hasText: 'auto_unproxied' }).textContent(), /behind a redistributed/);
  const row = page.locator('tbody tr').first();
  assert.match(await row.textContent(), /api.*audit.*size/);
  await row.getByRole('link', { name: /Show the publish/ }).click();
  await page.waitForURL(new RegExp(`#/trace/${trace}/`));
  await page.getByText('The message is not followed from here').waitFor();
  await page.close();
});

test('views follow what happens', async () => {
  const page = await browser.open(program, '#/channels');
  await page.locator('tbody tr').first().waitFor();
  const start = ago(0);
  await send(program, unfollowed(start, 'brand-new', 1, 'mode').body);
  await page.locator('tbody tr', { hasText: 'brand-new' }).waitFor();
  await page.close();
});

for (const theme of ['light', 'dark']) {
  test(`pictures of the views, ${theme}`, async () => {
    for (const [view, ready] of [
      ['graph', '.node'],
      ['channels', 'tbody tr'],
      ['untraced', 'tbody tr'],
    ]) {
      const page = await browser.open(program, `#/${view}`, { theme });
      await page.locator(ready).first().waitFor();
      await picture(page, `${view}-${theme}`);
      await page.close();
    }
  });
}

test('a graph of sixty nodes can be read: no box covers another', async () => {
  const fleet = await startProgram();
  const spans = {};
  const start = ago(5);
  for (let k = 0; k < 30; k += 1) {
    const trace = id(32);
    const from = `service-${k}`;
    const channel = `events.${k}`;
    const own = id(16);
    const attributes = { 'messaging.system': 'redis', 'messaging.destination.name': channel };
    (spans[from] ??= []).push(
      span(start, {
        trace,
        own,
        name: `publish ${channel}`,
        kind: 'producer',
        took: 300,
        attributes: { ...attributes, 'messaging.operation.type': 'send', 'redis.pubsub.receivers': 2 },
      }),
    );
    for (const to of [Math.floor(k / 2), (k * 7 + 1) % 30]) {
      (spans[`service-${to}`] ??= []).push(
        span(start, {
          trace,
          parent: own,
          name: `process ${channel}`,
          kind: 'consumer',
          from: 400,
          took: 900,
          attributes: { ...attributes, 'messaging.operation.type': 'process' },
        }),
      );
    }
  }
  await send(fleet, request(spans));
  const page = await browser.open(fleet, '#/graph');
  await page.locator('.node').nth(59).waitFor();
  const boxes = await page.locator('.node .node-box').evaluateAll((all) =>
    all.map((one) => {
      const { left, right, top, bottom } = one.getBoundingClientRect();
      return { left, right, top, bottom };
    }),
  );
  for (const [k, a] of boxes.entries()) {
    for (const b of boxes.slice(k + 1)) {
      assert.ok(a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top, JSON.stringify([a, b]));
    }
  }
  const size = await page
    .locator('.node-name')
    .first()
    .evaluate((name) => name.getBoundingClientRect().height);
  assert.ok(size > 7, `names are ${size} pixels high`);
  await picture(page, 'graph-sixty-light');
  await page.close();
  await fleet.stop();
});
