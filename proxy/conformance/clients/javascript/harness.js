// Runs scenarios one after another and prints a line of result for each: `pass|fail<TAB>name`. What went wrong goes to
// standard error. A scenario that does not end in time has failed, and the next ones still run.
"use strict";

const crypto = require("crypto");

const PATIENCE_MS = 60_000;
const NAME_LIMIT = 240;
const scenarios = [];

/** Registers a scenario: an async function that throws if something is not as it should be. */
function scenario(name, play) {
  scenarios.push({ name, play });
}

/** Plays all scenarios with `stage()`, which gives each a fresh stage that is closed afterwards. */
async function run(stage) {
  for (const { name, play } of scenarios) {
    const now = stage();
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not over after ${PATIENCE_MS} ms`)), PATIENCE_MS);
    });
    try {
      const seen = await Promise.race([play(now), late]);
      // What a scenario returns was seen, not expected: it has to be the same direct and through the proxy.
      report("pass", seen === undefined ? name : shortened(`${name}: ${printable(seen)}`));
    } catch (error) {
      console.error(`${name}:`, error);
      report("fail", name);
    } finally {
      clearTimeout(timer);
      await now.close();
    }
  }
}

function report(verdict, name) {
  process.stdout.write(`${verdict}\t${name}\n`);
}

/** Not more of a name than a person reads; a digest stands for the rest. */
function shortened(text) {
  console.error(text);
  if (text.length <= NAME_LIMIT) return text;
  return `${text.slice(0, NAME_LIMIT)}... ${crypto.createHash("sha256").update(text).digest("hex").slice(0, 16)}`;
}

/** One line of printable text for any reply. */
function printable(value) {
  return JSON.stringify(plain(value)).replace(
    /[^\x20-\x7e]/g,
    (byte) => "\\u" + byte.charCodeAt(0).toString(16).padStart(4, "0"),
  );
}

/** A reply as plain JavaScript: bytes become strings of one character a byte, maps and sets say what they are. */
function plain(value) {
  if (Buffer.isBuffer(value)) return value.toString("latin1");
  if (value instanceof Error) return { error: value.message };
  if (value instanceof Map) return { map: [...value].map(plain) };
  if (value instanceof Set) return { set: [...value].map(plain).sort() };
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === "bigint") return { big: String(value) };
  if (typeof value === "number" && !Number.isFinite(value)) return { number: String(value) };
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, plain(entry)]));
  }
  return value;
}

/** Waits until `condition()` holds; asks again each few milliseconds. The harness's own patience ends a vain wait. */
async function until(condition) {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5));
}

module.exports = { scenario, run, plain, until };
