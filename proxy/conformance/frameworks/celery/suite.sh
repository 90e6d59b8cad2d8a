#!/usr/bin/env bash
# Celery with Redis as its broker and its result backend, in the two formats that it offers for payloads of any kind.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=proxy/conformance/frameworks/suite.sh
. "$here/../suite.sh"

services() { printf '%s\n' celery-client celery-worker-a celery-worker-b celery-events; }
variants() { printf '%s\n' json pickle; }
fetch() { fetch_python "$1" celery; }

run() {
  # Celery refuses to unpickle as root unless told that this is meant.
  C_FORCE_ROOT=1 exec "$1/bin/python" "$here/program.py" "$2"
}

suite "$@"
