#!/usr/bin/env bash
# The libraries in Ruby, from Debian's packages. Each has a file here, and program.rb runs its two sides.
#   language.sh fetch FOLDER                                   installs what they need, with the network there; idempotent
#   language.sh run FOLDER LIBRARY send COUNT | work           becomes one side of a library, with no network but loopback
# Redis is at REDIS_URL.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=proxy/conformance/queues/libraries/language.sh
. "$here/../language.sh"

fetch() { fetch_debian ruby ruby-redis ruby-sidekiq; }

run() {
  shift
  exec ruby "$here/program.rb" "$@"
}

language "$@"
