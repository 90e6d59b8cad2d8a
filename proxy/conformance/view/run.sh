#!/usr/bin/env bash
# What a person sees of `redistributed view`: its page in a real Chromium, fed by OTLP. The page's functions are tested first, by Node
# alone. Pictures for people are left in target/view-screenshots. Needs no Redis.
#   REDISTRIBUTED_BIN=path/to/redistributed   this program, instead of a debug build
#   PARTS="list large"                        only these files (NAME.test.mjs)
set -euo pipefail
# shellcheck source=proxy/conformance/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
# shellcheck source=proxy/conformance/view/browser.sh
. "$KIT_ROOT/proxy/conformance/view/browser.sh"

main() {
  local target folder part tests=()
  target=$(target_folder)
  node_is_there
  say "the page's functions, by Node alone"
  node --test "$KIT_ROOT"/proxy/view/page/tests/*.test.mjs

  if [ -z "${REDISTRIBUTED_BIN:-}" ]; then
    (cd "$KIT_ROOT" && in_one_line "the program" cargo build --locked "${PROGRAMS[@]}") || die "the build failed"
  fi
  VIEW_PROGRAM=$(realpath "${REDISTRIBUTED_BIN:-$target/debug/redistributed}")
  VIEW_BROWSER=$(browser)
  VIEW_SCREENSHOTS=$target/view-screenshots
  export VIEW_PROGRAM VIEW_BROWSER VIEW_SCREENSHOTS
  folder=$target/view-conformance
  bring "$folder"
  for part in ${PARTS:-}; do tests+=("$folder/$part.test.mjs"); done
  [ ${#tests[@]} -gt 0 ] || tests=("$folder"/*.test.mjs)
  rm -rf "$VIEW_SCREENSHOTS"
  # One browser at a time: the large transactions want the machine for themselves.
  node --test --test-concurrency=1 "${tests[@]}"
  say "pictures are in $VIEW_SCREENSHOTS"
}

main "$@"
