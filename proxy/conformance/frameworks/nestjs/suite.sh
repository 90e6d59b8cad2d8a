#!/usr/bin/env bash
# NestJS microservices over their Redis transport.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=proxy/conformance/frameworks/suite.sh
. "$here/../suite.sh"

services() { printf '%s\n' nest-shop-a nest-shop-b nest-orders nest-audit; }
variants() { echo default; }
fetch() { fetch_npm "$1"; }
run() { MODULES=$1 exec node "$here/program.mjs"; }

suite "$@"
