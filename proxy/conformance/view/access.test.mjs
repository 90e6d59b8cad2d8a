// Who uses keys, a screen reader, or sees colours differently: axe in every view, contrast by computation, the order of the focus,
// names of controls, and motion.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { report, unfollowed } from './otlp.mjs';
import { ago, browser, forAllTests, program, send } from './stage.mjs';

let axe;
let shown;
forAllTests(async () => {
  axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
  shown = report(ago(10), { fails: true, writer: { trace: 'd'.repeat(32), span: 'c'.repeat(16) } });
  await send(program, shown.body);
  await send(program, unfollowed(ago(5), 'user:{id}', 2, 'auto_unproxied').body);
});

const VIEWS = {
  list: ['', '.transaction'],
  waterfall: () => [`#/trace/${shown.trace}/${shown.ids.setex}`, '.details h2'],
  failure: () => [`#/trace/${shown.trace}/${shown.ids.hset}`, '.callout.is-error'],
  graph: ['#/graph', '.node'],
  channels: ['#/channels', 'tbody tr'],
  untraced: ['#/untraced', 'tbody tr'],
  search: ['#/transactions?service=nobody', '.empty'],
};
const openView = async (name, theme) => {
  const [place, ready] = typeof VIEWS[name] === 'function' ? VIEWS[name]() : VIEWS[name];
  const page = await browser.open(program, place, { theme });
  await page.locator(ready).first().waitFor();
  return page;
};

for (const theme of ['light', 'dark']) {
  test(`axe finds nothing in any view, ${theme}`, async () => {
    for (const name of [...Object.keys(VIEWS), 'keys']) {
      const page = await openView(name === 'keys' ? 'list' : name, theme);
      if (name === 'keys') await page.keyboard.press('?');
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => globalThis.axe.run(document));
      assert.deepEqual(
        violations.map(({ id, nodes }) => [id, nodes.map(({ html, failureSummary }) => [html.slice(0, 200), failureSummary])]),
        [],
        name,
      );
      await page.close();
    }
  });

  test(`text and drawings have contrast, ${theme}`, async () => {
    const page = await openView('list', theme);
    const colour = await page.evaluate(() => {
      const probe = document.body.appendChild(document.createElement('i'));
      const of = (name) => {
        probe.style.color = `var(--${name})`;
        return getComputedStyle(probe)
          .color.match(/[\d.]+/g)
          .map(Number);
      };
      const names = [
        'ground',
        'panel',
        'raised',
        'hover',
        'chosen',
        'warn-ground',
        'error-ground',
        'inferred-ground',
        'text',
        'muted',
        'line-strong',
        'accent',
        'accent-text',
        'error',
        'warn',
        'good',
        'inferred',
        ...Array.from({ length: 12 }, (_, k) => `service-${k}`),
      ];
      const all = Object.fromEntries(names.map((name) => [name, of(name)]));
      probe.remove();
      return all;
    });
    for (const [name, value] of Object.entries(colour))
      assert.equal(value.length, 3, `${name} is a colour without transparency: ${value}`);
    const light = ([r, g, b]) =>
      [r, g, b]
        .map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4))
        .reduce((sum, value, k) => sum + value * [0.2126, 0.7152, 0.0722][k], 0);
    const contrast = (a, b) => {
      const [dark, bright] = [light(colour[a]), light(colour[b])].sort((x, y) => x - y);
      return (bright + 0.05) / (dark + 0.05);
    };
    const hold = (least, fronts, backs) => {
      for (const front of fronts) {
        for (const back of backs)
          assert.ok(
            contrast(front, back) >= least,
            `${front} on ${back}: ${contrast(front, back).toFixed(2)} is less than ${least}`,
          );
      }
    };
    // WCAG 2.2, 1.4.3: text. 1.4.11: what is drawn and has a meaning.
    hold(4.5, ['text', 'muted'], ['ground', 'panel', 'raised', 'hover', 'chosen', 'warn-ground']);
    hold(4.5, ['accent', 'error', 'inferred', 'warn', 'good'], ['panel', 'hover', 'chosen']);
    hold(4.5, ['error'], ['error-ground', 'warn-ground', 'ground']);
    hold(4.5, ['inferred', 'text'], ['inferred-ground']);
    hold(4.5, ['accent-text'], ['accent']);
    hold(3, ['line-strong', 'accent', ...Array.from({ length: 12 }, (_, k) => `service-${k}`)], ['ground', 'panel', 'hover']);
    hold(
      2.6,
      Array.from({ length: 12 }, (_, k) => `service-${k}`),
      ['chosen', 'warn-ground'],
    );
    await page.close();
  });
}

