// The pictures of the documents, of a viewer that shows the demo. `.ci/make-pictures` runs this:
//   node pictures.mjs URL TRACE FOLDER
// URL is that of the page, TRACE the transaction whose waterfall is shown. VIEW_BROWSER is Chromium.
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

const [url, trace, folder] = process.argv.slice(2);

// A window hardly wider than documents show a picture, with pixels that are dense enough for sharp text.
const WIDTH = 1_200;
const SCALE = 1.5;
// Higher than any of the pictures.
const HEIGHT = 1_600;
// One of the fonts that the page names, which .ci/make-pictures installs. Otherwise the pictures had the font of the machine that
// they are taken on.
const FONT = 'Inter';

// Opens a view in a window of this height, waits until it shows `what`, and hands the page to `use`.
const look = async (browser, { theme, place, height, what, width = WIDTH }, use) => {
  const context = await browser.newContext({
    viewport: { width, height },
    deviceScaleFactor: SCALE,
    colorScheme: theme,
    reducedMotion: 'reduce',
    locale: 'en-GB',
  });
  // Before anything is drawn, because the graph measures its texts.
  await context.addInitScript((font) => {
    document.addEventListener('DOMContentLoaded', () => document.documentElement.style.setProperty('--sans', font));
  }, FONT);
  const page = await context.newPage();
  await page.goto(`${url}${place}`);
  await page.locator(what).first().waitFor();
  // Away from what changes under a pointer.
  await page.mouse.move(3, 3);
  const used = await use(page);
  await context.close();
  return used;
};

const browser = await chromium.launch({
  executablePath: process.env.VIEW_BROWSER,
  args: ['--no-sandbox', '--disable-gpu', '--force-color-profile=srgb'],
});
for (const theme of ['light', 'dark']) {
  const shoot = (name, clip) => (page) => page.screenshot({ path: `${folder}/${name}-${theme}.png`, clip });
  const waterfall = { theme, place: `#/trace/${trace}`, what: '.waterfall .rows .span' };
  const rows = (page) => page.locator(waterfall.what).evaluateAll((all) => all.map((row) => row.getBoundingClientRect().bottom));
  const bottoms = await look(browser, { ...waterfall, height: HEIGHT }, rows);
  const bottom = Math.max(...bottoms);
  assert.ok(bottom < HEIGHT, `the waterfall is higher than ${HEIGHT} pixels`);
  await look(browser, { ...waterfall, height: Math.ceil(bottom) + 8 }, shoot('waterfall'));

  // A graph scrolls rather than become too small to be read, and the longer its times the wider it is.
  const graph = { theme, place: '#/graph', what: '.node', width: WIDTH + 80, height: 760 };
  await look(browser, graph, async (page) => {
    const cut = await page.locator('.graph-frame').evaluate((frame) => frame.scrollWidth - frame.clientWidth);
    assert.equal(cut, 0, 'the graph is cut off at the right');
    const drawn = await page
      .locator('.graph-drawing :is(.node, .edge)')
      .evaluateAll((all) => all.map((one) => one.getBoundingClientRect().bottom));
    await shoot('graph', { x: 0, y: 0, width: graph.width, height: Math.ceil(Math.max(...drawn)) + 24 })(page);
  });
}
await browser.close();
