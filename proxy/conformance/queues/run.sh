#!/usr/bin/env bash
# Libraries for jobs, directly and behind proxies: their results, what is left in Redis, and whether the span of each job that is
# taken is in the trace of the one that added it. README.md says more.
#   queues/run.sh
#   REDISTRIBUTED_BIN=path/to/redistributed   this proxy, instead of a debug build made first
# Logs: target/conformance/queues/results.
set -euo pipefail
# shellcheck source=proxy/conformance/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
here="$KIT_ROOT/proxy/conformance/queues"

main() {
  local folder server name
  folder="$(target_folder)/conformance/queues"
  OTLP_RECEIVER_BIN=unused kit_programs
  ensure_venv "$folder/venv" "$here/requirements.txt" celery || die "no libraries for jobs"
  rm -rf "$folder/results"
  export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$KIT_ROOT/proxy/conformance/lib:$here/libraries"
  for server in $KIT_SERVERS; do
    name=${server%%=*}
    printf -- '-- %s\n' "$name"
    in_namespace "$folder/venv/bin/python" "$here/compare.py" --results "$folder/results/$name" --redis-server "${server#*=}" \
      --proxy "$KIT_PROXY"
  done
}

main
