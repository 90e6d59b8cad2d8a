#!/usr/bin/env bash
# node-redis 6.3, in the scenarios of ../javascript: its own suite is in no registry. RESP2 and RESP3.
# shellcheck source=proxy/conformance/clients/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

variants() { printf '%s\n' resp2 resp3; }

fetch() { npm_ci "$KIT_ROOT/proxy/conformance/clients/javascript" "$1"; }

run() { NODE_PATH="$1/node_modules" node "$KIT_ROOT/proxy/conformance/clients/javascript/node-redis.js" "${2#resp}"; }

suite "$@"
