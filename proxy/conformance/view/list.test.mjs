// The list of transactions: what stands in it, what is found, and that it does not move under a reader.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { report, request, span, id } from './otlp.mjs';
import { ago, browser, forAllTests, picture, program, send } from './stage.mjs';

forAllTests();

const names = (page) => page.locator('.transaction .name').allTextContents();
const other = (start, name, more = {}) => {
  const trace = id(32);
  return {
    trace,
    body: request({ [more.service ?? 'billing']: [span(start, { trace, name, kind: 'server', took: 250_000, ...more })] }),
  };
};

test('an empty viewer says what to do, and shows the first transaction by itself', async () => {
  const page = await browser.open(program);
  await page.getByRole('heading', { name: 'Nothing has arrived yet' }).waitFor();
  assert.match(await page.locator('.command code').first().textContent(), /redistributed run -- your-service/);
  await picture(page, 'empty-light');
  await send(program, report(ago(60)).body);
  await page.locator('.transaction').waitFor();
  assert.deepEqual(await names(page), ['POST /reports']);
  await page.close();
});

test('a row says when, who, what, how long, how many, and what is wrong', async () => {
  await send(program, report(ago(30), { fails: true }).body);
  const page = await browser.open(program);
  const row = page.locator('.transaction').first();
  await row.waitFor();
  assert.match(await row.locator('.when').textContent(), /^\d\d:\d\d:\d\d\.\d{3}$/);
  assert.match(await row.locator('time').getAttribute('title'), /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{9} UTC\+0[12]:00$/);
  assert.equal(await row.locator('.what').textContent(), 'apiPOST /reports');
  assert.equal(await row.locator('.took').textContent(), '91.40 ms');
  assert.equal(await row.locator('.spans').textContent(), '9');
  assert.match(await row.locator('.state').textContent(), /1 error.*4 inferred/);
  assert.match(await row.locator('.others').textContent(), /worker-chart.*worker-mail/);
  assert.deepEqual(await row.locator('.channel').allTextContents(), ['reports', 'reports.done']);
  await page.close();
});

test('each filter leaves what it names, and its link shows the same', async () => {
  await send(program, other(ago(20), 'GET /invoices').body);
  await send(program, other(ago(10), 'GET /slow', { took: 3_000_000 }).body);
  const page = await browser.open(program);
  await page.locator('.transaction').nth(3).waitFor();
  assert.deepEqual(await names(page), ['GET /slow', 'GET /invoices', 'POST /reports', 'POST /reports']);

  const becomes = async (expected, what) => {
    await page.waitForFunction(
      (wanted) => [...document.querySelectorAll('.transaction .name')].map((one) => one.textContent).join('|') === wanted,
      expected.join('|'),
    );
    const again = await browser.open(program, new URL(page.url()).hash);
    await again.locator('.transaction, .empty').first().waitFor();
    assert.deepEqual(await names(again), expected, what);
    await again.close();
    await page.getByRole('button', { name: 'Clear' }).click();
    await page.locator('.transaction').nth(3).waitFor();
  };
  await page.getByLabel('Service', { exact: true }).fill('billing');
  await becomes(['GET /slow', 'GET /invoices'], 'by service');
  await page.getByLabel('Channel', { exact: true }).fill('reports.done');
  await becomes(['POST /reports', 'POST /reports'], 'by channel');
  await page.getByLabel('At least').fill('1s');
  await becomes(['GET /slow'], 'by the least duration');
  await page.getByLabel('At most').fill('100ms');
  await becomes(['POST /reports', 'POST /reports'], 'by the greatest duration');
  await page.getByLabel('Errors only').check();
  await becomes(['POST /reports'], 'by errors');
  await page.keyboard.press('/');
  await page.keyboard.type('invoice');
  await becomes(['GET /invoices'], 'by text, which the slash leads to');
  await page.close();
});

test('a search without results says so, and a wrong duration is marked', async () => {
  const page = await browser.open(program, '#/transactions?service=nobody');
  await page.getByRole('heading', { name: 'Nothing is found' }).waitFor();
  await page.getByLabel('At least').fill('soon');
  await page.locator('input[name="min_us"][aria-invalid="true"]').waitFor();
  await page.close();
});

