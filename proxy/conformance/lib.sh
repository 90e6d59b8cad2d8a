# shellcheck shell=bash
# What the parts of the conformance kit share: where the programs are, a network namespace with nothing but loopback in
# it, and starting a server, the proxy and an OTLP receiver inside. Sourced, never run; needs `set -euo pipefail`.
#
# A part has two halves. Outside, with the network there: `kit_programs` finds or builds what is needed and exports where
# it is. Inside, as a script started with `in_namespace`: `start_*`, the work, `stop_*`. A namespace takes its processes
# with it when its script ends, however that ends, so that nothing is left behind.
#
# Inside, Redis proper and the proxy never compete for a port: a server that is talked to directly listens on 127.0.0.1,
# one behind the proxy on 127.0.0.2 and the same port.

KIT_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=.ci/lib/system.sh
. "$KIT_ROOT/.ci/lib/system.sh"
# shellcheck source=.ci/lib/cargo.sh
. "$KIT_ROOT/.ci/lib/cargo.sh"

# Seconds that a server, the proxy or the receiver may take until it answers, and to end once told to.
KIT_PATIENCE=30

# The status of a client suite's fetch that has found no compiler or interpreter for it.
# shellcheck disable=SC2034 # The kits that read this file use it.
KIT_NO_LANGUAGE=3

# kit_programs: exports KIT_PROXY, KIT_RECEIVER and KIT_SERVERS (NAME=PROGRAM of each server that SERVERS asks for, or of
# all). REDISTRIBUTED_BIN and OTLP_RECEIVER_BIN spare the build. What is built is the debug build, with its assertions.
kit_programs() {
  local target servers
  target=$(target_folder)
  if [ -z "${REDISTRIBUTED_BIN:-}" ] || [ -z "${OTLP_RECEIVER_BIN:-}" ]; then
    (cd "$KIT_ROOT" && in_one_line "the programs" cargo build --locked "${PROGRAMS[@]}" --package otlp-receiver) || die "the build failed"
  fi
  export KIT_PROXY="${REDISTRIBUTED_BIN:-$target/debug/redistributed}"
  export KIT_RECEIVER="${OTLP_RECEIVER_BIN:-$target/debug/otlp-receiver}"
  servers=$("$KIT_ROOT/.ci/ensure-servers")
  eval "$servers"
  KIT_SERVERS=$(kit_wanted_servers)
  export KIT_SERVERS
}

