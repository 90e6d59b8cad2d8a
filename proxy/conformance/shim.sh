#!/usr/bin/env bash
# Stands in for `redis-server` where a client's suite starts its own: the real server gets the port asked for on
# 127.0.0.2, the proxy takes that port on the address asked for. Whichever of the two ends, or if this is told to end, the
# other ends with it, so that it can be waited for, shut down and killed like a server.
#   SHIM_SERVER   the real server
#   SHIM_LOGS     a folder for the proxies' logs
# and what lib.sh exports: KIT_PROXY, OTEL_EXPORTER_OTLP_ENDPOINT.
# Starts that ask for no plain TCP port (--version, a unix socket, TLS only) are the real server's alone.
set -euo pipefail
# A suite may know it by a link.
# shellcheck source=proxy/conformance/lib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh"

upstream_host=127.0.0.2

main() {
  local port='' host=127.0.0.1 rest=()
  while [ $# -gt 0 ]; do
    case $1 in
      --port) port=$2 && shift 2 ;;
      --bind)
        shift
        # The addresses go on until the next option; the first one that is IPv4 serves.
        while [ $# -gt 0 ] && [[ $1 != --* ]]; do
          [[ $1 != *.*.*.* ]] || host=${1#-}
          shift
        done
        ;;
      *) rest+=("$1") && shift ;;
    esac
  done
  if [ "${port:-0}" -eq 0 ]; then
    exec "$SHIM_SERVER" ${port:+--port "$port"} "${rest[@]}"
  fi

  # SIGKILL reaches no trap: the kernel passes it on.
  setpriv --pdeathsig KILL "$SHIM_SERVER" --port "$port" --bind "$upstream_host" "${rest[@]}" &
  local server=$!
  wait_until "$KIT_PATIENCE" "$SHIM_SERVER" up "$server" "$upstream_host" "$port" || exit 1
  proxy_command "$host:$port" "redis://$upstream_host:$port"
  setpriv --pdeathsig KILL "${PROXY_COMMAND[@]}" 2>"$SHIM_LOGS/proxy-$port-$$.log" &
  local proxy=$! status=0 ended='' asked=''
  trap 'asked=1; kill -TERM "$server" "$proxy" 2>/dev/null || true' TERM INT
  # Returns with nothing ended yet when a signal comes.
  wait -n -p ended "$server" "$proxy" || status=$?
  if [ -z "$asked" ] && [ "${ended:-}" = "$proxy" ]; then
    echo "ERROR the proxy ended by itself with status $status" >>"$SHIM_LOGS/proxy-$port-$$.log"
  fi
  kill -TERM "$server" "$proxy" 2>/dev/null || true
  if [ "${ended:-}" != "$server" ]; then
    status=0
    wait "$server" || status=$?
  fi
  wait
  exit "$status"
}

# shellcheck disable=SC2317
# up PID HOST PORT: whether the server answers, or has ended, which its own message explains.
up() { ! kill -0 "$1" || (answers "$2" "$3"); }

main "$@"
