#!/usr/bin/env bash
# What the sidecars tell, as a real Jaeger shows it: the demo's story with the settings of the Compose file, a fan-out of a
# thousand, and links. README.md says what is looked at.
#   jaeger/run.sh
#   REDISTRIBUTED_BIN=path/to/redistributed   this proxy, instead of a debug build made first
#   DEMO_PROGRAMS=path/to/folder              demo, demo-api and demo-worker from there, likewise
#   JAEGER_BIN=path/to/jaeger                 this Jaeger 2, instead of one built from its Go module first
# Logs: target/conformance/jaeger/results.
set -euo pipefail
# shellcheck source=proxy/conformance/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
# shellcheck source=proxy/conformance/lib/jaeger.sh
. "$KIT_ROOT/proxy/conformance/lib/jaeger.sh"
# shellcheck source=proxy/conformance/lib/compose.sh
. "$KIT_ROOT/proxy/conformance/lib/compose.sh"

main() {
  local results servers
  results="$(target_folder)/conformance/jaeger/results"
  # What is built beside the receiver are the demo's programs, all of them.
  OTLP_RECEIVER_BIN=${DEMO_PROGRAMS:+unused} kit_programs
  have python3 || install_packages python3 || die "no Python 3"
  ensure_jaeger

  rm -rf "$results"
  mkdir -p "$results"
  resolve_compose http://jaeger:4318 >"$results/compose.json"
  read -ra servers <<<"$KIT_SERVERS"
  export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$KIT_ROOT/proxy/conformance/lib"
  in_namespace python3 "$KIT_ROOT/proxy/conformance/jaeger/story" --compose "$results/compose.json" --results "$results" \
    --jaeger "$JAEGER_BIN" --redis-server "${servers[0]#*=}" --proxy "$KIT_PROXY" \
    --programs "${DEMO_PROGRAMS:-$(target_folder)/debug}"
}

main
