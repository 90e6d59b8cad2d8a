#!/usr/bin/env bash
# redigo 1.9: a Go client, with its own suite, from Debian's source package. Its tests start a server. Speaks RESP2.
# shellcheck source=proxy/conformance/clients/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
# shellcheck source=proxy/conformance/clients/golang.sh
. "$KIT_ROOT/proxy/conformance/clients/golang.sh"

fetch() {
  go_toolchain "$1"
  debian_upstream trixie golang-github-gomodule-redigo=1:1.9.2-2 golang-github-gomodule-redigo_1.9.2.orig.tar.gz \
    a8b925a928530587e8d89023a87dade406eb58d5b3e8b20f08d0306194e5b8eb "$1/source"
  go_libraries "$1" trixie golang-github-stretchr-testify-dev=1.10.0-1 golang-github-davecgh-go-spew-dev=1.1.1-3 \
    golang-github-pmezard-go-difflib-dev=1.0.0-3 golang-github-stretchr-objx-dev=0.5.2-1 \
    golang-gopkg-yaml.v3-dev=3.0.1-3
  once "$1" build "$1"
}

build() {
  local package
  mkdir -p "$1/gopath/src/github.com/gomodule"
  ln -sfn "$1/source" "$1/gopath/src/github.com/gomodule/redigo"
  for package in redis redisx; do
    in_gopath "$1" go test -c -vet=off -o "$1/$package.test" "github.com/gomodule/redigo/$package"
  done
}

run() {
  local package
  # The server is asked for its version by its usual name.
  mkdir "$3/bin"
  ln -s "$REDIS_SERVER" "$3/bin/redis-server"
  for package in redis redisx; do
    cd "$1/source/$package" || return
    # Its exit code only says that some test failed.
    PATH="$3/bin:$PATH" "$1/$package.test" -test.v -test.timeout 10m >"$3/output" 2>&1 || true
    cat "$3/output" >&2
    go_results <"$3/output" | sed "s/\t/\t$package: /"
  done
}

suite "$@"
