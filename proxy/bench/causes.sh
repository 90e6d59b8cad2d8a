#!/usr/bin/env bash
# `make bench-causes`: judges the inference of causes, by recordings of services with known truth, and by real services behind the
# proxy. DIR=folder takes other recordings than those of proxy/bench/recordings and the short ones of the core's tests;
# ONLY='node 10 at once,rust' takes some of the services and levels, and ONLY=none only the recordings. proxy/docs/causes.md says what
# recordings are, and services/README.md what the services do. Arguments are passed on to the program.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
# shellcheck source=.ci/lib/system.sh
. .ci/lib/system.sh
# shellcheck source=.ci/lib/cargo.sh
. .ci/lib/cargo.sh

target=$(target_folder)
services=$root/proxy/bench/services
in_one_line "the example replay" cargo build --release --locked -p redistributed-core --example replay
# Without optimisation: the tests have compiled its libraries so, and it has little to do.
in_one_line "what judges" cargo build --locked -p redistributed-bench
arguments=(--replay "$target/release/examples/replay")
if [ "${ONLY:-}" != none ]; then
  redis_server=$(.ci/ensure-redis)
  eval "$(.ci/ensure-clients)"
  ensure_venv "$target/bench-causes/python" "$services/requirements.txt" flask
  in_one_line "the proxy, optimised" cargo build --release --locked -p redistributed
  in_one_line "the service in Rust" cargo build --release --locked --manifest-path "$services/rust/Cargo.toml" \
    --target-dir "$target/bench-causes/rust"
  arguments+=(
    --services "$services"
    --plain-service "$target/bench-causes/rust/release/plain-service"
    --python "$target/bench-causes/python/bin/python"
    --node-modules "$REDISTRIBUTED_TEST_NODE_MODULES"
    --redistributed "$target/release/redistributed"
    --redis-server "$redis_server"
    --only "${ONLY:-}"
  )
fi
exec "$target/debug/redistributed-bench" causes "${arguments[@]}" "$@"
