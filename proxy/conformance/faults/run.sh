#!/usr/bin/env bash
# The long part of the fault tests: Redis killed 150 times, 12,000 clients that vanish, 10,000 idle connections, values of
# 512 MiB; each direct and through the proxy. Needs about 3 GiB of memory and some minutes a server.
#   SERVERS=redis-7.0,...   only these; otherwise all that .ci/ensure-servers brings
#   FAULT_SEED=N            repeats a run whose seed was shown
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
# shellcheck source=.ci/lib/system.sh
. "$root/.ci/lib/system.sh"

main() {
  local servers pair
  servers=$("$root/.ci/ensure-servers")
  eval "$servers"
  for pair in $(wanted); do
    echo "== faults: ${pair%%=*}"
    with_server "$pair"
  done
}

# The pairs NAME=PROGRAM of REDISTRIBUTED_TEST_SERVERS that SERVERS asks for.
wanted() {
  local name pair found
  if [ -z "${SERVERS:-}" ]; then
    echo "$REDISTRIBUTED_TEST_SERVERS"
    return
  fi
  for name in ${SERVERS//,/ }; do
    found=
    for pair in $REDISTRIBUTED_TEST_SERVERS; do
      [ "${pair%%=*}" != "$name" ] || found=$pair
    done
    [ -n "$found" ] || die "no server '$name'; there are: $REDISTRIBUTED_TEST_SERVERS"
    echo "$found"
  done
}

# One after the other: memory and time are measured. A test starts the `redis-server` that is first on the path.
with_server() {
  local front
  front=$(mktemp -d)
  ln -s "${1#*=}" "$front/redis-server"
  (cd "$root" && PATH="$front:$PATH" REDISTRIBUTED_TEST_SERVERS="$1" \
    cargo test --package redistributed --test faults --locked -- --ignored --nocapture --test-threads=1)
  rm -r "$front"
}

main "$@"
