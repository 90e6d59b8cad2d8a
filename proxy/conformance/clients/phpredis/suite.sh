#!/usr/bin/env bash
# phpredis: the PHP extension in C, with its own suite (class Redis), both from Debian's source package. Speaks RESP2.
# shellcheck source=proxy/conformance/clients/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

fetch() {
  have phpize || install_packages php-cli php-dev gcc make libc6-dev || die "cannot install PHP"
  debian_upstream trixie php-redis=6.2.0-1 php-redis_6.2.0.orig.tar.gz \
    5069c13dd22bd9e494bb246891052cb6cc0fc9a1b45c6a572a8be61773101363 "$1/source"
  once "$1" build "$1/source"
}

build() {
  cd "$1"
  # What an earlier build noted of dependencies names files by their full paths.
  find . -name "*.dep" -delete
  phpize
  ./configure
  make -j2
}

run() {
  local output=$3/output
  cd "$1/source/tests"
  # Its exit code only says that some test failed.
  php -n -d "extension=$1/source/modules/redis.so" TestRedis.php --nocolors --class redis \
    --host "$REDIS_HOST" --port "$REDIS_PORT" >"$output" 2>&1 || true
  cat "$output" >&2
  # A line a test: its name, padded, then the verdict. What PHP itself says in between pushes the verdict to a later
  # line.
  awk -v OFS='\t' '
    /^test[A-Za-z0-9_]+ / { name = $1 }
    /\[(PASSED|FAILED|SKIPPED)\]$/ && name != "" {
      print (/PASSED\]$/ ? "pass" : /FAILED\]$/ ? "fail" : "skip"), name
      name = ""
    }' "$output"
}

suite "$@"
