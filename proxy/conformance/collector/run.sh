#!/usr/bin/env bash
# The story of the Compose file with a real OpenTelemetry Collector: the same services, sidecars, settings and
# otel-collector.yaml, as processes on this machine. README.md says what is looked at.
#   collector/run.sh
#   REDISTRIBUTED_BIN=path/to/redistributed   this proxy, instead of a debug build made first
#   DEMO_PROGRAMS=path/to/folder              demo-api and demo-worker from there, likewise
#   OTELCOL_BIN=path/to/otelcol               this Collector, instead of one built from Debian's sources first
# Logs: target/conformance/collector/results.
set -euo pipefail
# shellcheck source=proxy/conformance/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
# shellcheck source=proxy/conformance/lib/compose.sh
. "$KIT_ROOT/proxy/conformance/lib/compose.sh"
here="$KIT_ROOT/proxy/conformance/collector"
folder="$(target_folder)/conformance/collector"

# The suite of Debian that has the Collector's sources.
SUITE=unstable

main() {
  # The stage has collectors of its own.
  OTLP_RECEIVER_BIN=unused kit_programs
  local programs=${DEMO_PROGRAMS:-}
  if [ -z "$programs" ]; then
    (cd "$KIT_ROOT" && in_one_line "the programs" cargo build --locked "${PROGRAMS[@]}" --package otlp-receiver) || die "the build failed"
    programs="$(target_folder)/debug"
  fi
  if [ -z "${OTELCOL_BIN:-}" ]; then
    ensure_otelcol
    OTELCOL_BIN="$folder/otelcol"
  fi
  "$OTELCOL_BIN" validate --config="$KIT_ROOT/compose/otel-collector.yaml" || die "the Collector rejects otel-collector.yaml"
  have python3 || install_packages python3 || die "no Python 3"

  rm -rf "$folder/results"
  mkdir -p "$folder/results"
  # With the Collector between the sidecars and Jaeger.
  resolve_compose http://collector:4318 --profile collector >"$folder/results/compose.json"
  read -ra servers <<<"$KIT_SERVERS"
  export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$KIT_ROOT/proxy/conformance/lib"
  in_namespace python3 "$here/story" --compose "$folder/results/compose.json" --results "$folder/results" \
    --collector "$OTELCOL_BIN" --collector-config "$KIT_ROOT/compose/otel-collector.yaml" \
    --redis-server "${servers[0]#*=}" --proxy "$KIT_PROXY" --programs "$programs"
}

# Builds $folder/otelcol unless it is there, made of what this tree says. Sources and compiler go again afterwards.
ensure_otelcol() {
  local build="$folder/build" version
  local -a recipe=("$here/debian-packages.txt" "$here/requirements.txt" "$here"/otelcol/*.go)
  if [ -x "$folder/otelcol" ] && [ "$(cat "${recipe[@]}" | cksum)" = "$(cat "$folder/recipe" 2>/dev/null)" ]; then
    return
  fi
  rm -rf "$build"
  mkdir -p "$build"
  ensure_venv "$build/go" "$here/requirements.txt" go
  say "fetching the Collector's sources"
  fetch_sources "$build"
  version=$(collector_version "$build"/debs/golang-opentelemetry-collector-dev_*.deb)
  say "building the Collector $version, which takes some minutes"
  mkdir -p "$build/own/src/otelcol"
  cp "$here"/otelcol/*.go "$build/own/src/otelcol/"
  env GOPATH="$build/own:$build/unpacked/usr/share/gocode" GOCACHE="$build/cache" GO111MODULE=off GOTOOLCHAIN=local \
    GOFLAGS='' CGO_ENABLED=0 \
    "$build/go/bin/go" build -ldflags "-X main.version=$version" -o "$folder/otelcol" otelcol >&2 ||
    die "the Collector $version does not build with what Debian $SUITE has now; the lines above say why"
  cat "${recipe[@]}" | cksum >"$folder/recipe"
  rm -rf "$build"
}

# fetch_sources BUILD: downloads the packages of debian-packages.txt, checked by apt as always, and unpacks them into
# BUILD/unpacked. They are of another suite than the system's and are not installed, so apt works in a folder of its own.
fetch_sources() {
  local build=$1 mirror keyring=/usr/share/keyrings/debian-archive-keyring.gpg deb
  have dpkg-deb || die "the Collector's sources are Debian's packages, so this part needs Debian"
  mirror=$(debian_mirror)
  [ -n "$mirror" ] || die "apt knows no mirror of Debian"
  [ -e "$keyring" ] || install_packages debian-archive-keyring || die "no $keyring"
  mkdir -p "$build"/apt/{lists,cache/archives}/partial "$build/debs" "$build/unpacked"
  : >"$build/apt/status"
  printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$SUITE" >"$build/apt/sources.list"
  cat >"$build/apt/apt.conf" <<END
Dir::State::lists "$build/apt/lists";
Dir::State::status "$build/apt/status";
Dir::Cache "$build/apt/cache";
Dir::Etc::sourcelist "$build/apt/sources.list";
Dir::Etc::sourceparts "-";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
APT::Sandbox::User "";
END
  local -x APT_CONFIG="$build/apt/apt.conf"
  apt-get -qq -o Acquire::Retries=3 update >&2 || die "apt could not read Debian $SUITE"
  # shellcheck disable=SC2046
  (cd "$build/debs" && apt-get -qq -o Acquire::Retries=3 download $(grep -v '^#' "$here/debian-packages.txt")) >&2 ||
    die "Debian $SUITE does not have all of debian-packages.txt any more"
  for deb in "$build"/debs/*.deb; do
    dpkg-deb -x "$deb" "$build/unpacked"
  done
}

# The mirror of Debian that this system uses.
debian_mirror() {
  known_mirror | grep . && return
  # Nothing has been asked for yet on this machine.
  as_root apt-get -qq update >&2
  known_mirror
}

known_mirror() {
  # shellcheck disable=SC2016
  apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL)' 'Created-By: Packages' |
    awk '$2 == "Debian" && $3 == "Debian" { print $1; exit }'
}

# collector_version DEB: 0.152.0, and a word if the Compose file has another.
collector_version() {
  local version wanted
  version=$(dpkg-deb -f "$1" Version)
  version=${version%%-*}
  wanted=$(sed -n 's/.*opentelemetry-collector-contrib:\([0-9]*\.[0-9]*\).*/\1/p' "$KIT_ROOT/compose/docker-compose.yml")
  [ "${version%.*}" = "$wanted" ] || say "Debian $SUITE has the Collector $version, the Compose file names $wanted"
  printf '%s\n' "$version"
}

main
