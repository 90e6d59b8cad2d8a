#!/usr/bin/env bash
# SAQ, a queue of jobs for asyncio, whose clients wait for the end of a job on a channel of its own.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=proxy/conformance/frameworks/suite.sh
. "$here/../suite.sh"

services() { printf '%s\n' saq-client saq-worker; }
variants() { printf '%s\n' json; }
fetch() { fetch_python "$1" saq; }
run() { exec "$1/bin/python" "$here/program.py" "$2"; }

suite "$@"
