#!/usr/bin/env bash
# Real frameworks, unmodified, exchange payloads through Redis: direct, and with each service behind its own proxy. What
# arrives must be what was sent, and the spans must be exactly those of what happened. Prints a table, fails on any
# difference.
#   frameworks/run.sh
#   SERVERS=redis-7.0,valkey-9.1     only these servers (default: all)
#   FRAMEWORKS=socketio,celery       only these (default: every folder here with a suite.sh)
#   RUNS=auto                        only these runs, and the direct one they are compared with (default: all)
# Logs and the table: target/conformance/frameworks/results.
set -euo pipefail
# shellcheck source=proxy/conformance/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
here="$KIT_ROOT/proxy/conformance/frameworks"

main() {
  local folder frameworks=() framework arguments=() server run
  read -ra frameworks <<<"${FRAMEWORKS:-$(all_frameworks)}"
  IFS=', ' read -ra frameworks <<<"${frameworks[*]}"
  for framework in "${frameworks[@]}"; do
    [ -x "$here/$framework/suite.sh" ] || die "no framework '$framework'; there are: $(all_frameworks)"
  done
  # The stage has a collector of its own, that looks at every span.
  OTLP_RECEIVER_BIN=unused kit_programs
  folder="$(target_folder)/conformance/frameworks"
  mkdir -p "$folder/results"
  ensure_venv "$folder/stage" "$here/stage/requirements.txt" opentelemetry.proto.trace.v1.trace_pb2
  for framework in "${frameworks[@]}"; do
    say "fetching $framework"
    "$here/$framework/suite.sh" fetch "$folder/$framework" || die "$framework could not be fetched"
    arguments+=(--framework "$framework")
  done
  for server in $KIT_SERVERS; do
    arguments+=(--server "$server")
  done
  for run in ${RUNS:-}; do
    arguments+=(--run "$run")
  done
  export PYTHONDONTWRITEBYTECODE=1
  in_namespace "$folder/stage/bin/python" "$here/stage" "$folder" "$KIT_PROXY" "$folder/results" "${arguments[@]}"
}

all_frameworks() {
  local suite names=()
  for suite in "$here"/*/suite.sh; do
    names+=("$(basename "$(dirname "$suite")")")
  done
  printf '%s\n' "${names[*]}"
}

main
