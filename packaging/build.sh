#!/usr/bin/env bash
# Makes what is published of one version for this machine's kind of processor: an archive, a Debian package, a wheel, an archive of
# the demo and the bill of materials, with their checksums, all of the same static program.
#   packaging/build.sh [FOLDER]     target/package/out unless named
# STATIC_PROFILE=dev makes them of an unoptimised program, to see whether they can be made. The demo's other programs are then those
# that `make demo` builds, which are not static.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=.ci/lib/system.sh
. "$root/.ci/lib/system.sh"
# shellcheck source=.ci/lib/cargo.sh
. "$root/.ci/lib/cargo.sh"
if [ $# -gt 1 ] || [[ "${1:-}" == -* ]]; then
  say "usage: packaging/build.sh [FOLDER], with no option; FOLDER is emptied first"
  exit 2
fi
out=${1:-$root/target/package/out}
if [ -n "${1:-}" ] && [ ! -e "$out/SHA256SUMS" ] && [ -n "$(ls -A "$out" 2>/dev/null)" ]; then
  die "$out holds something else than packages, and is not emptied: name another folder"
fi

# Where proxy/Cargo.toml expects what goes into the Debian package.
stage=$root/target/package/root
tools=$(target_folder)/package-tools
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)
machine=$(uname -m)
name=redistributed-$version-$machine-linux
demo=redistributed-demo-$version-$machine-linux

main() {
  ensure_venv "$tools" "$root/packaging/tools.txt" maturin
  export PATH="$tools/bin:$PATH"
  static=$("$root/.ci/static-image" "$(target_folder)/image")/out
  rm -rf "$stage" "$out"
  mkdir -p "$out"
  stage_files
  (cd "$root/target/package" && rm -rf "$name" && cp -R root "$name" && archive "$out/$name.tar.gz" "$name" && rm -rf "$name")
  make_debian_package
  make_wheel
  make_demo_archive
  cp "$static/usr/share/doc/redistributed/redistributed.cdx.json" "$out/$name.cdx.json"
  (cd "$out" && sha256sum -- * >SHA256SUMS)
  printf '%s\n' "$out"
}

# The program, and what it says of itself, where a distribution keeps such files.
stage_files() {
  local page
  install -D -m 0755 "$static/usr/local/bin/redistributed" "$stage/usr/bin/redistributed"
  install -D -m 0644 "$root/LICENSE" "$stage/usr/share/doc/redistributed/LICENSE"
  mkdir -p "$stage/usr/share/man/man1" "$stage/usr/share/bash-completion/completions" \
    "$stage/usr/share/zsh/vendor-completions" "$stage/usr/share/fish/vendor_completions.d"
  "$stage/usr/bin/redistributed" man >"$stage/usr/share/man/man1/redistributed.1"
  for page in $(subcommands); do
    "$stage/usr/bin/redistributed" man "$page" >"$stage/usr/share/man/man1/redistributed-$page.1"
  done
  "$stage/usr/bin/redistributed" completions bash >"$stage/usr/share/bash-completion/completions/redistributed"
  "$stage/usr/bin/redistributed" completions zsh >"$stage/usr/share/zsh/vendor-completions/_redistributed"
  "$stage/usr/bin/redistributed" completions fish >"$stage/usr/share/fish/vendor_completions.d/redistributed.fish"
  install -D -m 0644 -t "$stage/usr/lib/systemd/system" "$root/packaging/systemd/redistributed.service" \
    "$root/packaging/systemd/redistributed.socket"
  install -D -m 0644 -t "$stage/etc/redistributed" "$root/packaging/systemd/redistributed.toml"
}

# Those with a manual page of their own, which the program's page refers to.
subcommands() { grep -oE 'redistributed\\-[a-z]+\(1\)' "$stage/usr/share/man/man1/redistributed.1" | sed 's/.*\\-//; s/(1)//' | sort -u; }

# The same files give the same archive.
archive() {
  tar --create --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner "$2" | gzip --no-name >"$1"
}

