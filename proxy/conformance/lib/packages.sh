# shellcheck shell=bash
# Fetching what the programs of several parts need, in JavaScript from npm and in other languages from Debian. Sourced, never run,
# after .ci/lib/system.sh.

# What the newest of the libraries in JavaScript asks for.
NODE_MAJOR=20

# npm_modules PINS FOLDER: what package-lock.json in PINS pins, as FOLDER/node_modules.
npm_modules() {
  local pins=$1 folder=$2
  have node && have npm || install_packages nodejs npm || die "needs Node.js with npm"
  [ "$(node -p 'process.versions.node.split(".")[0]')" -ge "$NODE_MAJOR" ] || die "needs Node.js $NODE_MAJOR or later"
  if cmp -s "$pins/package-lock.json" "$folder/package-lock.json"; then return; fi
  rm -rf "$folder"
  mkdir -p "$folder"
  cp "$pins/package.json" "$folder/"
  # `npm ci` reads the lock file under its own name only; it is put in place for good once all is there.
  cp "$pins/package-lock.json" "$folder/npm-shrinkwrap.json"
  (cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2) ||
    die "npm could not install into $folder"
  mv "$folder/npm-shrinkwrap.json" "$folder/package-lock.json"
}

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
