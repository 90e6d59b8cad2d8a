"use strict";
// What a story sends and what arrives, by receiver and stream. A stream is what the framework keeps in order. Used by
// the programs in JavaScript; `ledger.py` and `ledger.rb` are the same for the other languages.

const { createHash } = require("node:crypto");
const { readdirSync, readFileSync } = require("node:fs");
const { join } = require("node:path");
const { once } = require("node:events");

/** Milliseconds that anything may take that is waited for. */
const PATIENCE = 60_000;

const entries = new Map();

/** The payloads that every story sends: texts as strings, the others as Buffers. */
function payloads() {
  const folder = process.env.PAYLOADS;
  return readdirSync(folder)
    .sort()
    .map((name) => readFileSync(join(folder, name), name.endsWith(".txt") ? "utf8" : null));
}

/** Where a service finds its Redis. */
function redisOf(service) {
  const [host, port] = process.env["REDIS_" + service.toUpperCase().replaceAll("-", "_")].split(":");
  return { host, port: Number(port) };
}

/** A value in a few characters: its type, its length in bytes and a digest. Binary parts count with all their bytes. */
function digest(value) {
  if (typeof value === "string") return sum("text", Buffer.from(value));
  if (value instanceof Uint8Array) return sum("binary", value);
  if (value instanceof ArrayBuffer) return sum("binary", Buffer.from(value));
  if (Array.isArray(value)) return `[${value.map(digest).join(" ")}]`;
  if (value && typeof value === "object") {
    const members = Object.keys(value).sort();
    return `{${members.map((name) => `${name}=${digest(value[name])}`).join(" ")}}`;
  }
  return String(value);
}

function sum(type, bytes) {
  return `${type}:${bytes.length}:${createHash("sha256").update(bytes).digest("hex").slice(0, 16)}`;
}

function entry(receiver, stream) {
  const key = JSON.stringify([receiver, stream]);
  if (!entries.has(key)) entries.set(key, { receiver, stream, expected: [], got: [] });
  return entries.get(key);
}

function expect(receiver, stream, value) {
  entry(receiver, stream).expected.push(digest(value));
}

function got(receiver, stream, value) {
  entry(receiver, stream).got.push(digest(value));
}

/** Asks again and again until the condition holds, and fails after the deadline. */
async function until(what, condition) {
  const deadline = Date.now() + PATIENCE;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not after ${PATIENCE} ms: ${what}`);
    await new Promise((next) => setTimeout(next, 10));
  }
}

/** Waits until as much has arrived as was sent. What is missing shows in the comparison. */
async function arrived() {
  const complete = () => [...entries.values()].every(({ expected, got }) => got.length >= expected.length);
  await until("everything has arrived", complete).catch((error) => console.error(error.message));
}

/** Prints the comparison, and returns when the stage has seen all that it wants to see of the connections. */
async function settle() {
  await arrived();
  for (const { receiver, stream, expected, got } of entries.values()) {
    process.stdout.write(JSON.stringify({ receiver, stream, expected, got }) + "\n");
  }
  process.stdout.write("settled\n");
  process.stdin.resume();
  await once(process.stdin, "end");
}

/** Runs a story to its end. An error ends the program: a story that was not told is no success. */
function tell(story) {
  story().then(
    () => process.exit(0),
    (error) => {
      console.error(error);
      process.exit(1);
    },
  );
}

module.exports = { payloads, redisOf, expect, got, until, arrived, settle, tell };