# By Debian's own program: what a static program needs of a package is four small files in packaging/deb.
make_debian_package() {
  local package=$root/target/package/deb architecture file
  have dpkg-deb || die "no dpkg-deb, which makes the Debian package: install dpkg"
  case $machine in
    x86_64) architecture=amd64 ;;
    aarch64) architecture=arm64 ;;
    *) die "Debian's name of $machine is not known here" ;;
  esac
  rm -rf "$package"
  cp -R "$stage" "$package"
  gzip --no-name "$package"/usr/share/man/man1/*.1
  mv "$package/usr/share/doc/redistributed/LICENSE" "$package/usr/share/doc/redistributed/copyright"
  gzip --no-name --stdout "$root/CHANGELOG.md" >"$package/usr/share/doc/redistributed/changelog.gz"
  mkdir "$package/DEBIAN"
  sed "s/@VERSION@/$version-1/; s/@ARCHITECTURE@/$architecture/" "$root/packaging/deb/control" >"$package/DEBIAN/control"
  printf '/etc/redistributed/redistributed.toml\n' >"$package/DEBIAN/conffiles"
  for file in postinst prerm postrm; do
    install -m 0755 "$root/packaging/deb/$file" "$package/DEBIAN/$file"
  done
  (cd "$package" && find usr etc -type f -exec md5sum {} + | LC_ALL=C sort -k 2 >DEBIAN/md5sums)
  SOURCE_DATE_EPOCH=0 dpkg-deb --root-owner-group --build "$package" "$out/" >/dev/null
}

# maturin finds what the static program was compiled to. It expects that a program for musl runs with musl only; a static one
# runs with any libc, which the tags are made to say.
make_wheel() {
  local profile=${STATIC_PROFILE:-release} compiled folder=$root/target/package/wheel
  compiled=$(target_folder)
  [ "$profile" = dev ] || compiled=$compiled/static
  rm -rf "$folder"
  (
    cd "$root/packaging/python"
    CARGO_ENCODED_RUSTFLAGS=$(cat "$(target_folder)/static/rustflags")
    # The same as in static-build.sh, because a library is compiled anew when it changes.
    export CARGO_ENCODED_RUSTFLAGS SOURCE_DATE_EPOCH=0
    in_one_line "the wheel" maturin build --quiet --locked --profile "$profile" --target "$machine-unknown-linux-musl" \
      --target-dir "$compiled" --out "$folder"
  ) >&2 || die "the wheel could not be made"
  wheel tags --remove --platform-tag "manylinux_2_17_$machine.musllinux_1_2_$machine" "$folder"/*.whl >/dev/null
  mv "$folder"/*.whl "$out/"
}

# The demo's programs in one folder, where it finds them.
make_demo_archive() {
  local folder=$root/target/package/$demo programs program
  programs=$(demo_programs)
  rm -rf "$folder"
  mkdir -p "$folder"
  install -m 0755 "$static/usr/local/bin/redistributed" "$folder/"
  for program in demo demo-api demo-worker; do
    install -m 0755 "$programs/$program" "$folder/"
    ! have strip || strip "$folder/$program"
  done
  install -m 0644 "$root/packaging/demo/README.md" "$root/LICENSE" "$root/demo-services/worker-python/worker.py" "$folder/"
  (cd "$root/target/package" && archive "$out/$demo.tar.gz" "$demo")
  rm -rf "$folder"
}

# Prints the folder of the demo's own programs, and builds them if need be. Where everything is built once, `make demo` or the tests
# have left them.
demo_programs() {
  local built target=$machine-unknown-linux-musl
  built=$(target_folder)/debug
  if [ "${STATIC_PROFILE:-release}" = dev ]; then
    if [ -z "${CI:-}" ] || [ ! -x "$built/demo" ] || [ ! -x "$built/demo-api" ] || [ ! -x "$built/demo-worker" ]; then
      (cd "$root" && in_one_line "the demo" cargo build --locked "${PROGRAMS[@]}") >&2 || die "the demo could not be built"
    fi
    printf '%s\n' "$built"
    return
  fi
  built=$(target_folder)/static
  (cd "$root" && in_one_line "the demo" env SOURCE_DATE_EPOCH=0 CARGO_ENCODED_RUSTFLAGS="$(cat "$built/rustflags")" \
    cargo build --locked --release --target "$target" --target-dir "$built" \
    --package demo --package demo-api --package demo-worker) >&2 || die "the demo could not be built"
  printf '%s\n' "$built/$target/release"
}

main
