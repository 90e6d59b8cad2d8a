#!/bin/sh
# Builds what the image holds, into the folder OUT:
#   compose/static-build.sh OUT
# usr/local/bin/redistributed is linked statically against musl and needs nothing at run time. The same sources and the
# same compiler give the same bytes, wherever they lie: paths are left out of the program, times out of the rest. Needs
# cargo with the musl target, a C compiler for musl, and jq. STATIC_PROFILE=dev builds it unoptimised, beside the other debug
# builds, for those who look at everything but its speed.
set -eu
out=$1
profile=${STATIC_PROFILE:-release}
root=$(cd "$(dirname "$0")/.." && pwd)
target="$(uname -m)-unknown-linux-musl"
build="${CARGO_TARGET_DIR:-$root/target}/static"
export SOURCE_DATE_EPOCH=0

# The flags are separated by the character 0x1f, so that paths may hold spaces.
CARGO_ENCODED_RUSTFLAGS=$(printf -- '--remap-path-prefix=%s=redistributed\037--remap-path-prefix=%s=cargo' \
  "$root" "${CARGO_HOME:-$HOME/.cargo}")
compiled=$build
if [ "$profile" = dev ]; then
  # Macros and build scripts, which run on this machine, are the same as those of the other debug builds.
  compiled=${CARGO_TARGET_DIR:-$root/target}
  # As a flag of the program's own target, because the profile is also that of the macros.
  CARGO_ENCODED_RUSTFLAGS=$(printf '%s\037-Cstrip=symbols' "$CARGO_ENCODED_RUSTFLAGS")
fi
export CARGO_ENCODED_RUSTFLAGS
mkdir -p "$build" "$out/usr/local/bin" "$out/etc/ssl/certs" "$out/usr/share/doc/redistributed"
# For packaging/build.sh, whose wheel holds the same program.
printf '%s' "$CARGO_ENCODED_RUSTFLAGS" >"$build/rustflags"
cargo build --manifest-path "$root/Cargo.toml" --target-dir "$compiled" --locked --profile "$profile" --target "$target" \
  --package redistributed --message-format json-render-diagnostics >"$build/messages.json"

# The profile dev has a folder of another name.
[ "$profile" != dev ] || profile=debug
install -m 0755 "$compiled/$target/$profile/redistributed" "$out/usr/local/bin/redistributed"
install -m 0644 /etc/ssl/certs/ca-certificates.crt "$out/etc/ssl/certs/ca-certificates.crt"
install -m 0644 "$root/LICENSE" "$out/usr/share/doc/redistributed/LICENSE"

cargo metadata --manifest-path "$root/Cargo.toml" --format-version 1 --locked --filter-platform "$target" >"$build/metadata.json"
jq --slurpfile messages "$build/messages.json" --rawfile lock "$root/Cargo.lock" --arg program redistributed \
  --arg target "$target" --from-file "$root/compose/bill-of-materials.jq" "$build/metadata.json" \
  >"$out/usr/share/doc/redistributed/redistributed.cdx.json"
