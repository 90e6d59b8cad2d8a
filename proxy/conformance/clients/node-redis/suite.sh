#!/usr/bin/env bash
# node-redis 4.6: the suite of its core package @redis/client, from Debian's source package. Its harness starts
# servers by docker, which bin/docker stands in for. Speaks RESP2. Its clusters have a proxy before each node.
# shellcheck source=proxy/conformance/clients/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

fetch() {
  npm_ci "$clients/node-redis" "$1"
  debian_upstream sid node-redis=4.6.14+~1.1.2-5 node-redis_4.6.14+~1.1.2.orig.tar.gz \
    169de6d0f1159595f3ab505ef0102e2beea762628773e3fcbbc43a1e176e1226 "$1/source"
  once "$1" build "$1"
}

build() {
  local package
  # The packages of the repository know each other by name.
  mkdir -p "$1/node_modules/@redis"
  for package in client test-utils; do
    ln -sfn "$1/source/packages/$package" "$1/node_modules/@redis/$package"
    cd "$1/source/packages/$package"
    rm -rf dist
    # It complains of types, which belong to whoever changes the client, and writes its output all the same.
    "$1/node_modules/.bin/tsc" --noEmitOnError false || [ -f dist/index.js ]
  done
}

run() {
  local version
  version=${REDIS_SERVER_NAME##*-}
  # The tests look at Redis's versions to know what a server can do; this is what Valkey calls itself to clients.
  [ "${REDIS_SERVER_NAME%%-*}" = redis ] || version=7.2
  mkdir "$3/docker"
  cd "$1/source/packages/client"
  # Two seconds a test, Mocha's default, are too few on a busy machine.
  PATH="$clients/node-redis/bin:$PATH" FAKE_DOCKER=$3/docker "$1/node_modules/.bin/mocha" --reporter tap --exit --timeout 20000 \
    --require ts-node/register './lib/**/*.spec.ts' --redis-version "$version" >"$3/output" 2>"$3/errors" || true
  cat "$3/output" "$3/errors" >&2
  tap_results @redis/client <"$3/output"
}

suite "$@"
