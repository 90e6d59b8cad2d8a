#!/usr/bin/env bash
# Builds the sidecar's image without Docker and without a registry: what the Dockerfile's stage `build` makes is made
# here, the rest is done by Buildah.
#   compose/image.sh [ARCHIVE]     target/redistributed-image.tar unless named
# To be loaded by `docker load`, `podman load` or `ctr images import`. The same sources and compiler give the
# same layer; what is around it names the build.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=.ci/lib/system.sh
. "$root/.ci/lib/system.sh"
target=$(target_folder)
archive=${1:-$target/redistributed-image.tar}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)

have buildah || install_packages buildah || die "Buildah is not installed and could not be: install it, then try again"
stage=$("$root/.ci/static-image" "$target/image")

# Copies instead of overlays, which not every machine lets a container builder mount.
storage=(--storage-driver vfs --root "$target/containers" --runroot "$target/containers/run")
id=$(buildah "${storage[@]}" build --quiet --format docker --timestamp 0 --build-context "build=$stage" \
  --file "$root/compose/Dockerfile" --tag "redistributed:$version" "$root")
rm -f "$archive"
buildah "${storage[@]}" push --quiet "$id" "docker-archive:$archive:redistributed:$version" >/dev/null
layer=$(buildah "${storage[@]}" inspect --type image --format '{{index .OCIv1.RootFS.DiffIDs 0}}' "$id")
printf '%s: redistributed:%s, %s bytes, layer %s\n' "$archive" "$version" "$(stat -c %s "$archive")" "$layer"
