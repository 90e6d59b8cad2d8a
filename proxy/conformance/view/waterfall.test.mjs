// The waterfall: rows, order, times, what is inferred, links that can be followed, keys, and the details of a span.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { report, request, span, id } from './otlp.mjs';
import { ago, browser, forAllTests, picture, program, send, waterfall } from './stage.mjs';

let earlier;
let shown;
forAllTests(async () => {
  earlier = report(ago(20));
  await send(program, earlier.body);
  shown = report(ago(10), { fails: true, writer: { trace: earlier.trace, span: earlier.ids.request } });
  await send(program, shown.body);
});

const open = async (place, more) => {
  const page = await browser.open(program, place, more);
  await page.locator('.waterfall .rows .span').first().waitFor();
  return page;
};
const row = (page, name, k = 0) =>
  page
    .locator('.waterfall .rows .span')
    .filter({ has: page.locator('.span-name', { hasText: new RegExp(`^${name.replace(/\W/g, '\\$&')}$`) }) })
    .nth(k);
const active = (page) => page.locator('.waterfall .span.is-active .span-name').textContent();

test('rows stand as the transaction went, each with its start and its duration', async () => {
  const page = await open(`#/trace/${shown.trace}`);
  assert.deepEqual(
    (await waterfall(page)).map(({ level, service, name, start, took, note }) => [level, service, name, start, took, note]),
    [
      [1, 'api', 'POST /reports', '0 µs', '6.50 ms', '202'],
      [2, 'api', 'publish reports', '1.58 ms', '590 µs', 'inferred: alone, 2 receivers'],
      [3, 'worker-chart', 'process reports', '2.30 ms', '87.46 ms', ''],
      [4, 'worker-chart', 'SET report:*', '87.25 ms', '940 µs', 'inferred: token'],
      [4, 'worker-chart', 'publish reports.done', '89.40 ms', '370 µs', 'inferred: token, 1 receiver'],
      [5, 'api', 'process reports.done', '89.87 ms', '1.53 ms', ''],
      [3, 'worker-mail', 'process reports', '2.41 ms', '3.20 ms', ''],
      [4, 'worker-mail', 'HSET', '2.90 ms', '310 µs', 'WRONGTYPE'],
      [2, 'api', 'SETEX', '3.99 ms', '812 ns', 'inferred: token'],
    ],
  );
  assert.equal(await page.locator('.trace-title h1').textContent(), 'apiPOST /reports');
  assert.match(
    await page.locator('.trace-facts').textContent(),
    new RegExp(`${shown.trace}.*91\\.40 ms.*9 spans.*3 services.*1 error.*4 inferred`),
  );
  await page.close();
});

test('bars stand where their times are, on the scale of the ruler', async () => {
  const page = await open(`#/trace/${shown.trace}`);
  const line = await page.locator('.waterfall .rows .line').first().boundingBox();
  const part = async (name, k) => {
    const box = await row(page, name, k).locator('.bar').boundingBox();
    return [((box.x - line.x) / line.width) * 91.4, ((box.x + box.width - line.x) / line.width) * 91.4];
  };
  const near = (actual, expected) =>
    actual.forEach((ms, k) => assert.ok(Math.abs(ms - expected[k]) < 0.5, `${actual} for ${expected} ms`));
  near(await part('POST /reports'), [0, 6.5]);
  near(await part('process reports'), [2.3, 89.76]);
  near(await part('process reports.done'), [89.87, 91.4]);
  const ticks = await page.locator('.ruler .tick').allTextContents();
  assert.deepEqual([ticks[0], ticks.at(-1)], ['0', '80 ms']);
  const tick = await page.locator('.ruler .tick', { hasText: '40 ms' }).boundingBox();
  assert.ok(Math.abs(((tick.x - line.x) / line.width) * 91.4 - 40) < 0.5, 'the ruler has the scale of the bars');
  const mark = await row(page, 'process reports').locator('.mark');
  assert.equal(await mark.getAttribute('title'), 'handed over after 88.0 µs');
  await page.close();
});

