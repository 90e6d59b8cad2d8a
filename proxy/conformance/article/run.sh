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
# shellcheck source=proxy/conformance/lib/jaeger.sh
. "$KIT_ROOT/proxy/conformance/lib/jaeger.sh"
here="$KIT_ROOT/proxy/conformance/article"
folder="$(target_folder)/conformance/article"

main() {
  local servers
  # The spans go to Jaeger.
  OTLP_RECEIVER_BIN=unused kit_programs
  have python3 || install_packages python3 || die "no Python 3"
  mkdir -p "$folder/bin"
  ensure_programs
  ensure_jaeger

  rm -rf "$folder/results"
  mkdir -p "$folder/results"
  read -ra servers <<<"$KIT_SERVERS"
  export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$KIT_ROOT/proxy/conformance/lib"
  in_namespace python3 "$here/story" --results "$folder/results" --redis-server "${servers[0]#*=}" --proxy "$KIT_PROXY" \
    --jaeger "$JAEGER_BIN" --programs "${ARTICLE_PROGRAMS:-$folder/bin}" --own-programs "$folder/bin"
}

# Builds the programs of this folder. Go's cache makes it cheap where nothing has changed.
ensure_programs() {
  say "building the programs of the article"
  (cd "$here/programs" && in_go build -o "$folder/bin/" ./api ./report-generator ./relay) || die "the programs do not build"
}

main
