#!/usr/bin/env bash
# What a person sees of `redistributed view`: its page in a real Chromium, fed by OTLP. The page's functions are tested first, by Node
# alone. Pictures for people are left in target/view-screenshots. Needs no Redis.
#   REDISTRIBUTED_BIN=path/to/redistributed   this program, instead of a debug build
#   PARTS="list large"                        only these files (NAME.test.mjs)
set -euo pipefail
# shellcheck source=proxy/conformance/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# playwright-core, and the test runner as it is used here.
NODE_MAJOR=20

main() {
  local target folder part tests=()
  target=$(target_folder)
  have node && have npm || install_packages nodejs npm || die "needs Node.js with npm"
  [ "$(node -p 'process.versions.node.split(".")[0]')" -ge "$NODE_MAJOR" ] || die "needs Node.js $NODE_MAJOR or later"
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

# The path of Chromium: what the machine has, otherwise the system's package.
browser() {
  local name
  for name in chromium chromium-browser google-chrome; do
    ! have "$name" || { command -v "$name" && return; }
  done
  install_packages chromium fonts-dejavu-core >&2 || die "no Chromium. Install it by hand, then try again"
  command -v chromium || die "no Chromium on PATH"
}

# bring FOLDER: what package-lock.json pins, and the tests beside it, where Node finds the packages.
bring() {
  mkdir -p "$1"
  if ! cmp -s "$here/package-lock.json" "$1/node_modules/.pinned"; then
    cp "$here/package.json" "$here/package-lock.json" "$1/"
    (cd "$1" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2) || die "npm could not install what package-lock.json pins"
    cp "$here/package-lock.json" "$1/node_modules/.pinned"
  fi
  rm -f "$1"/*.mjs
  cp "$here"/*.mjs "$1/"
}

main "$@"
