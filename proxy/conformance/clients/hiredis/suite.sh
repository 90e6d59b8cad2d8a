#!/usr/bin/env bash
# hiredis 1.5.0: `hiredis-test`, the C client's own suite, with its asynchronous part on libevent.
# The library and its test come from the sdist of hiredis-py, which vendors them; the adapters to event loops, which it
# leaves out, from Debian's source package of hiredis.
set -euo pipefail
# shellcheck source=proxy/conformance/clients/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

SDIST=hiredis-3.5.0
ADAPTERS=(trixie hiredis=1.2.0-6 hiredis_1.2.0.orig.tar.gz
  82ad632d31ee05da13b537c124f819eb88e18851d9cb0c30ae0552084811588c)

fetch() {
  local folder=$1 stamp="$SDIST with the adapters of ${ADAPTERS[1]}"
  [ "$(cat "$folder/stamp" 2>/dev/null)" != "$stamp" ] || return 0
  have gcc || install_packages gcc libc6-dev || die "no C compiler"
  [ -e /usr/include/event2/event.h ] || install_packages libevent-dev || die "no libevent"
  rm -rf "$folder/hiredis"
  pypi_sdist "$SDIST" "$folder/sdist"
  debian_upstream "${ADAPTERS[@]}" "$folder/debian"
  mv "$folder/sdist/vendor/hiredis" "$folder/hiredis"
  cp -r "$folder/debian/adapters" "$folder/hiredis/adapters"
  cut_out_the_blackhole "$folder/hiredis/test.c"
  (
    cd "$folder/hiredis"
    gcc -std=gnu99 -O1 -g -DHIREDIS_TEST_ASYNC -I. -o hiredis-test \
      alloc.c async.c hiredis.c net.c read.c sds.c sockcompat.c test.c -levent
  ) || die "hiredis-test does not build"
  echo "$stamp" >"$folder/stamp"
}

# "Async connect timeout" dials a private address that it hopes nobody has. Nothing here may leave the machine.
cut_out_the_blackhole() {
  sed -i '/test("Async connect timeout: ");/,/config = defaultconfig;/d' "$1"
  ! grep -n '192\.168\.' "$1" || die "test.c still dials an address off this machine"
}

run() {
  local folder=$1 scratch=$3 status=0
  "$folder/hiredis/hiredis-test" -h "$REDIS_HOST" -p "$REDIS_PORT" -s "$REDIS_SOCKET" >"$scratch/output" || status=$?
  cat "$scratch/output" >&2
  tests <"$scratch/output"
  # 1 says that tests failed. Anything else is a crash, which leaves tests out.
  [ "$status" -le 1 ] || printf 'fail\thiredis-test ends by itself\n'
}

# From lines such as `#12 Name of the test: PASSED`, the verdict sometimes on a line of its own. Headings name the kind of
# connection; names come again under each, and now and then under the same one (which the results number).
tests() {
  sed 's/\x1b\[[0-9;]*m//g' | awk '
    function report(outcome) {
      print outcome "\t" (section == "" ? "" : section ": ") name
      name = ""
    }
    /^Testing / { section = $0; sub(/^Testing (asynchronous API )?/, "", section); sub(/ \(.*/, "", section) }
    /^Testing .*SKIPPED$/ { name = "the whole part"; report("skip"); next }
    /^#[0-9]+ / {
      # The throughput figures are numbered like tests and have no verdict.
      if (name != "") report("pass")
      name = $0
      sub(/^#[0-9]+ /, "", name)
      sub(/: *(PASSED|FAILED|SKIPPED)?$/, "", name)
    }
    name != "" && /PASSED$/ { report("pass") }
    name != "" && /FAILED$/ { report("fail") }
    name != "" && /SKIPPED$/ { report("skip") }
    # The test in which the program crashed.
    END { if (name != "") report("fail") }'
}

suite "$@"
