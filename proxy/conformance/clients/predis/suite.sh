#!/usr/bin/env bash
# Predis 2.4: the client in PHP, with its own suite on PHPUnit, from Debian's source package. RESP2, and RESP3 in
# tests of its own. Left out, as by its own settings: what needs modules, Webdis, a cluster or an extension. Left out
# as well: a test in which a subscriber waits without limit for messages that another process may have sent before.
# shellcheck source=proxy/conformance/clients/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

fetch() {
  have phpunit || install_packages php-cli phpunit || die "cannot install PHPUnit"
  debian_upstream trixie php-predis=2.4.0-1 php-nrk-predis_2.4.0.orig.tar.xz \
    cad008164c86ed480df7e89b4bcb6b8454a3ba40946ec281950e815c6122f808 "$1/source"
}

run() {
  cd "$1/source" || return
  # Its exit code only says that some test failed. The order of its tests is fixed.
  phpunit --no-coverage --do-not-cache-result --log-junit "$3/report.xml" \
    --filter '/^(?!.*::testPubSubAgainstRedisServerBlocking$)/' tests/Predis >&2 || true
  python3 "$clients/junit_results.py" "$3/report.xml"
}

suite "$@"
