#!/usr/bin/env bash
# `make bench-causes DIR=...`: plays recordings of services with known truth to the inference of causes, and judges its answers.
# Without a folder it takes the short recordings of the core's tests. proxy/docs/causes.md says what recordings are.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
# shellcheck source=.ci/lib/system.sh
. .ci/lib/system.sh
# shellcheck source=.ci/lib/cargo.sh
. .ci/lib/cargo.sh

target=$(target_folder)
in_one_line "the example replay" cargo build --release --locked -p redistributed-core --example replay
in_one_line "what judges" cargo build --release --locked -p redistributed-bench
exec "$target/release/redistributed-bench" causes --replay "$target/release/examples/replay" "$@"
