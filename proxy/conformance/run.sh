#!/usr/bin/env bash
# Everything that shows that nobody can tell the proxy from Redis, one part after another, with a summary at the end:
#   proxy/conformance/run.sh
#   ONLY=oracle,clients proxy/conformance/run.sh          only these parts, in the order below
#   ONLY=collector proxy/conformance/run.sh               the story with a real OpenTelemetry Collector: on request only,
#                                                         because it builds one from what Debian unstable has today
#   ONLY=article proxy/conformance/run.sh                 the programs of the article with a real Jaeger: on request only, because
#                                                         it builds Jaeger
#   ONLY=jaeger proxy/conformance/run.sh                  the demo's story in a real Jaeger: on request only, for the same reason
#   SERVERS=redis-7.0,valkey-9.1 proxy/conformance/run.sh only these servers
#   REDISTRIBUTED_BIN=path/to/redistributed               this program, instead of a release build made first
# A part is a folder here with a run.sh, which is given SERVERS (names as above, none for all), REDISTRIBUTED_BIN and
# REDISTRIBUTED_TEST_SERVERS (NAME=PROGRAM of those servers). Fails if any part fails, after all have run. A name in ONLY or SERVERS
# that there is not ends it with status 2 before anything is built.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=.ci/lib/system.sh
. "$root/.ci/lib/system.sh"
# shellcheck source=.ci/lib/cargo.sh
. "$root/.ci/lib/cargo.sh"

PARTS=(oracle clients frameworks queues faults http view)
ON_REQUEST=(collector article jaeger)

main() {
  local part started status failed=0 chosen selected=() summary=() all=("${PARTS[@]}")
  [ -z "${ONLY:-}" ] || all+=("${ON_REQUEST[@]}")
  chosen=$(selection "${ONLY:-}" "${all[@]}") || exit $?
  mapfile -t selected <<<"$chosen"
  prepare_servers
  prepare_proxy

  for part in "${selected[@]}"; do
    printf '\n== %s\n' "$part"
    started=$SECONDS
    status=0
    "part_$part" || status=$?
    case $status in
      0) status=passed ;;
      *) status="FAILED ($status)" failed=1 ;;
    esac
    summary+=("$(printf '%-12s %-12s %6s s' "$part" "$status" "$((SECONDS - started))")")
  done

  printf '\n== summary, on %s\n' "$(names)"
  printf '%s\n' "${summary[@]}"
  return "$failed"
}

# The oracle is a test of the package, here with nothing left out.
part_oracle() {
  local command=(cargo test --manifest-path "$root/Cargo.toml" --locked --workspace --test oracle)
  in_one_line "the oracle" "${command[@]}" --no-run && REDISTRIBUTED_ORACLE=full "${command[@]}" -- --format terse
}

part_clients() { "$here/clients/run.sh"; }
part_frameworks() { "$here/frameworks/run.sh"; }
part_queues() { "$here/queues/run.sh"; }
part_faults() { "$here/faults/run.sh"; }
part_http() { "$here/http/run.sh"; }
part_view() { "$here/view/run.sh"; }
part_collector() { "$here/collector/run.sh"; }
part_article() { "$here/article/run.sh"; }
part_jaeger() { "$here/jaeger/run.sh"; }

# refuse TEXT: ends with the status of a wrong command line.
refuse() {
  say "$*"
  exit 2
}

# selection LIST ALL...: the names of LIST (separated by commas; empty means all), in the order of ALL. A name that is not
# among ALL is an error. Parts that this tree does not have are left out, and said to be.
selection() {
  local list=$1 name part
  shift
  for name in ${list//,/ }; do
    [[ " $* " == *" $name "* ]] || refuse "no part '$name'; the parts are: $*"
  done
  for part in "$@"; do
    [[ -z $list || ",$list," == *",$part,"* ]] || continue
    if [ "$part" = oracle ] || [ -x "$here/$part/run.sh" ]; then
      printf '%s\n' "$part"
    elif [ -n "$list" ]; then
      die "there is no $part/run.sh"
    else
      say "left out, because there is no $part/run.sh: $part"
    fi
  done
}

# Sets REDISTRIBUTED_TEST_SERVERS to those of .ci/ensure-servers that SERVERS names.
prepare_servers() {
  local all entry name kept=()
  for entry in ${SERVERS//,/ }; do
    # Which versions there are is known when they have been brought, and what is no version at once.
    [[ $entry =~ ^(redis|valkey)-[0-9]+\.[0-9]+$ ]] ||
      refuse "no server '$entry'; the servers are named like redis-7.0,redis-8.2,valkey-9.1"
  done
  all=$("$root/.ci/ensure-servers") || die "the servers could not be brought"
  eval "$all"
  for name in ${SERVERS:-}; do
    for entry in ${name//,/ }; do
      [[ " $REDISTRIBUTED_TEST_SERVERS " == *" $entry="* ]] || refuse "no server '$entry'; the servers are: $(names)"
    done
  done
  for entry in $REDISTRIBUTED_TEST_SERVERS; do
    if [[ -z ${SERVERS:-} || ",$SERVERS," == *",${entry%%=*},"* ]]; then
      kept+=("$entry")
    fi
  done
  export REDISTRIBUTED_TEST_SERVERS="${kept[*]}" SERVERS="${SERVERS:-}"
}

prepare_proxy() {
  if [ -z "${REDISTRIBUTED_BIN:-}" ]; then
    in_one_line "the proxy, optimised" cargo build --manifest-path "$root/Cargo.toml" --locked --release --package redistributed
    REDISTRIBUTED_BIN=$(target_folder)/release/redistributed
  fi
  [ -x "$REDISTRIBUTED_BIN" ] || die "REDISTRIBUTED_BIN=$REDISTRIBUTED_BIN is no program"
  REDISTRIBUTED_BIN=$(cd "$(dirname "$REDISTRIBUTED_BIN")" && pwd)/$(basename "$REDISTRIBUTED_BIN")
  export REDISTRIBUTED_BIN
}

names() {
  local entry
  for entry in $REDISTRIBUTED_TEST_SERVERS; do
    printf '%s ' "${entry%%=*}"
  done
}

main
