// 100,000 spans of one transaction: all can be reached, few are in the document, and scrolling costs what it costs with 1,000.
// Times are printed for people. What is asserted are counts, and ratios of processor time within this run.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { large } from './otlp.mjs';
import { ago, browser, forAllTests, picture, program, send, waterfall } from './stage.mjs';

const SPANS = 100_000;
const FEW = 1_000;

let many;
let few;
const sendAll = async (n) => {
  let trace;
  for (const part of large(ago(30), n)) {
    await send(program, part.body);
    trace = part.trace;
  }
  return trace;
};
forAllTests(async () => {
  few = await sendAll(FEW);
  many = await sendAll(SPANS);
});

/** Opens a transaction and tells how long it took until the first rows stood there, and the longest time without an answer. */
const open = async (trace, theme) => {
  const page = await browser.open(program, '', { theme });
  await page.locator('.transaction').first().waitFor();
  await page.evaluate(() => {
    globalThis.stalls = [];
    new PerformanceObserver((list) => globalThis.stalls.push(...list.getEntries().map(({ duration }) => duration))).observe({
      type: 'longtask',
    });
  });
  const started = Date.now();
  await page.evaluate((place) => {
    location.hash = place;
  }, `#/trace/${trace}`);
  await page.locator('.waterfall .rows .span').first().waitFor();
  const took = Date.now() - started;
  const stall = await page.evaluate(() => Math.max(0, ...globalThis.stalls));
  return { page, took, stall };
};

/** Scrolls by a notch of a wheel, a hundred times, and tells the processor time of the page's thread in seconds. */
const wheel = async (page) => {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('Performance.enable', { timeDomain: 'threadTicks' });
  const busy = async () =>
    (await devtools.send('Performance.getMetrics')).metrics.find(({ name }) => name === 'TaskDuration').value;
  const begin = await busy();
  await page.evaluate(async () => {
    const grid = document.querySelector('.waterfall');
    for (let k = 0; k < 100; k += 1) {
      grid.scrollTop += 120;
      await new Promise(requestAnimationFrame);
    }
  });
  return (await busy()) - begin;
};

test('100,000 spans are shown, few of them are in the document, and the last is one key away', async (t) => {
  const { page, took, stall } = await open(many);
  t.diagnostic(`first rows of ${SPANS} spans after ${took} ms, the longest stall was ${Math.round(stall)} ms`);
  const grid = page.getByRole('treegrid');
  assert.equal(await grid.getAttribute('aria-rowcount'), String(SPANS + 1));
  assert.equal((await waterfall(page))[0].name, 'POST /import');
  assert.match(await page.locator('.trace-facts').textContent(), /100,000 spans.*10 errors/);
  assert.ok((await page.locator('.waterfall .rows .span').count()) < 100);
  await grid.focus();
  await page.keyboard.press('End');
  const last = page.locator('.waterfall .span.is-active');
  assert.equal(await last.getAttribute('aria-rowindex'), String(SPANS + 1));
  assert.ok(await last.isVisible());
  assert.ok((await page.locator('.waterfall .rows .span').count()) < 100);
  await picture(page, 'large-end-light');
  await page.close();
});

test('scrolling through 100,000 spans costs at most twice what it costs with 1,000', async (t) => {
  const small = await open(few);
  const before = await wheel(small.page);
  await small.page.close();
  const { page } = await open(many);
  const cost = await wheel(page);
  t.diagnostic(
    `100 notches of the wheel, in processor time: ${Math.round(before * 1_000)} ms with ${FEW} spans, ` +
      `${Math.round(cost * 1_000)} ms with ${SPANS}`,
  );
  assert.ok(cost < 2 * before, `${cost} s beside ${before} s`);
  await page.close();
});

test('the middle is found by words, by the next error, and closed and opened at once', async () => {
  const { page } = await open(many);
  await page.keyboard.press('/');
  await page.keyboard.type('OOM');
  await page.locator('.found-count', { hasText: /^10$/ }).waitFor();
  await page.keyboard.press('Enter');
  const active = page.locator('.waterfall .span.is-active');
  assert.match(await active.textContent(), /OOM/);
  const first = await active.getAttribute('data-span');
  await page.locator('.waterfall').focus();
  await page.keyboard.press('e');
  assert.notEqual(await active.getAttribute('data-span'), first);
  assert.match(await active.textContent(), /OOM/);
  await page.getByRole('button', { name: 'Collapse or expand all' }).click();
  assert.equal(await page.locator('.waterfall .rows .span').count(), 11, 'the first and its children');
  await page.getByRole('button', { name: 'Collapse or expand all' }).click();
  assert.equal(await page.getByRole('treegrid').getAttribute('aria-rowcount'), String(SPANS + 1));
  await page.close();
});

test('a picture of 100,000 spans', async () => {
  const { page } = await open(many, 'dark');
  await picture(page, 'large-dark');
  await page.close();
});
