"use strict";
// The libraries, which are installed in the folder MODULES, and where Redis is.

const { createRequire } = require("node:module");

const from = createRequire(process.env.MODULES + "/");
const URL_OF_REDIS = process.env.REDIS_URL;
const { hostname, port } = new URL(URL_OF_REDIS);

module.exports = { from, URL_OF_REDIS, ADDRESS: { host: hostname, port: Number(port) } };
