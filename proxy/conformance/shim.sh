#!/usr/bin/env bash
# Stands in for `redis-server` where a client's suite starts its own: the real server gets the port asked for on
# 127.0.0.2, and this becomes the proxy on that port of the address asked for. So whoever kills it and waits for its end has
# seen the end of all its connections, as with a server. If the server ends, the proxy is told to end too, and the other
# way round.
#   SHIM_SERVER   the real server
#   SHIM_LOGS     a folder for the proxies' logs
# and what lib.sh exports: KIT_PROXY, OTEL_EXPORTER_OTLP_ENDPOINT.
# The port comes from `--port` or from the configuration file. A cluster's node gets another port on the same address,
# because its bus has to be where the other nodes look for it; it announces the proxy's port.
# Starts that ask for no plain TCP port (--version, a unix socket, TLS only) are the real server's alone.
set -euo pipefail
# A suite may know it by a link.
# shellcheck source=proxy/conformance/lib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh"

upstream_host=127.0.0.2
# What a cluster's node adds to the port asked for. Twice this is past the last port of the suites' ranges.
CLUSTER_OFFSET=20000
# What Redis adds to a node's port to get its bus's port.
BUS_OFFSET=10000

main() {
  local port='' host=127.0.0.1 rest=() upstream='' place=()
  parse "$@"
  [ "${port:-0}" -ne 0 ] || exec "$SHIM_SERVER" "$@"

  if [[ " ${rest[*]} " == *' --cluster-enabled yes '* ]]; then
    upstream=$host:$((port + CLUSTER_OFFSET))
    place=(--bind "$host" --port "${upstream#*:}" --cluster-port $((port + BUS_OFFSET)) --cluster-announce-port "$port")
  else
    upstream=$upstream_host:$port
    place=(--bind "$upstream_host" --port "$port")
  fi

  # What the server prints waits until the proxy answers, too: some suites take the server's word for being ready.
  local log="$SHIM_LOGS/proxy-$port-$$.log" held="$SHIM_LOGS/output-$$" output reader
  mkfifo "$held"
  # Read and write, so that opening it waits for nobody.
  exec {output}<>"$held"
  exec {reader}<"$held"
  rm -f "$held"
  # Options after a configuration file win over what it says.
  setpriv --pdeathsig KILL bash -c "$KEEPER" keeper $$ "$SHIM_SERVER" "${rest[@]}" "${place[@]}" \
    >&"$output" {output}>&- {reader}<&- &
  local keeper=$!
  # Until there is a proxy to take it, the keeper's word that the server has ended already, or the suite's that it shall.
  local told=''
  trap 'told=1' TERM
  if ! wait_until "$KIT_PATIENCE" "$SHIM_SERVER" up "$keeper" "${upstream%:*}" "${upstream#*:}" || ended "$keeper" 2>/dev/null; then
    exec {output}>&-
    cat <&"$reader"
    local status=1
    wait "$keeper" || status=$?
    exit "$status"
  fi
  [ -z "$told" ] || exit 143
  : >"$log"
  let_out_later "$log" {output}>&- &
  proxy_command "$host:$port" "redis://$upstream"
  exec "${PROXY_COMMAND[@]}" >/dev/null 2>>"$log" {output}>&- {reader}<&-
}

# What starts the server as its child, and ends the given process when the server has ended. SIGKILL reaches no handler,
# so the kernel passes the end of one on to the next.
# shellcheck disable=SC2016
KEEPER='main=$1 && shift
setpriv --pdeathsig KILL "$@" &
wait $!
status=$?
kill -TERM "$main"
exit "$status"'

# Sets port, host and rest: the arguments without the port and the addresses.
parse() {
  # A configuration file comes first.
  if [ $# -gt 0 ] && [[ $1 != -* ]] && [ -f "$1" ]; then
    port=$(setting port "$1")
    host=$(setting bind "$1")
    host=${host:-127.0.0.1}
  fi
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
}

# setting NAME FILE: the first word of what a configuration file says last.
setting() { awk -v name="$1" 'tolower($1) == name { value = $2 } END { print value }' "$2"; }

# Once the proxy that this shell becomes listens, lets out what the server has printed and will print. Asks the log: one more
# connection would be one too many for tests that count them.
let_out_later() {
  wait_until "$KIT_PATIENCE" "the proxy" grep -q ' listening ' "$1" || true
  exec cat <&"$reader"
}

# shellcheck disable=SC2317
# up PID HOST PORT: whether the process's port answers, or it has ended, which its own message explains.
up() { ! kill -0 "$1" || (answers "$2" "$3"); }

main "$@"
