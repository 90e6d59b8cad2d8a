# shellcheck shell=bash
# The frame of most suites: checks the arguments (`variants`, `fetch FOLDER`, `run FOLDER VARIANT RESULTS`) and hands
# them to the suite's functions of the same names; its `run FOLDER VARIANT SCRATCH` prints the results. Sourced; a
# suite defines its functions, then calls `suite "$@"`.
set -euo pipefail
# shellcheck source=proxy/conformance/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
clients="$KIT_ROOT/proxy/conformance/clients"
# shellcheck source=proxy/conformance/clients/debian.sh
. "$clients/debian.sh"

suite() {
  case "${1:-} $#" in
    'variants 1') variants ;;
    'fetch 2')
      mkdir -p "$2"
      fetch "$(cd "$2" && pwd)"
      ;;
    'run 4')
      local scratch
      scratch=$(mktemp -d)
      run "$(cd "$2" && pwd)" "$3" "$scratch" >"$scratch/results"
      [ -s "$scratch/results" ] || die "the suite reported no test"
      named_once <"$scratch/results" | LC_ALL=C sort >"$4"
      rm -rf "$scratch"
      ;;
    *) die "usage: ${0##*/} variants | fetch FOLDER | run FOLDER VARIANT RESULTS" ;;
  esac
}

# Most clients have one way to talk to the server. A suite with more defines its own.
variants() { echo default; }

# Numbers the second and later results of one name, so that each name stands once.
named_once() {
  awk -F'\t' -v OFS='\t' '{ n = ++seen[$2]; if (n > 1) $2 = $2 " #" n; print $1, $2 }'
}

# once FOLDER COMMAND...: runs it unless it succeeded before with this very suite.sh. Its output goes to
# FOLDER/build.log.
once() {
  local folder=$1 stamp
  shift
  stamp=$(sha256sum <"$0")
  [ "$(cat "$folder/built" 2>/dev/null || true)" != "$stamp" ] || return 0
  # In a shell of its own, where the first failing command is the last one; `if` and `||` would switch that off.
  set +e
  (
    set -e
    "$@"
  ) >"$folder/build.log" 2>&1
  local status=$?
  set -e
  [ "$status" -eq 0 ] || { tail -n 15 "$folder/build.log" >&2; die "the build failed: see $folder/build.log"; }
  echo "$stamp" >"$folder/built"
}

# missing_language LANGUAGE: ends a fetch. The suite is left out, but in continuous integration nothing is.
missing_language() {
  [ "${CI:-}" != true ] || die "no $1, which this suite needs"
  say "left out, because there is no $1 here and none could be installed: $(basename "$(dirname "$0")")"
  exit "$KIT_NO_LANGUAGE"
}

# tap_results NAME: reads a test file's output in the Test Anything Protocol and writes its results.
tap_results() { awk -v file="$1" -f "$clients/tap.awk"; }

# npm_ci SUITE-FOLDER FOLDER: what the suite's package-lock.json pins, into FOLDER/node_modules.
npm_ci() {
  have node || install_packages nodejs || die "no Node.js. Install Node.js 18 or later by hand, then try again"
  have npm || install_packages npm || die "no npm. Install npm by hand, then try again"
  ! cmp -s "$1/package-lock.json" "$2/node_modules/.pinned" || return 0
  cp "$1/package.json" "$1/package-lock.json" "$2/"
  (cd "$2" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2) ||
    die "npm could not install what $1 pins"
  # Copied last: it marks the folder as complete.
  cp "$1/package-lock.json" "$2/node_modules/.pinned"
}
