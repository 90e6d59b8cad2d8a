#!/usr/bin/env bash
# What HTTP clients and services see of each other, directly and through the proxy (compare.py), the cases of llhttp's tests (corpus.py),
# and aiohttp's own tests (behind.py). Needs no Redis.
#   REDISTRIBUTED_BIN=path/to/redistributed   this program, instead of a debug build
#   PARTS="h11 node llhttp aiohttp-tests"     only these services and suites
#   SETTING=followed                          the proxy with --follow parent
set -euo pipefail
# shellcheck source=proxy/conformance/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# The release whose tests are run; requirements.txt has the same. Its llhttp comes with it.
AIOHTTP=aiohttp-3.14.5
# Those of its tests in which a client and a server talk to each other.
AIOHTTP_TESTS=(client_functional client_ws_functional web_functional web_websocket_functional web_sendfile_functional)

wanted() { [ -z "${PARTS:-}" ] || [[ " $PARTS " == *" $1 "* ]]; }

# aiohttp_tests [VARIABLE=VALUE...]: runs them beside the installed package, so that the one in the distribution is not taken for it.
aiohttp_tests() {
  local tests=()
  for name in "${AIOHTTP_TESTS[@]}"; do tests+=("tests/test_$name.py"); done
  (cd "$suite" && env -u REDISTRIBUTED_BIN "$@" PYTHONPATH="$here" "$venv/bin/python" -m pytest -q -p no:cacheprovider -p behind \
    --timeout 120 --disable-warnings "${tests[@]}") || die "aiohttp's own tests have failed"
}

main() {
  local target services=() part status=0 source
  target=$(target_folder)
  if [ -z "${REDISTRIBUTED_BIN:-}" ]; then
    (cd "$KIT_ROOT" && in_one_line "the program" cargo build --locked "${PROGRAMS[@]}") || die "the build failed"
  fi
  proxy=$(realpath "${REDISTRIBUTED_BIN:-$target/debug/redistributed}")
  have curl || install_packages curl
  have wrk || install_packages wrk || say "there is no wrk; its part is left out"
  venv=$target/http-conformance
  ensure_venv "$venv" "$here/requirements.txt" h11 pytest
  for part in ${PARTS:-}; do [[ $part == llhttp || $part == aiohttp-tests ]] || services+=("$part"); done
  if [ -z "${PARTS:-}" ] || [ "${#services[@]}" -gt 0 ]; then
    "$venv/bin/python" "$here/compare.py" "$proxy" "${services[@]}" || status=1
  fi
  if wanted llhttp || wanted aiohttp-tests; then
    source=$target/conformance/$AIOHTTP suite=$target/conformance/$AIOHTTP-tests
    pypi_sdist "$AIOHTTP" "$source"
    rm -rf "$suite"
    mkdir -p "$suite"
    cp -r "$source/tests" "$source/README.rst" "$suite"
  fi
  if wanted llhttp; then
    "$venv/bin/python" "$here/corpus.py" "$proxy" "$source/vendor/llhttp/test" || status=1
  fi
  if wanted aiohttp-tests; then
    say "aiohttp's own tests, directly"
    aiohttp_tests
    say "aiohttp's own tests, through the proxy"
    aiohttp_tests REDISTRIBUTED_BIN="$proxy"
  fi
  return "$status"
}

main "$@"
