#!/usr/bin/env bash
# What HTTP clients and services see of each other, directly and through the proxy (compare.py). Needs no Redis.
#   REDISTRIBUTED_BIN=path/to/redistributed   this program, instead of a debug build
#   PARTS="h11 node"                          only these services
#   SETTING=followed                          the proxy with --follow parent
set -euo pipefail
# shellcheck source=proxy/conformance/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

main() {
  local target venv parts=()
  target=$(target_folder)
  if [ -z "${REDISTRIBUTED_BIN:-}" ]; then
    (cd "$KIT_ROOT" && in_one_line "the program" cargo build --locked "${PROGRAMS[@]}") || die "the build failed"
  fi
  have curl || install_packages curl
  have wrk || install_packages wrk || say "there is no wrk; its part is left out"
  venv=$target/http-conformance
  ensure_venv "$venv" "$here/requirements.txt" h11
  read -ra parts <<<"${PARTS:-}"
  "$venv/bin/python" "$here/compare.py" "${REDISTRIBUTED_BIN:-$target/debug/redistributed}" "${parts[@]}"
}

main "$@"