test('the focus goes through the page in the order in which it is read, and can always be seen', async () => {
  const page = await openView('waterfall', 'light');
  // From wherever the focus is, once through the page and past its end, where it begins anew.
  let steps = [];
  for (let k = 0; k < 60; k += 1) {
    await page.keyboard.press('Tab');
    steps.push(
      await page.evaluate(() => {
        const element = document.activeElement;
        const { outlineStyle, outlineWidth } = getComputedStyle(element);
        const inner = element.querySelector('.is-active');
        const isSeen =
          (outlineStyle !== 'none' && outlineWidth !== '0px') ||
          getComputedStyle(element, '::after').content !== 'none' ||
          (inner && getComputedStyle(inner).outlineStyle !== 'none');
        return {
          name: element.getAttribute('aria-label') ?? element.textContent.trim().slice(0, 40),
          isSeen,
          isBody: element === document.body,
        };
      }),
    );
  }
  steps = steps.slice(steps.findIndex(({ name }) => name === 'Skip to the content'));
  const names = steps.map(({ name }) => name);
  const inOrder = [
    'Skip to the content',
    'Transactions',
    'Graph',
    'Channels',
    'Without a trace',
    'Open a trace',
    'Keys and signs',
    'Jaeger JSON',
    'OTLP JSON',
    'Copy the trace id',
    'Collapse or expand all',
    'Spans of the transaction',
    'Width of the names',
    'Copy a link to this span',
    'Close the details',
  ];
  const places = inOrder.map((name) => names.indexOf(name));
  assert.ok(
    places.every((place, k) => place >= 0 && (k === 0 || place > places[k - 1])),
    `${inOrder.map((name, k) => `${name} ${places[k]}`)} of ${names}`,
  );
  assert.deepEqual(
    steps.filter(({ isSeen, isBody }) => !isSeen && !isBody),
    [],
  );
  await page.close();
});

test('the link at the top leads past the head of the page', async () => {
  const page = await openView('list', 'light');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  assert.ok(await page.evaluate(() => document.querySelector('main').contains(document.activeElement)));
  await page.close();
});

test('keys of one character can be turned off', async () => {
  const page = await openView('list', 'light');
  await page.keyboard.press('2');
  await page.waitForURL(/#\/graph$/);
  await page.keyboard.press('?');
  const dialog = page.getByRole('dialog', { name: 'Keys' });
  await dialog.getByLabel('Keys of one character work everywhere on the page').uncheck();
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'hidden' });
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('3');
  await page.keyboard.press('?');
  assert.match(page.url(), /#\/graph$/);
  assert.ok(await dialog.isHidden());
  await page.close();
});

test("the theme is the system's until somebody chooses, and the choice is kept", async () => {
  const page = await openView('list', 'dark');
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await ground();
  await page.getByRole('button', { name: /^Colours: as the system/ }).click();
  const light = await ground();
  assert.notEqual(light, dark);
  await page.reload();
  await page.locator('.transaction').first().waitFor();
  assert.equal(await ground(), light);
  await page.getByRole('button', { name: /^Colours: light/ }).click();
  assert.equal(await ground(), dark);
  await page.close();
});

test('nothing moves for those who want that', async () => {
  const page = await openView('graph', 'light');
  const moving = await page.evaluate(
    () =>
      [...document.querySelectorAll('*')].filter((one) => {
        const { transitionDuration, transitionProperty, animationName } = getComputedStyle(one);
        return (
          animationName !== 'none' ||
          (transitionProperty !== 'none' && transitionDuration.split(', ').some((time) => time !== '0s'))
        );
      }).length,
  );
  assert.equal(moving, 0);
  await page.close();
});
