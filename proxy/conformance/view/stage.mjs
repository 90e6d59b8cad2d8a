// What each part of the kit stands on: the program with `view`, a browser that looks at it, and a watch on what must not happen.
// VIEW_PROGRAM is the program, VIEW_BROWSER Chromium, VIEW_SCREENSHOTS the folder for pictures.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { after, before } from 'node:test';
import { chromium } from 'playwright-core';

const { VIEW_PROGRAM, VIEW_BROWSER, VIEW_SCREENSHOTS } = process.env;

/** Milliseconds that anything may take before it is taken for lost. The machine may be busy. */
export const PATIENCE = 60_000;

/** Starts the program: `{url, otlp, stop()}`. `page` is the port of the page, 0 for any. */
export const startProgram = async (page = 0, more = []) => {
  const words = ['view', '--listen', `127.0.0.1:${page}`, '--otlp-http', '127.0.0.1:0', '--otlp-grpc', 'off', ...more];
  const child = spawn(VIEW_PROGRAM, words, { stdio: ['ignore', 'inherit', 'pipe'], env: { ...process.env, RUST_LOG: '' } });
  const found = {};
  const log = [];
  await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the program ended with ${code}:\n${log.join('\n')}`)));
    createInterface({ input: child.stderr }).on('line', (line) => {
      log.push(line);
      found.url ??= /open (http:\/\/[^\s"]+)/.exec(line)?.[1];
      found.otlp ??= /OTLP over HTTP.*?(127\.0\.0\.1:\d+)/.exec(line)?.[1];
      if (found.url && found.otlp) resolve();
    });
  });
  child.removeAllListeners('exit');
  // A test that fails leaves its program running, which must not keep the tests from ending.
  child.unref();
  child.stderr.unref();
  process.once('exit', () => child.kill('SIGKILL'));
  const ended = new Promise((resolve) => {
    child.once('exit', resolve);
  });
  const stop = async () => {
    child.ref();
    child.kill('SIGTERM');
    assert.equal(await ended, 0, `the program did not end well:\n${log.join('\n')}`);
  };
  return { url: found.url, otlp: `http://${found.otlp}`, stop };
};

/** Sends a request of OTLP. */
export const send = async (program, body) => {
  const response = await fetch(`${program.otlp}/v1/traces`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  assert.equal(response.status, 200, await response.text());
};

/** Nanoseconds since the epoch, `seconds` ago. */
export const ago = (seconds) => BigInt(Date.now() - seconds * 1_000) * 1_000_000n;

// Noted in each page before its own script runs.
const watch = () => {
  globalThis.violations = [];
  document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI, sourceFile }) => {
    globalThis.violations.push(`${violatedDirective} ${blockedURI} ${sourceFile}`);
  });
};

/** A browser with pages that are watched. `close()` fails if one of them has broken its policy, thrown, or written an error. */
export class Browser {
  static async start() {
    const browser = new Browser();
    browser.chromium = await chromium.launch({
      executablePath: VIEW_BROWSER,
      args: ['--no-sandbox', '--disable-gpu', '--force-color-profile=srgb'],
    });
    browser.faults = [];
    browser.pages = [];
    return browser;
  }

  /** A page at `place` (a fragment), 1440 by 900. `theme` is `light` or `dark`. */
  async open(program, place = '', { theme = 'light', expectsLoss = false, width = 1_440 } = {}) {
    const context = await this.chromium.newContext({
      viewport: { width, height: 900 },
      colorScheme: theme,
      reducedMotion: 'reduce',
      locale: 'en-GB',
      timezoneId: 'Europe/Berlin',
      permissions: ['clipboard-read', 'clipboard-write'],
    });
    context.setDefaultTimeout(PATIENCE);
    await context.addInitScript(watch);
    const page = await context.newPage();
    page.on('pageerror', (error) => this.faults.push(`thrown: ${error.stack}`));
    page.on('dialog', (dialog) => this.faults.push(`a dialog: ${dialog.message()}`));
    page.on('console', (message) => {
      const isLoss = expectsLoss && /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|net::ERR/.test(message.text());
      if (['error', 'warning'].includes(message.type()) && !isLoss)
        this.faults.push(`${message.type()}: ${message.text()} ${message.location().url}`);
    });
    page.on('request', (request) => {
      if (!request.url().startsWith(program.url) && !/^(data|blob):/.test(request.url()))
        this.faults.push(`a request to ${request.url()}`);
    });
    this.pages.push(page);
    await page.goto(`${program.url}${place}`);
    return page;
  }

  /** Answers that are no success are expected where a test asks for what is not there. */
  forgive(pattern) {
    this.faults = this.faults.filter((fault) => !pattern.test(fault));
  }

  async close() {
    for (const page of this.pages) {
      if (!page.isClosed()) this.faults.push(...(await page.evaluate(() => globalThis.violations)));
    }
    await this.chromium.close();
    assert.deepEqual(this.faults, []);
  }
}

/** What the tests of a file look at, as soon as one of them runs: the program, and the browser. */
export let program;
export let browser;

/** Starts both before the tests of a file, which may `prepare` more, and ends both after them. */
export const forAllTests = (prepare = async () => {}) => {
  before(async () => {
    program = await startProgram();
    browser = await Browser.start();
    await prepare();
  });
  // Closing fails if a policy was broken, a dialog opened, or anything was asked of another address.
  after(async () => {
    await browser.close();
    await program.stop();
  });
};

/** A picture for people, which nothing is compared with. */
export const picture = async (page, name) => {
  mkdirSync(VIEW_SCREENSHOTS, { recursive: true });
  // Away from what changes under a pointer.
  await page.mouse.move(3, 3);
  await page.screenshot({ path: `${VIEW_SCREENSHOTS}/${name}.png` });
};

/** The rows of the waterfall that are in sight, from top to bottom, as a person reads them. */
export const waterfall = (page) =>
  page.locator('.waterfall .rows .span').evaluateAll((rows) =>
    rows.map((row) => ({
      level: Number(row.getAttribute('aria-level')),
      service: row.querySelector('.service-name').textContent,
      name: row.querySelector('.span-name').textContent,
      start: row.querySelector('.began').textContent,
      took: row.querySelector('.took').textContent,
      note: [...row.querySelectorAll('.note > *')].map((part) => part.textContent).join(', '),
      bar: row.querySelector('.bar')?.className ?? '',
    })),
  );
