#!/usr/bin/env bash
# Redis.pm: the Perl client, with its own suite, which starts a server for each file. Speaks RESP2.
# shellcheck source=proxy/conformance/clients/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

fetch() {
  perl -MTest::Deep -MTest::Fatal -MTest::SharedFork -MTest::TCP \
    -MIO::Socket::Timeout -MIO::String -MIPC::Cmd -e 1 2>/dev/null ||
    install_packages perl libtest-deep-perl libtest-fatal-perl libtest-sharedfork-perl libtest-tcp-perl \
      libio-socket-timeout-perl libio-string-perl || die "cannot install Perl's test modules"
  debian_upstream trixie libredis-perl=2:2.000-1 libredis-perl_2.000.orig.tar.gz \
    14cb899797212615b4e93f916dcbdafb48d01c5eaab2038fe6cb179bf95c6feb "$1/source"
}

run() {
  local file
  cd "$1/source"
  for file in t/[0-9]*.t; do
    # A file's exit code only says that some test failed; a crash shows as a plan that is not kept.
    REDIS_SERVER_PATH=$REDIS_SERVER perl -Ilib -It/tlib "$file" >"$3/output" 2>&1 || true
    cat "$3/output" >&2
    # Ports and process numbers in names are new each time.
    sed -E 's/ port [0-9]+/ port N/; s/gen-[0-9]+-/gen-N-/' "$3/output" | tap_results "$(basename "$file" .t)"
  done
}

suite "$@"
