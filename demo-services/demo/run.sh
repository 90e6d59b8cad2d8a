#!/usr/bin/env bash
# `make demo`: makes sure of what the demo needs, builds, and runs it. KEEP=1 leaves it running until Ctrl-C, and shows
# the transactions on a web page unless a collector does. VIEW=1 does that in any case.
# Arguments are passed on to the demo program (`run.sh --help`).
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
# shellcheck source=.ci/lib/system.sh
. .ci/lib/system.sh
# shellcheck source=.ci/lib/cargo.sh
. .ci/lib/cargo.sh

target=$(target_folder)
python_worker=$root/demo-services/worker-python

# Prints the path of a Python that can import `redis`, in a private environment; fails if there can be none.
# Python itself is not installed for this: the demo is whole without it.
python_with_redis() {
  have python3 || return 1
  local venv=$target/demo-python
  # In a subshell, because ensure_venv exits when it fails; its output is for the eyes.
  (ensure_venv "$venv" "$python_worker/requirements.txt" redis) >&2 || return 1
  printf '%s\n' "$venv/bin/python"
}

redis_server=$(.ci/ensure-redis)

arguments=(--redis-server "$redis_server")
if python=$(python_with_redis); then
  arguments+=(--python "$python" --python-worker "$python_worker/worker.py")
else
  say "no Python 3 with redis-py here, so the Python worker stays out; the rest of the demo does not need it"
fi

# Debug builds: they take about half as long as optimised ones, and the demo waits for nothing but the workers anyway.
in_one_line "the demo" cargo build --locked "${PROGRAMS[@]}"
exec "$target/debug/demo" "${arguments[@]}" "$@"
