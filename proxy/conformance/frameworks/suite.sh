# shellcheck shell=bash
# What the suites share. Sourced by each `suite.sh`, which says what is its own in four functions and ends with
# `suite "$@"`. It is then called as
#   suite.sh services              the names of its services, one a line; each gets a proxy of its own, and finds its
#                                  Redis as host:port in REDIS_NAME (in capitals, `_` for `-`)
#   suite.sh variants              the names of its variants, one a line
#   suite.sh fetch FOLDER          brings what the program needs into FOLDER, with the network there; idempotent
#   suite.sh run FOLDER VARIANT    tells the story, with no network but loopback. The payloads are in the folder
#                                  PAYLOADS. What it prints: see `settle` in ledger.js

# The folder of the suite itself.
suite_folder=$(cd "$(dirname "${BASH_SOURCE[1]}")" && pwd)
frameworks=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=.ci/lib/system.sh
. "$frameworks/../../../.ci/lib/system.sh"
# shellcheck source=proxy/conformance/lib/packages.sh
. "$frameworks/../lib/packages.sh"

suite() {
  case ${1:-} in
    services | variants) "$1" ;;
    fetch | run) "$@" ;;
    *) die "usage: suite.sh services | variants | fetch FOLDER | run FOLDER VARIANT" ;;
  esac
}

# fetch_npm FOLDER: what package-lock.json beside the suite pins, as FOLDER/node_modules.
fetch_npm() { npm_modules "$suite_folder" "$1"; }

# fetch_python FOLDER MODULE: what requirements.txt beside the suite pins, as a virtual environment.
fetch_python() { ensure_venv "$1" "$suite_folder/requirements.txt" "$2"; }
