# shellcheck shell=bash
# What the languages share. Sourced by each `language.sh`, which says what is its own in two functions, `fetch` and `run`, and ends
# with `language "$@"`.

languages=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=.ci/lib/system.sh
. "$languages/../../../../.ci/lib/system.sh"
# shellcheck source=proxy/conformance/lib/packages.sh
. "$languages/../../lib/packages.sh"

language() {
  case ${1:-} in
    fetch | run) "$@" ;;
    *) die "usage: language.sh fetch FOLDER | run FOLDER LIBRARY send COUNT | run FOLDER LIBRARY work" ;;
  esac
}
