#!/usr/bin/env bash
# Rails' Action Cable with its Redis adapter and ruby-redis, from Debian's packages.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=proxy/conformance/frameworks/suite.sh
. "$here/../suite.sh"

services() { printf '%s\n' cable-a cable-b; }
variants() { echo default; }
fetch() { fetch_debian ruby ruby-actioncable ruby-redis; }
run() { exec ruby "$here/program.rb"; }

suite "$@"