test('a pasted trace id leads to the transaction', async () => {
  const { trace, body } = report(ago(5));
  await send(program, body);
  const page = await browser.open(program);
  await page.getByLabel('Search by name, attribute or trace id').fill(trace.toUpperCase());
  await page.waitForURL(new RegExp(`#/trace/${trace}$`));
  await page.locator('.waterfall .span').nth(8).waitFor();
  await page.close();
});

test('what happens appears at once, unless somebody reads', async () => {
  const page = await browser.open(program);
  await page.locator('.transaction').first().waitFor();
  const count = await page.locator('.transaction').count();
  await send(program, other(ago(0), 'GET /first').body);
  await page.locator('.transaction', { hasText: 'GET /first' }).waitFor();
  assert.equal((await names(page))[0], 'GET /first');

  // The pointer rests on the second row; what comes now waits.
  const second = page.locator('.transaction').nth(1);
  await second.hover();
  const before = await second.boundingBox();
  const pointedAt = await second.getAttribute('data-trace');
  await send(program, other(ago(0), 'GET /second').body);
  const fresh = page.getByRole('button', { name: '1 new – show' });
  await fresh.waitFor();
  assert.equal(await page.locator('.transaction').count(), count + 1);
  const same = page.locator(`.transaction[data-trace="${pointedAt}"]`);
  assert.deepEqual(await same.boundingBox(), before, 'nothing has moved under the pointer');
  await fresh.click();
  await page.locator('.transaction', { hasText: 'GET /second' }).waitFor();
  assert.equal((await names(page))[0], 'GET /second');
  assert.ok(await fresh.isHidden());
  await page.close();
});

test('the list is gone through by keys, and Enter opens what is chosen', async () => {
  const page = await browser.open(program);
  await page.locator('.transaction').nth(2).waitFor();
  const third = await page.locator('.transaction').nth(2).getAttribute('data-trace');
  const grid = page.getByRole('grid', { name: 'Transactions, newest first' });
  await grid.focus();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  assert.equal(await grid.getAttribute('aria-activedescendant'), `transaction-${third}`);
  assert.equal(await page.locator('[aria-selected="true"]').getAttribute('data-trace'), third);
  await page.keyboard.press('Enter');
  await page.waitForURL(new RegExp(`#/trace/${third}`));
  await page.goBack();
  await page.locator('.transaction').first().waitFor();
  await page.close();
});

test('a long list is loaded as it is scrolled, and only rows in sight are made', async () => {
  const start = ago(3_600);
  const spans = Array.from({ length: 450 }, (_, k) =>
    span(start, { trace: id(32), name: `GET /page/${k}`, kind: 'server', from: k * 1_000, took: 500 }),
  );
  await send(program, request({ pages: spans }));
  const page = await browser.open(program, '#/transactions?service=pages');
  await page.locator('.transaction').first().waitFor();
  assert.equal((await names(page))[0], 'GET /page/449');
  await page.getByRole('grid').focus();
  const last = page.locator('.transaction .name', { hasText: /^GET \/page\/0$/ });
  for (let tries = 0; tries < 40 && !(await last.count()); tries += 1) {
    const rows = await page.getByRole('grid').getAttribute('aria-rowcount');
    await page.keyboard.press('End');
    if (!(await last.count()))
      await page.waitForFunction((known) => document.querySelector('.list').getAttribute('aria-rowcount') !== known, rows);
  }
  await last.waitFor();
  assert.equal(await page.getByRole('grid').getAttribute('aria-rowcount'), '451');
  assert.ok((await page.locator('.transaction').count()) < 80);
  await page.close();
});

for (const theme of ['light', 'dark']) {
  test(`pictures of the list, ${theme}`, async () => {
    const page = await browser.open(program, '', { theme });
    await page.locator('.transaction').nth(3).waitFor();
    await picture(page, `list-${theme}`);
    await page.keyboard.press('?');
    await page.getByRole('dialog', { name: 'Keys' }).waitFor();
    await picture(page, `keys-${theme}`);
    await page.close();
  });
}
