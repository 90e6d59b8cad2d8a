// What is sent around: bytes of every kind, and what looks like the protocol or like a context of a trace.
"use strict";

const crypto = require("crypto");

const EVERY_BYTE = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
const PAYLOADS = {
  empty: Buffer.alloc(0),
  "one zero byte": Buffer.from([0]),
  "every byte": EVERY_BYTE,
  text: Buffer.from("grüße, 世界 🌍"),
  JSON: Buffer.from('{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","a":[1,2]}'),
  "line ends": Buffer.from("\r\n\r\n$5\r\nhello\r\n"),
  "an answer of Redis": Buffer.from("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n"),
  "a push of Redis": Buffer.from(">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n"),
  "64 KiB": crypto.randomBytes(64 << 10),
  "1 MiB": crypto.randomBytes(1 << 20),
  "5 MiB": crypto.randomBytes(5 << 20),
};
/** The last message of a scenario: what is not there before it does not come. */
const END = Buffer.from("that was all");

module.exports = { EVERY_BYTE, PAYLOADS, END };