test('what is inferred looks different from what is known, and a failure is told by more than its colour', async () => {
  const page = await open(`#/trace/${shown.trace}`);
  const border = (locator) => locator.evaluate((bar) => getComputedStyle(bar).borderTopStyle);
  assert.equal(await border(row(page, 'SETEX').locator('.bar')), 'dashed');
  assert.equal(await border(row(page, 'process reports').locator('.bar')), 'none');
  assert.equal(await row(page, 'SETEX').locator('.guides .is-inferred').count(), 1);
  assert.equal(await row(page, 'process reports').locator('.guides .is-inferred').count(), 0);
  assert.match(await row(page, 'HSET').textContent(), /error/);
  assert.equal(
    await row(page, 'HSET')
      .locator('.bar')
      .evaluate((bar) => getComputedStyle(bar).outlineStyle),
    'solid',
  );
  await row(page, 'SETEX').click();
  assert.match(
    await page.locator('.callout.is-inferred').textContent(),
    /The parent is inferred, by the rule token.*only this cause has/,
  );
  await page.close();
});

test('the details tell what is known of a span, to the nanosecond', async () => {
  const page = await open(`#/trace/${shown.trace}`);
  await row(page, 'HSET').click();
  const details = page.getByRole('complementary', { name: 'Details of the span' });
  await details.getByRole('heading', { name: 'HSET' }).waitFor();
  const text = await details.textContent();
  assert.match(text, /Failed.*WRONGTYPE/);
  assert.match(text, /db\.operation\.name\s*HSET/);
  assert.match(text, /Parentworker-mail process reports/);
  await row(page, 'SETEX').click();
  assert.equal(await details.locator('.facts .number').textContent(), '812 ns');
  assert.equal(await details.locator('.facts .number').getAttribute('title'), '0.812 µs');
  await details.getByText('Service and process').click();
  assert.match(await details.textContent(), /telemetry\.sdk\.languagerust/);
  await picture(page, 'details-light');
  await page.close();
});

test('links are followed in both directions, by their addresses', async () => {
  const page = await open(`#/trace/${shown.trace}/${shown.ids.setex}`);
  const links = page.locator('.links li');
  assert.match(await links.nth(0).textContent(), /^Written by /);
  assert.match(await links.nth(1).textContent(), /which is not kept here/);
  assert.equal(await links.nth(1).locator('a').count(), 0);
  await links.nth(0).locator('a').click();
  await page.waitForURL(new RegExp(`#/trace/${earlier.trace}/${earlier.ids.request}$`));
  await page.getByRole('heading', { name: 'POST /reports', level: 2 }).waitFor();
  assert.equal(await active(page), 'POST /reports');
  const back = page.locator('.links li');
  assert.match(await back.textContent(), /^Linked from /);
  await back.locator('a').click();
  await page.getByRole('heading', { name: 'SETEX', level: 2 }).waitFor();
  await page.goBack();
  await page.getByRole('heading', { name: 'POST /reports', level: 2 }).waitFor();
  await page.close();
});

test('a parent is one click away, also when it is closed away', async () => {
  const page = await open(`#/trace/${shown.trace}/${shown.ids.set}`);
  await row(page, 'publish reports').locator('.toggle').click();
  assert.equal(await page.locator('.waterfall .rows .span').count(), 3);
  assert.match(await row(page, 'publish reports').textContent(), /1 below.*\+6/);
  await page.goto(`${program.url}#/trace/${shown.trace}/${shown.ids.back}`);
  await page.getByRole('heading', { name: 'process reports.done', level: 2 }).waitFor();
  assert.equal(await page.locator('.waterfall .rows .span').count(), 9, 'what was closed above it is open');
  await page.locator('.facts a', { hasText: 'publish reports.done' }).click();
  assert.equal(await active(page), 'publish reports.done');
  await page.close();
});

test('everything is reached by keys, and a screen reader is told where one is', async () => {
  const page = await open(`#/trace/${shown.trace}`);
  const grid = page.getByRole('treegrid', { name: 'Spans of the transaction' });
  assert.ok(await grid.evaluate((element) => element === document.activeElement), 'the keys work at once');
  const press = async (keys, expected) => {
    for (const key of keys.split(' ')) await page.keyboard.press(key);
    assert.equal(await active(page), expected, keys);
    const id = await grid.getAttribute('aria-activedescendant');
    assert.equal(await page.locator(`#${id} .span-name`).textContent(), expected);
  };
  await press('ArrowDown ArrowDown', 'process reports');
  await press('ArrowLeft', 'process reports');
  assert.equal(await page.locator('.is-active').getAttribute('aria-expanded'), 'false');
  await press('ArrowLeft', 'publish reports');
  await press('ArrowRight', 'process reports');
  await press('ArrowRight ArrowRight', 'SET report:*');
  await press('End', 'SETEX');
  await press('Home', 'POST /reports');
  await press('e', 'HSET');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'HSET', 'the heading of the details has the focus');
  await page.keyboard.press('Escape');
  assert.ok(await page.locator('.details').isHidden());
  assert.ok(await grid.evaluate((element) => element === document.activeElement));
  await page.keyboard.press('*');
  assert.deepEqual(
    (await waterfall(page)).map(({ name }) => name),
    ['POST /reports', 'publish reports', 'SETEX'],
  );
  await page.keyboard.press('*');
  await page.close();
});

