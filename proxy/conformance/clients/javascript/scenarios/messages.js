// Lists of messages that arrived.
"use strict";

const { until } = require("../harness");
const { END } = require("./payloads");

const over = (messages) => until(() => messages.some(({ payload }) => payload.equals(END)));
const texts = (messages) => messages.map(({ payload }) => payload.toString("latin1"));

module.exports = { over, texts };
