#!/usr/bin/env bash
# python-socketio with its manager for Redis.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=proxy/conformance/frameworks/suite.sh
. "$here/../suite.sh"

services() { printf '%s\n' pio-outside pio-a pio-b; }
variants() { echo default; }
fetch() { fetch_python "$1" socketio; }
run() { exec "$1/bin/python" "$here/program.py"; }

suite "$@"
