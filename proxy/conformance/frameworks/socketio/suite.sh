#!/usr/bin/env bash
# Socket.IO with the two adapters for Redis that it brings, each with the two clients that they support.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=proxy/conformance/frameworks/suite.sh
. "$here/../suite.sh"

services() { printf '%s\n' io-a io-b; }
variants() { printf '%s\n' redis-adapter-ioredis redis-adapter-node-redis sharded-ioredis sharded-node-redis; }
fetch() { fetch_npm "$1"; }
run() { MODULES=$1 exec node "$here/program.js" "$2"; }

suite "$@"
