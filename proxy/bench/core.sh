#!/usr/bin/env bash
# `make bench-core`: counts what an operation of the core costs in instructions and allocations, under valgrind, and
# compares with proxy/core/benches/baseline*.txt. `--update` writes these files instead.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
# shellcheck source=.ci/lib/system.sh
. .ci/lib/system.sh
# shellcheck source=.ci/lib/cargo.sh
. .ci/lib/cargo.sh

target=$(target_folder)

valgrind=$(.ci/ensure-valgrind)
in_one_line "what counts" cargo build --release --locked -p redistributed-bench

# count BENCH BASELINE: the workloads of one of the core's benches.
count() {
  local name=$1 baseline=$2 bench
  shift 2
  bench=$(in_one_line "the core's bench $name" \
    cargo bench --no-run --locked -p redistributed-core --bench "$name" --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
  [ -x "$bench" ] || die "cargo did not say where the core's bench $name is"
  "$target/release/redistributed-bench" core --valgrind "$valgrind" --bench "$bench" \
    --baseline "proxy/core/benches/$baseline" "$@"
}

worse=0
count session baseline.txt "$@" || worse=1
count causes baseline-causes.txt "$@" || worse=1
exit "$worse"
