// A transaction is saved in both forms and opened again, also by a file that falls onto the page; and what is no trace is refused.
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { report } from './otlp.mjs';
import { ago, browser, forAllTests, program, send, startProgram, waterfall } from './stage.mjs';

let folder;
forAllTests(async () => {
  folder = await mkdtemp(join(tmpdir(), 'view-files-'));
});
after(() => rm(folder, { recursive: true }));

for (const [button, key] of [
  ['Jaeger JSON', 'data'],
  ['OTLP JSON', 'resourceSpans'],
]) {
  test(`what is saved as ${button} looks the same when it is opened elsewhere`, async () => {
    const { trace, body } = report(ago(10), { fails: true });
    await send(program, body);
    const page = await browser.open(program, `#/trace/${trace}`);
    await page.locator('.waterfall .rows .span').nth(8).waitFor();
    const rows = await waterfall(page);
    // Jaeger's form counts in whole microseconds.
    const expected = key === 'data' ? rows.map((row) => (row.took === '812 ns' ? { ...row, took: '0 µs' } : row)) : rows;
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: button }).click()]);
    assert.match(download.suggestedFilename(), new RegExp(`^trace-${trace}\\.${button.split(' ')[0].toLowerCase()}\\.json$`));
    const path = join(folder, download.suggestedFilename());
    await download.saveAs(path);
    assert.ok(Array.isArray(JSON.parse(await readFile(path, 'utf8'))[key]));
    await page.close();

    const elsewhere = await startProgram();
    const empty = await browser.open(elsewhere);
    await empty.getByRole('heading', { name: 'Nothing has arrived yet' }).waitFor();
    const [chooser] = await Promise.all([
      empty.waitForEvent('filechooser'),
      empty.getByRole('button', { name: 'Open a trace' }).click(),
    ]);
    await chooser.setFiles(path);
    await empty.waitForURL(new RegExp(`#/trace/${trace}`));
    await empty.locator('.waterfall .rows .span').nth(8).waitFor();
    assert.deepEqual(await waterfall(empty), expected);
    await empty.close();
    await elsewhere.stop();
  });
}

test('a file that falls onto the page is opened', async () => {
  const { trace, body } = report(ago(5));
  const page = await browser.open(program);
  const data = await page.evaluateHandle((text) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([text], 'saved.json', { type: 'application/json' }));
    return transfer;
  }, JSON.stringify(body));
  await page.dispatchEvent('main', 'drop', { dataTransfer: data });
  await page.waitForURL(new RegExp(`#/trace/${trace}`));
  await page.close();
});

test('what is no trace is refused with a sentence that stays', async () => {
  const path = join(folder, 'other.json');
  await writeFile(path, '{"not": "a trace"}');
  const page = await browser.open(program);
  await page.locator('#file').setInputFiles(path);
  const notice = page.locator('#notice.is-error');
  await notice.waitFor();
  assert.ok((await notice.textContent()).length > 20, 'it says what is wrong');
  browser.forgive(/400/);
  await notice.getByRole('button', { name: 'Close the message' }).click();
  assert.ok(await notice.isHidden());
  await page.close();
});
