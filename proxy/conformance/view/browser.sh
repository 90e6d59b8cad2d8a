# shellcheck shell=bash
# What looks at the page of the viewer: Node.js, Chromium, and the packages that drive it. Sourced after proxy/conformance/lib.sh,
# never run.

# playwright-core, and the test runner as it is used here.
NODE_MAJOR=20

node_is_there() {
  have node && have npm || install_packages nodejs npm || die "needs Node.js with npm"
  [ "$(node -p 'process.versions.node.split(".")[0]')" -ge "$NODE_MAJOR" ] || die "needs Node.js $NODE_MAJOR or later"
}

# The path of Chromium: what the machine has, otherwise the system's package.
browser() {
  local name
  for name in chromium chromium-browser google-chrome; do
    ! have "$name" || { command -v "$name" && return; }
  done
  install_packages chromium fonts-dejavu-core >&2 || die "no Chromium. Install it by hand, then try again"
  command -v chromium || die "no Chromium on PATH"
}

# bring FOLDER: what package-lock.json pins, and the modules beside it, where Node finds the packages.
bring() {
  local here=$KIT_ROOT/proxy/conformance/view
  mkdir -p "$1"
  if ! cmp -s "$here/package-lock.json" "$1/node_modules/.pinned"; then
    cp "$here/package.json" "$here/package-lock.json" "$1/"
    (cd "$1" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2) || die "npm could not install what package-lock.json pins"
    cp "$here/package-lock.json" "$1/node_modules/.pinned"
  fi
  rm -f "$1"/*.mjs
  cp "$here"/*.mjs "$1/"
}
