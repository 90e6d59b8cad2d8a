#!/usr/bin/env bash
# One pass of one client suite, inside a namespace of its own: fresh server, and the proxy in front of it if asked for.
#   one_run.sh direct|proxied SUITE.SH TREE VARIANT RESULTS LOGS
# Writes RESULTS (`pass|fail|skip<TAB>test`, sorted) and, into LOGS, what the suite, server, proxy and receiver said, and
# `spans.txt`. Fails if the suite could not be run, or if the proxy died or logged an error.
# Environment: what lib.sh exports, KIT_SERVER_NAME, KIT_SERVER, KIT_SUITE_TIMEOUT (seconds).
set -euo pipefail
# shellcheck source=proxy/conformance/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

main() {
  local route=$1 suite=$2 tree=$3 variant=$4 results=$5 logs=$6
  # A unix socket's path has room for some 100 bytes, so the servers live under /tmp.
  local work failed=0
  work=$(mktemp -d /tmp/kit.XXXXXX)
  # shellcheck disable=SC2064
  trap "rm -rf '$work'" EXIT
  rm -rf "$logs" "$results"
  mkdir -p "$logs/shim"

  # shellcheck disable=SC2153
  export REDIS_SERVER=$KIT_SERVER REDIS_SERVER_NAME=$KIT_SERVER_NAME
  export REDIS_HOST=127.0.0.1 REDIS_PORT=6379 REDIS_SOCKET="$work/redis.sock"
  if [ "$route" = direct ]; then
    start_server "$KIT_SERVER" 127.0.0.1 "$REDIS_PORT" "$work"
  else
    start_server "$KIT_SERVER" 127.0.0.2 "$REDIS_PORT" "$work"
    start_receiver "$logs"
    start_proxy "127.0.0.1:$REDIS_PORT" "redis://127.0.0.2:$REDIS_PORT" "$logs/proxy.log"
    export SHIM_SERVER="$KIT_SERVER" SHIM_LOGS="$logs/shim"
    REDIS_SERVER="$KIT_ROOT/proxy/conformance/shim.sh"
  fi

  timeout --kill-after=10 "$KIT_SUITE_TIMEOUT" "$suite" run "$tree" "$variant" "$results" >"$logs/suite.log" 2>&1 </dev/null || {
    say "the suite could not be run (status $?); its last words, from $logs/suite.log:"
    tail -n 20 "$logs/suite.log" >&2
    failed=1
  }
  [ "$route" = direct ] || end_proxy "$logs" || failed=1
  cp "$work/server.log" "$logs/server.log"
  check_results "$results" || failed=1
  return "$failed"
}

end_proxy() {
  local logs=$1 failed=0
  stop_proxy || failed=1
  stop_receiver || failed=1
  if ! find "$logs" -name 'proxy*.log' -print0 | xargs -0 cat | proxy_defects - >"$logs/defects.txt"; then
    say "the proxy logged errors:"
    cat "$logs/defects.txt" >&2
    failed=1
  fi
  return "$failed"
}

check_results() {
  [ -s "$1" ] || { say "the suite wrote no results" && return 1; }
  if grep -vE $'^(pass|fail|skip)\t[^\t]+$' "$1" >&2; then say "the lines above are no results" && return 1; fi
  if cut -f 2 "$1" | sort | uniq -d | grep . >&2; then say "the names above are not unique" && return 1; fi
}

main "$@"
