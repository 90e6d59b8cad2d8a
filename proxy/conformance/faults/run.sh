#!/usr/bin/env bash
# The long part of the fault tests: Redis killed 150 times, 12,000 clients that vanish, 10,000 idle connections, values of
# 512 MiB; each direct and through the proxy. Needs about 3 GiB of memory and some minutes a server.
#   SERVERS=redis-7.0,...   only these; otherwise all that .ci/ensure-servers brings
#   FAULT_SEED=N            repeats a run whose seed was shown
set -euo pipefail
# shellcheck source=proxy/conformance/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

main() {
  local servers pair command=(cargo test --manifest-path "$KIT_ROOT/Cargo.toml" --locked --workspace --test suite)
  in_one_line "the fault tests" "${command[@]}" --no-run
  servers=$("$KIT_ROOT/.ci/ensure-servers")
  eval "$servers"
  for pair in $(kit_wanted_servers); do
    echo "== faults: ${pair%%=*}"
    # One after the other: memory and time are measured.
    REDISTRIBUTED_TEST_SERVERS=$pair REDISTRIBUTED_TEST_SERVER=${pair%%=*} "${command[@]}" -- \
      faults:: --ignored --nocapture --test-threads=1
  done
}

main "$@"
