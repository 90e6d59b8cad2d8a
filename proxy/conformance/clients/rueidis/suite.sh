#!/usr/bin/env bash
# rueidis 1.0.79, in the scenarios of ../golang. RESP2 and RESP3.
# shellcheck source=proxy/conformance/clients/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
# shellcheck source=proxy/conformance/lib/go.sh
. "$KIT_ROOT/proxy/conformance/lib/go.sh"

variants() { printf '%s\n' resp2 resp3; }

# Go's cache makes it cheap where nothing has changed.
fetch() {
  (cd "$clients/golang" && in_go build -o "$1/scenarios" .) || die "the scenarios in Go do not build"
}

run() { "$1/scenarios" rueidis "${2#resp}"; }

suite "$@"
