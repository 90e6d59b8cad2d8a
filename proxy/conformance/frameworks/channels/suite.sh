#!/usr/bin/env bash
# Django Channels with its Pub/Sub channel layer: both formats of messages, and encrypted ones.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=proxy/conformance/frameworks/suite.sh
. "$here/../suite.sh"

services() { printf '%s\n' channels-a channels-b channels-c; }
variants() { printf '%s\n' msgpack json encrypted; }
fetch() { fetch_python "$1" channels_redis.pubsub; }
run() { exec "$1/bin/python" "$here/program.py" "$2"; }

suite "$@"