test('a part of the time is looked at by dragging over the strip, and by keys', async () => {
  const page = await open(`#/trace/${shown.trace}`);
  const strip = await page.locator('.minimap').boundingBox();
  await page.mouse.move(strip.x + strip.width * 0.95, strip.y + 20);
  await page.mouse.down();
  await page.mouse.move(strip.x + strip.width * 0.999, strip.y + 20, { steps: 4 });
  await page.mouse.up();
  const ticks = page.locator('.ruler .tick');
  assert.match(await ticks.first().textContent(), /^8[67]\.?\d* ms$/);
  const bar = await row(page, 'SET report:*').locator('.bar').boundingBox();
  assert.ok(bar.width > 100, `the command is ${bar.width} pixels wide`);
  assert.equal(await row(page, 'SETEX').locator('.outside').textContent(), '◂');
  await page.locator('.waterfall').focus();
  await page.keyboard.press('0');
  assert.equal(await ticks.first().textContent(), '0');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('z');
  assert.equal(await page.locator('.is-active .span-name').textContent(), 'publish reports');
  const zoomed = await row(page, 'publish reports').locator('.bar').boundingBox();
  assert.ok(zoomed.width > 500, `the publish is ${zoomed.width} pixels wide`);
  await page.close();
});

test('words are found in the transaction, and Enter goes from one to the next', async () => {
  const page = await open(`#/trace/${shown.trace}`);
  await page.keyboard.press('/');
  await page.keyboard.type('reports.done');
  await page.locator('.found-count', { hasText: '2' }).waitFor();
  assert.equal(await page.locator('.span.is-found').count(), 2);
  await page.keyboard.press('Enter');
  assert.equal(await active(page), 'publish reports.done');
  await page.keyboard.press('Enter');
  assert.equal(await active(page), 'process reports.done');
  assert.equal(await page.locator('.found-count').textContent(), '2 of 2');
  await page.keyboard.press('Enter');
  assert.equal(await active(page), 'publish reports.done');
  await page.close();
});

test('more spans of the same transaction are announced, and shown when a reader wants them', async () => {
  const { trace, ids, body } = report(ago(3));
  await send(program, body);
  const page = await open(`#/trace/${trace}`);
  await row(page, 'publish reports').locator('.toggle').click();
  await send(
    program,
    request({ late: [span(ago(3), { trace, own: id(16), parent: ids.setex, name: 'GET late', from: 95_000, took: 10 })] }),
  );
  await page.getByRole('button', { name: '1 more span – show' }).click();
  await row(page, 'GET late').waitFor();
  assert.equal(await row(page, 'process reports').count(), 0, 'what was closed stays closed');
  await page.close();
});

test('a transaction that is not kept, and one that is no trace id, say so', async () => {
  const page = await browser.open(program, `#/trace/${'0'.repeat(31)}1`);
  await page.getByRole('heading', { name: 'This transaction is not kept' }).waitFor();
  browser.forgive(/404/);
  await page.goto(`${program.url}#/trace/nonsense`);
  await page.locator('.transaction').first().waitFor();
  await page.close();
});

for (const theme of ['light', 'dark']) {
  test(`pictures of the waterfall, ${theme}`, async () => {
    const page = await open(`#/trace/${shown.trace}`, { theme });
    await picture(page, `waterfall-${theme}`);
    await row(page, 'HSET').click();
    await picture(page, `failure-${theme}`);
    await page.close();
    const narrow = await open(`#/trace/${shown.trace}/${shown.ids.setex}`, { theme, width: 700 });
    await picture(narrow, `narrow-${theme}`);
    await narrow.close();
  });
}