# The pairs of REDISTRIBUTED_TEST_SERVERS that SERVERS (names, separated by commas or spaces) asks for.
kit_wanted_servers() {
  local name pair found wanted=()
  if [ -z "${SERVERS:-}" ]; then
    printf '%s\n' "$REDISTRIBUTED_TEST_SERVERS"
    return
  fi
  for name in ${SERVERS//,/ }; do
    found=
    for pair in $REDISTRIBUTED_TEST_SERVERS; do
      [ "${pair%%=*}" != "$name" ] || found=$pair
    done
    [ -n "$found" ] || die "no server '$name'; there are: $REDISTRIBUTED_TEST_SERVERS"
    wanted+=("$found")
  done
  printf '%s\n' "${wanted[*]}"
}

# in_namespace COMMAND...: runs it where only loopback exists and every port is free, and returns its status. Its
# processes see only each other, and end with it, or with this shell.
in_namespace() {
  local tools=() rights=() namespace status=0
  have unshare && have setpriv || tools+=(util-linux)
  have ip || tools+=(iproute2)
  [ ${#tools[@]} -eq 0 ] || install_packages "${tools[@]}" || die "network namespaces need: ${tools[*]}"
  [ "$(id -u)" -eq 0 ] || rights=(--user --map-root-user)
  # The first process of the namespace stays this small shell: it reaps what a suite abandons.
  # shellcheck disable=SC2016
  setpriv --pdeathsig KILL unshare "${rights[@]}" --net --pid --fork --kill-child --mount-proc \
    bash -c 'ip link set lo up && "$@"; exit $?' in_namespace "$@" &
  namespace=$!
  # unshare itself lets SIGINT and SIGTERM pass by.
  # shellcheck disable=SC2064
  trap "kill -KILL $namespace; exit 130" INT TERM
  wait "$namespace" || status=$?
  trap - INT TERM
  return "$status"
}

# wait_until SECONDS WHAT COMMAND...: asks until the command succeeds, ten times a second.
wait_until() {
  local seconds=$1 what=$2 try
  shift 2
  for ((try = 0; try < seconds * 10; try++)); do
    if "$@" 2>/dev/null; then return 0; fi
    sleep 0.1
  done
  say "waited $seconds s for $what"
  return 1
}

# answers HOST PORT: whether a Redis answers there with anything but "still loading".
answers() {
  local reply
  exec 3<>"/dev/tcp/$1/$2" || return 1
  printf 'PING\r\n' >&3
  IFS= read -r -t 5 reply <&3 || reply=
  exec 3>&-
  [ -n "$reply" ] && [[ $reply != -LOADING* ]]
}

# start_server PROGRAM HOST PORT FOLDER [OPTION...]: a server without persistence, with its log and its unix socket
# (redis.sock) in FOLDER, and with DEBUG allowed, which client suites use. Sets SERVER_PID.
start_server() {
  local program=$1 host=$2 port=$3 folder=$4
  shift 4
  mkdir -p "$folder"
  "$program" --bind "$host" --port "$port" --protected-mode no --unixsocket "$folder/redis.sock" --dir "$folder" \
    --save '' --appendonly no --enable-debug-command yes "$@" >"$folder/server.log" 2>&1 &
  # shellcheck disable=SC2034
  SERVER_PID=$!
  # In a subshell, which closes the connection whatever happens.
  wait_until "$KIT_PATIENCE" "$program on $host:$port" in_subshell answers "$host" "$port" || {
    tail -n 20 "$folder/server.log" >&2
    return 1
  }
}

in_subshell() { ("$@"); }

# start_receiver FOLDER: an OTLP receiver. Sets RECEIVER_PID, exports OTEL_EXPORTER_OTLP_ENDPOINT.
start_receiver() {
  local folder=$1
  mkdir -p "$folder"
  "$KIT_RECEIVER" >"$folder/spans.txt" 2>"$folder/receiver.log" &
  RECEIVER_PID=$!
  wait_until "$KIT_PATIENCE" "the OTLP receiver" grep -q '^grpc ' "$folder/spans.txt" || return 1
  OTEL_EXPORTER_OTLP_ENDPOINT=$(sed -n 's/^http //p' "$folder/spans.txt")
  export OTEL_EXPORTER_OTLP_ENDPOINT
}

# stop_receiver: afterwards spans.txt in its folder has the counts (`spans N`, `producer N`, `consumer N`).
stop_receiver() { stop "$RECEIVER_PID" "the OTLP receiver"; }

# start_proxy LISTEN UPSTREAM LOG [OPTION...]: the proxy as a service would have it: contexts are added as trailers and
# removed, spans go to the receiver. Sets PROXY_PID.
start_proxy() {
  local listen=$1 upstream=$2 log=$3
  shift 3
  proxy_command "$listen" "$upstream" "$@"
  "${PROXY_COMMAND[@]}" 2>"$log" &
  PROXY_PID=$!
  wait_until "$KIT_PATIENCE" "the proxy on $listen" in_subshell answers "${listen%:*}" "${listen##*:}" || {
    cat "$log" >&2
    return 1
  }
}

# proxy_command LISTEN UPSTREAM [OPTION...]: sets PROXY_COMMAND. Spans leave ten times a second rather than once, because
# suites that start their own servers also kill them, and with them the proxy in front.
# SETTING=followed adds that causes are followed, and the port of a service, behind which nothing listens.
proxy_command() {
  local listen=$1 upstream=$2 setting=()
  shift 2
  case ${SETTING:-} in
    '') setting=(--follow off) ;;
    followed) setting=(--follow parent --commands all --http "127.0.0.1:0,127.0.0.1:9") ;;
    *) die "no setting '$SETTING'; there is: followed" ;;
  esac
  PROXY_COMMAND=(env OTEL_SERVICE_NAME="${OTEL_SERVICE_NAME:-conformance}" OTEL_BSP_SCHEDULE_DELAY=100
    "$KIT_PROXY" --listen "$listen" --upstream "$upstream" --mode inject --drain-timeout 1s --log-level info \
    "${setting[@]}" "$@")
}

# stop_proxy: asks the proxy to end, which sends the last spans. Fails if it was dead already or did not end well.
stop_proxy() { stop "$PROXY_PID" "the proxy"; }

# proxy_defects LOG...: prints the lines of a proxy's log that must never be there. Succeeds if there are none.
proxy_defects() {
  ! grep -hE '(^|[^A-Za-z_])(ERROR|panicked)([^A-Za-z_]|$)|^thread .* panicked|fatal runtime error|stack overflow' "$@"
}

# stop PID WHAT: SIGTERM, and its end within the patience.
stop() {
  local pid=$1 what=$2 status=0
  if ! kill -TERM "$pid" 2>/dev/null; then
    wait "$pid" 2>/dev/null || status=$?
    say "$what had ended by itself, with status $status"
    return 1
  fi
  # A guard in a subshell would be shorter, but one that is killed as it starts runs this shell's EXIT trap.
  wait_until "$KIT_PATIENCE" "the end of $what" ended "$pid" || kill -KILL "$pid"
  wait "$pid" 2>/dev/null || status=$?
  if [ "$status" -ne 0 ]; then
    say "$what ended with status $status"
    return 1
  fi
}

ended() { ! kill -0 "$1"; }

# pypi_sdist NAME-VERSION FOLDER: the source distribution, unpacked as FOLDER, as the package index has it.
pypi_sdist() {
  local name=$1 folder=$2 downloads tool
  downloads="$(target_folder)/conformance/sdists"
  tool="$(target_folder)/conformance/python"
  if ! [ -e "$downloads/$name.tar.gz" ]; then
    ensure_venv "$tool" "$KIT_ROOT/proxy/conformance/clients/python-requirements.txt" pip
    "$tool/bin/python" -m pip download --quiet --disable-pip-version-check --no-input --no-deps --no-binary :all: \
      --dest "$downloads" "${name%-*}==${name##*-}" >&2 || die "could not download $name"
  fi
  rm -rf "$folder"
  mkdir -p "$folder"
  tar -xzf "$downloads/$name.tar.gz" --strip-components=1 -C "$folder"
}
