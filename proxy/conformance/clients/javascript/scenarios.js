// What every client is put through, whatever its API: see stage.js for what a scenario gets. Payloads are compared
// byte by byte. Nothing waits for a time to pass: a scenario knows that nothing more comes when a later message is
// there.
"use strict";

require("./scenarios/values");
require("./scenarios/replies");
require("./scenarios/transactions");
require("./scenarios/pubsub");
require("./scenarios/blocking");
require("./scenarios/connections");
require("./scenarios/caching");
