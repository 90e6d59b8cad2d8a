# shellcheck shell=bash
# What the suites share. Sourced by each `suite.sh`, which says what is its own in four functions and ends with
# `suite "$@"`. It is then called as
#   suite.sh services              the names of its services, one a line; each gets a proxy of its own, and finds its
#                                  Redis as host:port in REDIS_NAME (in capitals, `_` for `-`)
#   suite.sh variants              the names of its variants, one a line
#   suite.sh fetch FOLDER          brings what the program needs into FOLDER, with the network there; idempotent
#   suite.sh run FOLDER VARIANT    tells the story, with no network but loopback. The payloads are in the folder
#                                  PAYLOADS. What it prints: see `settle` in ledger.js

# What the newest of the frameworks in JavaScript asks for.
NODE_MAJOR=20

# The folder of the suite itself.
suite_folder=$(cd "$(dirname "${BASH_SOURCE[1]}")" && pwd)
frameworks=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=.ci/lib/system.sh
. "$frameworks/../../../.ci/lib/system.sh"

suite() {
  case ${1:-} in
    services | variants) "$1" ;;
    fetch | run) "$@" ;;
    *) die "usage: suite.sh services | variants | fetch FOLDER | run FOLDER VARIANT" ;;
  esac
}

# fetch_npm FOLDER: what package-lock.json beside the suite pins, as FOLDER/node_modules.
fetch_npm() {
  local folder=$1
  have node && have npm || install_packages nodejs npm || die "needs Node.js with npm"
  [ "$(node -p 'process.versions.node.split(".")[0]')" -ge "$NODE_MAJOR" ] || die "needs Node.js $NODE_MAJOR or later"
  if cmp -s "$suite_folder/package-lock.json" "$folder/package-lock.json"; then return; fi
  rm -rf "$folder"
  mkdir -p "$folder"
  cp "$suite_folder/package.json" "$folder/"
  # `npm ci` reads the lock file under its own name only; it is put in place for good once all is there.
  cp "$suite_folder/package-lock.json" "$folder/npm-shrinkwrap.json"
  (cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2) ||
    die "npm could not install into $folder"
  mv "$folder/npm-shrinkwrap.json" "$folder/package-lock.json"
}

# fetch_python FOLDER MODULE: what requirements.txt beside the suite pins, as a virtual environment.
fetch_python() { ensure_venv "$1" "$suite_folder/requirements.txt" "$2"; }

# fetch_debian PACKAGE...: from the system's packages. Debian keeps one version for each of its releases; which one it
# is goes to standard error.
fetch_debian() {
  local package
  have dpkg-query || die "needs Debian's packages: $*"
  for package in "$@"; do
    dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || {
      install_packages "$@" || die "needs Debian's packages: $*"
      break
    }
  done
  say "$(dpkg-query --show --showformat='${Package} ${Version}; ' "$@")"
}
