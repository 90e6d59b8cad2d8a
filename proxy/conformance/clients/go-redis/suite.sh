#!/usr/bin/env bash
# go-redis 9.17: a Go client, with its own suite on Ginkgo, from Debian's source package. RESP2 and RESP3. It wants a
# whole world of servers, which this starts: a plain one, a ring of three, a master with two replicas and three
# Sentinels, and a cluster of six. Through the proxy each of them has a proxy in front, and they reach each other
# through these. Left out: the tests of modules that none of the servers has.
# shellcheck source=proxy/conformance/clients/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
# shellcheck source=proxy/conformance/clients/golang.sh
. "$KIT_ROOT/proxy/conformance/clients/golang.sh"

MODULES='JSON|Probabilistic commands|RediSearch|RedisTimeseries|FT\.HYBRID'

fetch() {
  go_toolchain "$1"
  debian_upstream sid golang-github-redis-go-redis=9.17.2-1 golang-github-redis-go-redis_9.17.2.orig.tar.gz \
    299928f824d0644ebb7a76e368479f5b2cc94c5c81344ac783c6c76c28ae217f "$1/source"
  go_libraries "$1" trixie golang-github-onsi-ginkgo-v2-dev=2.22.0-1 golang-gomega-dev=1.36.2-1 \
    golang-github-cespare-xxhash-dev=2.3.0-1 golang-github-dgryski-go-rendezvous-dev=0.0~git20200823.9f7001d-2 \
    golang-github-google-go-cmp-dev=0.6.0-1 golang-github-go-task-slim-sprig-dev=3.0.0-2 \
    golang-golang-x-net-dev=1:0.27.0-2 golang-golang-x-text-dev=0.22.0-1 golang-golang-x-sys-dev=0.22.0-1 \
    golang-golang-x-tools-dev=1:0.25.0+ds-1 golang-google-protobuf-dev=1.36.5-1 golang-gopkg-yaml.v3-dev=3.0.1-3 \
    golang-github-go-logr-logr-dev=1.4.2-2 golang-github-google-pprof-dev=0.0~git20211008.947d60d-1
  once "$1" build "$1"
}

build() {
  # Its tests use a copy of Ginkgo and Gomega by another name.
  find "$1/source" -name '*_test.go' -exec sed -i 's#github.com/bsm/#github.com/onsi/#' {} +
  mkdir -p "$1/gopath/src/github.com/redis/go-redis"
  ln -sfn "$1/source" "$1/gopath/src/github.com/redis/go-redis/v9"
  in_gopath "$1" go test -c -vet=off -o "$1/go-redis.test" github.com/redis/go-redis/v9
}

run() {
  local version=${REDIS_SERVER_NAME##*-} skip=$MODULES
  if [ "${REDIS_SERVER_NAME%%-*}" != redis ]; then
    # The tests ask which Redis they talk to; this is what Valkey calls itself to clients.
    version=7.2
    # Valkey's CLIENT INFO has a field that this go-redis refuses, and this test's failure ends the whole program.
    skip+='|should sentinel cluster client db'
  fi
  world "$3/world" >&2
  cd "$1/source" || return
  # The exit code only says that some test failed. A fixed seed: Ginkgo changes the order of its tests otherwise.
  REDIS_PORT='' REDIS_VERSION=$version "$1/go-redis.test" -test.v -test.run '^Test' -test.timeout 25m -ginkgo.seed 1 \
    -ginkgo.no-color -ginkgo.skip "$skip" -ginkgo.junit-report "$3/report.xml" >"$3/output" 2>&1 || true
  cat "$3/output" >&2
  python3 "$clients/junit_results.py" "$3/report.xml"
  go_results <"$3/output" | grep -v $'\tTestGinkgoSuite$'
}

# The servers at the ports that the tests have written down. They end with the namespace.
world() {
  local port
  mkdir -p "$1"
  for port in 6381 6390 6391 6392 9121 9122 9123; do server "$1" "$port" --enable-debug-command yes; done
  for port in 16600 16601 16602 16603 16604 16605; do
    server "$1" "$port" --enable-debug-command yes --cluster-enabled yes
  done
  for port in 26379 26380 26381; do
    mkdir -p "$1/$port"
    printf 'port %s\n' "$port" >"$1/$port/sentinel.conf"
    "$REDIS_SERVER" "$1/$port/sentinel.conf" --sentinel --dir "$1/$port" >"$1/$port/log" 2>&1 &
  done
}

# server FOLDER PORT OPTION...
server() {
  local folder=$1 port=$2
  shift 2
  mkdir -p "$folder/$port"
  "$REDIS_SERVER" --port "$port" --dir "$folder/$port" --save '' "$@" >"$folder/$port/log" 2>&1 &
}

suite "$@"
