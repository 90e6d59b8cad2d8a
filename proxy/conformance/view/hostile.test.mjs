// Text from elsewhere is shown as text: markup, turned directions, control characters and names without end, in every view.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hostile } from './otlp.mjs';
import { ago, browser, forAllTests, picture, program, send, waterfall } from './stage.mjs';

let evil;
forAllTests(async () => {
  evil = hostile(ago(2));
  await send(program, evil.body);
});

const assertHarmless = async (page, view) => {
  assert.equal(await page.evaluate(() => window.harmed), undefined, view);
  assert.equal(await page.locator('main img, main script, main iframe').count(), 0, view);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(wide <= 0, `${view} is ${wide} pixels too wide`);
};

test('names in the list are text, cut, and their unseen characters are shown', async () => {
  const page = await browser.open(program);
  await page.locator('.transaction').first().waitFor();
  assert.equal(await page.locator('.transaction .name').first().textContent(), evil.MARKUP);
  assert.match(await page.locator('.transaction').first().textContent(), /שלום עולם ⟨U\+202E⟩gnp\.exe|\+\d/);
  await assertHarmless(page, 'the list');
  await page.getByLabel('Service', { exact: true }).fill(evil.MARKUP);
  await page.waitForURL(/service=%3Cimg/);
  await page.locator('.transaction').first().waitFor();
  await page.close();
});

test('spans are text in the waterfall, and circles and missing parents are shown', async () => {
  const page = await browser.open(program, `#/trace/${evil.trace}`);
  await page.locator('.waterfall .rows .span').nth(5).waitFor();
  const rows = await waterfall(page);
  assert.equal(rows.length, 6, 'every span is shown once');
  assert.equal(rows[0].name, evil.MARKUP);
  assert.equal(rows[0].note, evil.MARKUP.slice(0, 60) + (evil.MARKUP.length > 60 ? '…' : ''));
  const unseen = rows.find(({ name }) => name.startsWith('a⟨'));
  assert.equal(unseen.name, 'a⟨U+0000⟩b⟨U+001B⟩[31mred⟨U+000A⟩line⟨U+0007⟩⟨U+200B⟩');
  assert.ok(rows.some(({ name }) => name === 'שלום עולם ⟨U+202E⟩gnp.exe'));
  assert.ok(rows.every(({ name, service }) => name.length < 400 && service.length < 100));
  assert.match(await page.locator('.span', { hasText: 'a⟨U+0000⟩' }).textContent(), /parent missing/);
  assert.ok(
    rows.some(({ name, level }) => name === 'circle b' && level === 2) ||
      rows.some(({ name, level }) => name === 'circle a' && level === 2),
  );
  await assertHarmless(page, 'the waterfall');
  await page.close();
});

test('every value in the details is text, and a long one is shown in part until it is asked for', async () => {
  const page = await browser.open(program, `#/trace/${evil.trace}/${evil.ids[0]}`);
  const details = page.locator('.details');
  await details.getByRole('heading', { level: 2 }).waitFor();
  const text = await details.textContent();
  assert.ok(text.split(evil.MARKUP).length > 8, 'the name, the failure, an event, a link, a key and a value');
  assert.match(text, /list\s*\[1,"<img/);
  const all = details.getByRole('button', { name: 'all 9,000 characters' });
  await all.click();
  assert.ok((await details.textContent()).includes('very-long-name-'.repeat(600)));
  await details.getByText('Service and process').click();
  await assertHarmless(page, 'the details');
  await picture(page, 'hostile-light');
  await page.close();
});

test('the other views show it as text as well', async () => {
  for (const [view, ready] of [
    ['graph', '.node'],
    ['channels', 'tbody tr'],
    ['untraced', 'tbody tr'],
  ]) {
    const page = await browser.open(program, `#/${view}`, { theme: 'dark' });
    await page.locator(ready).first().waitFor();
    assert.ok((await page.locator('main').textContent()).includes('<img src=x'), view);
    await assertHarmless(page, view);
    await picture(page, `hostile-${view}-dark`);
    await page.close();
  }
});

test('a hostile address of the page is no way in', async () => {
  for (const place of [
    '#/transactions?text=<img src=x onerror=window.harmed=1>',
    '#/trace/<script>window.harmed=1</script>',
    '#/graph"><img src=x onerror=window.harmed=1>',
  ]) {
    const page = await browser.open(program, place);
    await page.locator('main .page').waitFor();
    await assertHarmless(page, place);
    await page.close();
  }
});
