#!/usr/bin/env bash
# redis-rs 1.8.1: the Rust client's own tests from its crate, blocking and asynchronous (tokio), in RESP2 and RESP3. They
# start a server for each test, which proxied is the shim. Left out are those that need a cluster, a sentinel, TLS or
# modules.
# Each test runs as a process of its own with up to four tries, as the project's own settings for nextest have it: some
# tests depend on timing, direct too.
set -euo pipefail
# shellcheck source=proxy/conformance/clients/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
here="$clients/redis-rs"

VERSION=1.8.1
HELPER_VERSION=1.0.4
FEATURES=acl,aio,cache-aio,connection-manager,geospatial,script,streams,tokio-comp
TESTS=(parser test_acl test_async test_auth test_basic test_bignum test_cache test_credentials_provider_failures
  test_digest_utils test_geospatial test_hotkeys test_script test_streams test_types)
TRIES=4
TEST_SECONDS=60

variants() { printf '%s\n' resp2 resp3; }

fetch() {
  local folder=$1 stamp="redis $VERSION with redis-test $HELPER_VERSION and $FEATURES" test targets=()
  [ "$(cat "$folder/stamp" 2>/dev/null)" != "$stamp" ] || return 0
  have cargo || die "no cargo"
  rm -rf "$folder/tree" "$folder/tests"
  mkdir -p "$folder/tests"
  crate "redis" "$VERSION" "$folder"
  # A published crate has lost the paths to the crates next door, and its lock file does not know of them. The rest stays
  # locked. The helper must use the client under test and no copy of it.
  cp -r "$here/test-macros" "$folder/tree/test-macros"
  cat >>"$folder/tree/Cargo.toml" <<END

[dev-dependencies.redis-test]
version = "=$HELPER_VERSION"

[dev-dependencies.test_macros]
path = "test-macros"

[patch.crates-io]
redis = { path = "." }

[profile.dev]
debug = false

[workspace]
END
  for test in "${TESTS[@]}"; do
    targets+=(--test "$test")
  done
  (
    cd "$folder/tree"
    export CARGO_TARGET_DIR="$folder/build"
    in_one_line "redis-rs" cargo test --no-run --features "$FEATURES" "${targets[@]}"
    cargo test --quiet --no-run --features "$FEATURES" "${targets[@]}" --message-format json |
      sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' |
      while read -r test; do cp "$test" "$folder/tests/$(basename "${test%-*}")"; done
  ) || die "redis-rs does not build"
  [ "$(find "$folder/tests" -type f | wc -l)" -eq ${#TESTS[@]} ] || die "not every test of redis-rs was built"
  rm -rf "$folder/build"
  echo "$stamp" >"$folder/stamp"
}

# crate NAME VERSION FOLDER: the crate as published, in FOLDER/tree.
crate() {
  local folder=$3/fetch manifest
  mkdir -p "$folder/src"
  printf '[package]\nname = "fetch"\nedition = "2024"\n[dependencies]\n%s = "=%s"\n[workspace]\n' "$1" "$2" >"$folder/Cargo.toml"
  touch "$folder/src/lib.rs"
  manifest=$(cargo metadata --quiet --manifest-path "$folder/Cargo.toml" --format-version 1 |
    grep -o "\"manifest_path\":\"[^\"]*/$1-$2/Cargo.toml\"" | head -n 1 | cut -d '"' -f 4)
  [ -n "$manifest" ] || die "could not fetch the crate $1 $2"
  cp -r "$(dirname "$manifest")" "$3/tree"
  rm -rf "$folder" "$3/tree/benches" "$3/tree/examples"
  without_targets example bench <"$manifest" >"$3/tree/Cargo.toml"
}

# The manifest on standard input without the tables [[KIND]] of the kinds given, whose files are not built here.
without_targets() {
  awk -v kinds=" $* " '
    /^\[/ { kind = $0; gsub(/[][]/, "", kind); skip = /^\[\[/ && index(kinds, " " kind " ") }
    !skip' -
}

run() {
  local folder=$1 variant=$2 programs=$3/bin binary
  # The helper asks the `redis-server` on PATH for its version, and starts the one it is told of.
  mkdir "$programs"
  ln -s "$REDIS_SERVER" "$programs/redis-server"
  export PATH="$programs:$PATH" REDISRS_SERVER_TYPE=tcp REDISRS_SERVER_BIN="$REDIS_SERVER" PROTOCOL=${variant^^}
  cd "$folder/tree"
  for binary in "$folder"/tests/*; do
    "$binary" --list --format terse | sed -n "s|: test\$||p" | sed "s|^|$binary |"
  done | xargs -P 2 -L 1 "${BASH_SOURCE[0]}" one
}

# one BINARY TEST: prints its result; the output of a failed try goes to standard error.
one() {
  local binary=$1 test=$2 output try
  for ((try = 1; try <= TRIES; try++)); do
    if output=$(timeout --kill-after=5 "$TEST_SECONDS" "$binary" --exact "$test" 2>&1); then
      if grep -q '^test result: ok\. 0 passed; 0 failed; 1 ignored' <<<"$output"; then
        printf 'skip\t%s::%s\n' "$(basename "$binary")" "$test"
      else
        printf 'pass\t%s::%s\n' "$(basename "$binary")" "$test"
      fi
      return
    fi
    printf -- '--- try %s of %s::%s\n%s\n' "$try" "$(basename "$binary")" "$test" "$output" >&2
  done
  printf 'fail\t%s::%s\n' "$(basename "$binary")" "$test"
}

# The runner knows the first three; the last one is for xargs above.
case ${1:-} in
  one) one "$2" "$3" ;;
  *) suite "$@" ;;
esac
