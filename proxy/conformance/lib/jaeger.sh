# shellcheck shell=bash
# Jaeger 2 as its Go module has it, built once and kept in the target folder. Sourced after ../lib.sh, by the parts `article` and
# `jaeger`.

# shellcheck source=proxy/conformance/lib/go.sh
. "$KIT_ROOT/proxy/conformance/lib/go.sh"

JAEGER_MODULE=github.com/jaegertracing/jaeger/cmd/jaeger@v1.76.0

# ensure_jaeger: exports JAEGER_BIN, which is left as it is if it is set.
ensure_jaeger() {
  local kept
  [ -z "${JAEGER_BIN:-}" ] || return 0
  kept="$(target_folder)/conformance/jaeger-module"
  if [ "$(cat "$kept/module" 2>/dev/null)" != "$JAEGER_MODULE" ]; then
    say "building Jaeger, which takes 15 minutes of processor time the first time; it is kept in $kept"
    rm -rf "$kept"
    mkdir -p "$kept/build"
    (
      cd "$kept/build"
      in_go mod init jaeger && in_go get -tool "$JAEGER_MODULE" && in_go build -o "$kept/jaeger" "${JAEGER_MODULE%@*}"
    ) || die "Jaeger could not be built"
    rm -rf "$kept/build"
    # Written last: it marks the folder as complete.
    echo "$JAEGER_MODULE" >"$kept/module"
  fi
  export JAEGER_BIN="$kept/jaeger"
}
