#!/usr/bin/env bash
# redis-client 0.22 (RESP2 and RESP3) and redis-rb 5.3 (RESP2) in Ruby, in scenarios of our own: their suites are in no
# registry.
# shellcheck source=proxy/conformance/clients/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

variants() { printf '%s\n' resp2 resp3; }

fetch() {
  have ruby || install_packages ruby || die "cannot install Ruby"
  debian_unpack trixie "$1/packages" ruby-redis=5.3.0-1 ruby-redis-client=0.22.2-1.1 ruby-connection-pool=2.4.1-1
}

run() {
  local gems=$1/packages/usr/share/rubygems-integration/all/gems
  # Without the system's own gems, which may hold other versions.
  ruby --disable=gems -I "$gems/redis-5.3.0/lib" -I "$gems/redis-client-0.22.2/lib" \
    -I "$gems/connection_pool-2.4.1/lib" "$KIT_ROOT/proxy/conformance/clients/ruby/scenarios.rb" "${2#resp}"
}

suite "$@"
