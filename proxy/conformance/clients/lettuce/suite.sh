#!/usr/bin/env bash
# Lettuce 6.5, in the scenarios of ../java. RESP2 and RESP3.
# shellcheck source=proxy/conformance/clients/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
# shellcheck source=proxy/conformance/clients/java.sh
. "$clients/java.sh"

suite "$@"
