# shellcheck shell=bash
# What the scripts for the trees and the pictures of the documents share. Sourced after proxy/conformance/lib.sh, in the root of the
# repository; never run.

# shellcheck disable=SC2034
PICTURES=proxy/docs/pictures
# The most bytes of a picture.
# shellcheck disable=SC2034
MOST_OF_A_PICTURE=$((150 << 10))

# Prints what the pictures were made of, each with its checksum: the page of the viewer, and the tree of the demo.
picture_inputs() {
  printf 'page %s\n' "$(cd proxy/view/page &&
    find . -name tests -prune -o -type f -print0 | LC_ALL=C sort --zero-terminated | xargs -0 sha256sum | sum_of_input)"
  printf 'tree %s\n' "$(python3 .ci/lib/shown_trees.py shape README.md | sum_of_input)"
}

sum_of_input() { sha256sum | cut -d ' ' -f 1; }

# console_trees FILE: what a proxy prints of an API and a worker that it serves both, while reports are ordered.
console_trees() {
  local target
  target=$(target_folder)
  KIT_SERVER=$(.ci/ensure-redis)
  KIT_PROXY=$target/debug/redistributed
  export KIT_SERVER KIT_PROXY
  have curl || install_packages curl || die "no curl. Install it by hand, then try again"
  in_namespace bash -euo pipefail -c '. proxy/conformance/lib.sh; . .ci/lib/pictures.sh; trees_inside "$@"' trees_inside \
    "$target/debug" "$1"
}

# How many reports are ordered before the one that is shown, and for how many seconds at least: a sidecar tells no cause in its
# first five seconds, and then only of commands such as it has seen eight times.
LEARN_REPORTS=12
LEARN_SECONDS=7

trees_inside() {
  local programs=$1 output=$2 scratch order report began pids=()
  scratch=$(mktemp -d)
  # shellcheck disable=SC2064
  trap "rm -rf '$scratch'" EXIT
  start_server "$KIT_SERVER" 127.0.0.1 6379 "$scratch/redis"
  OTEL_TRACES_EXPORTER=console "$KIT_PROXY" --route api=127.0.0.1:6380,redis://127.0.0.1:6379 \
    --route worker-chart=127.0.0.1:6381,redis://127.0.0.1:6379 --http api=127.0.0.1:8080,127.0.0.1:8081 \
    >"$output" 2>"$scratch/proxy.log" &
  # For stop_proxy.
  # shellcheck disable=SC2034
  PROXY_PID=$!
  wait_until "$KIT_PATIENCE" "the proxy" in_subshell answers 127.0.0.1 6381 || { cat "$scratch/proxy.log" >&2 && die "no proxy"; }
  LISTEN=127.0.0.1:8081 REDIS_URL=redis://127.0.0.1:6380 "$programs/demo-api" 2>"$scratch/api.log" &
  pids+=($!)
  KIND=chart REDIS_URL=redis://127.0.0.1:6381 "$programs/demo-worker" 2>"$scratch/worker.log" &
  pids+=($!)
  wait_until "$KIT_PATIENCE" "the API" curl -sf http://127.0.0.1:8080/health -o /dev/null || { cat "$scratch"/*.log >&2 && die "no API"; }
  began=$SECONDS
  for ((order = 10001; ; order++)); do
    report=$(curl -sf http://127.0.0.1:8080/reports -d "{\"title\":\"Sales by month\",\"order\":\"ord-$order\"}" |
      sed -n 's/.*"id": *"\([^"]*\)".*/\1/p')
    wait_until "$KIT_PATIENCE" "the part of report $order" part_is_there "$report"
    # The last one is ordered when all has been learned.
    [ "$order" -le $((10001 + LEARN_REPORTS)) ] || [ $((SECONDS - began)) -le "$LEARN_SECONDS" ] || break
  done
  # The services first, because a proxy waits for the ends of connections.
  kill -TERM "${pids[@]}"
  wait "${pids[@]}"
  stop_proxy
}

part_is_there() { curl -sf "http://127.0.0.1:8080/reports/$1?wait=10" | grep -q chart; }
