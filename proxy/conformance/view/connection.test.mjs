// The page says when it has lost the program, and goes on when the program is back.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { report } from './otlp.mjs';
import { ago, Browser, picture, send, startProgram } from './stage.mjs';

let browser;
before(async () => {
  browser = await Browser.start();
});
after(() => browser.close());

test('a lost connection is said, and after it is back the page shows what was missed', async () => {
  let program = await startProgram();
  const port = new URL(program.url).port;
  await send(program, report(ago(30)).body);
  const page = await browser.open(program, '', { expectsLoss: true });
  await page.locator('.connection[data-state="live"]').waitFor();
  await page.locator('.transaction').waitFor();
  await program.stop();
  await page.getByRole('alert').filter({ hasText: 'The connection to the program is lost' }).waitFor();
  assert.equal(await page.locator('.connection .words').textContent(), 'Connection lost');
  assert.equal(await page.locator('.transaction').count(), 1, 'what was there can still be read');
  await picture(page, 'lost-light');

  program = await startProgram(Number(port));
  for (const seconds of [20, 10]) await send(program, report(ago(seconds)).body);
  await page.locator('.connection[data-state="live"]').waitFor();
  await page.locator('.transaction').nth(1).waitFor();
  assert.ok(await page.getByRole('alert').isHidden());
  await page.mouse.move(3, 3);
  await send(program, report(ago(0)).body);
  await page.locator('.transaction').nth(2).waitFor();
  await page.close();
  await program.stop();
});
