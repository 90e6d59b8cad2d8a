#!/usr/bin/env bash
# The libraries in JavaScript. Each has a module here, and program.js runs its two sides.
#   language.sh fetch FOLDER                                   brings what they need into FOLDER, with the network there; idempotent
#   language.sh run FOLDER LIBRARY send COUNT | work           becomes one side of a library, with no network but loopback
# Redis is at REDIS_URL.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=proxy/conformance/queues/libraries/language.sh
. "$here/../language.sh"

fetch() { npm_modules "$here" "$1"; }

run() {
  local folder=$1
  shift
  MODULES=$folder exec node "$here/program.js" "$@"
}

language "$@"
