#!/usr/bin/env bash
# Laravel's broadcaster for Redis with each of the two clients that it supports, from Debian's packages of Laravel 8.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=proxy/conformance/frameworks/suite.sh
. "$here/../suite.sh"

services() { printf '%s\n' laravel echo-patterns echo-channels; }
variants() { printf '%s\n' phpredis predis; }

fetch() {
  fetch_debian php-cli php-redis php-nrk-predis php-illuminate-broadcasting php-illuminate-redis
  fetch_npm "$1"
}

run() { MODULES=$1 exec node "$here/program.js" "$2"; }

suite "$@"
