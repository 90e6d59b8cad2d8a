#!/usr/bin/env bash
# Libraries for jobs, directly and behind proxies: their results, what is left in Redis, and whether the span of each job that is
# taken is in the trace of the one that added it. README.md says more.
#   queues/run.sh
#   SERVERS=redis-7.0,valkey-9.1              only these servers (default: all)
#   LIBRARIES=celery,taskiq                   only the libraries with these programs (default: all of libraries.py)
#   REDISTRIBUTED_BIN=path/to/redistributed   this proxy, instead of a debug build made first
# Logs: target/conformance/queues/results.
set -euo pipefail
# shellcheck source=proxy/conformance/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
here="$KIT_ROOT/proxy/conformance/queues"

main() {
  local folder server name language languages only=() compare
  folder="$(target_folder)/conformance/queues"
  OTLP_RECEIVER_BIN=unused kit_programs
  # The comparison itself is in Python.
  fetch python
  rm -rf "$folder/results"
  IFS=', ' read -ra only <<<"${LIBRARIES:-}"
  export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$KIT_ROOT/proxy/conformance/lib"
  compare=("$folder/python/bin/python" "$here/compare.py")
  languages=$("${compare[@]}" languages "${only[@]}") || exit 1
  for language in $languages; do
    fetch "$language"
  done
  for server in $KIT_SERVERS; do
    name=${server%%=*}
    printf -- '-- %s\n' "$name"
    in_namespace "${compare[@]}" run "${only[@]}" --results "$folder/results/$name" --languages "$folder" \
      --redis-server "${server#*=}" --proxy "$KIT_PROXY"
  done
}

fetch() {
  [ -x "$here/libraries/$1/language.sh" ] || die "no folder libraries/$1 with a language.sh"
  "$here/libraries/$1/language.sh" fetch "$folder/$1" || die "the libraries in $1 could not be fetched"
}

main
