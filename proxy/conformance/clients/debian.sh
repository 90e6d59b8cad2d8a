# shellcheck shell=bash
# Brings what client suites need from Debian releases other than the machine's own, without touching the machine's
# package sources: an apt configuration of its own, whose lists and downloads live in target/conformance/debian.
# Sourced, after ../lib.sh.
#
# An index has the packages of one release, so apt need not be told which to take them from (a target release is refused
# for a source whose name the installed packages mention). apt checks each file against the release's signed index; the
# SHA-256 of a source is pinned here too.

# debian_upstream RELEASE PACKAGE=VERSION FILE SHA256 FOLDER: unpacks the upstream source FILE of a source package into
# FOLDER, without its top folder. Does nothing if that very file is there already.
debian_upstream() {
  local release=$1 package=$2 file=$3 sha256=$4 folder=$5 log
  [ "$(cat "$folder/.source" 2>/dev/null || true)" != "$sha256" ] || return 0
  debian_index "$release" deb-src
  mkdir -p "$debian/sources"
  if [ ! -f "$debian/sources/$file" ]; then
    log=$(mktemp)
    # Of a package with several upstream files only FILE is asked for below: another one's absence is no failure.
    (cd "$debian/sources" && APT_CONFIG="$index/apt.conf" apt-get -q -o Acquire::Retries=3 \
      source --download-only --tar-only "$package") >"$log" 2>&1 || true
    [ -f "$debian/sources/$file" ] || {
      tail -n 5 "$log" >&2
      die "Debian $release gives no $file for $package; it knows: $(APT_CONFIG="$index/apt.conf" \
        apt-cache showsrc "${package%%=*}" 2>/dev/null | sed -n 's/^Version: //p' | tr '\n' ' ')"
    }
    rm -f "$log"
  fi
  echo "$sha256  $debian/sources/$file" | sha256sum --check --quiet >&2 || die "$file is not the pinned one"
  rm -rf "$folder"
  mkdir -p "$folder"
  tar -xf "$debian/sources/$file" -C "$folder" --strip-components=1
  # Written last: it marks the folder as complete.
  echo "$sha256" >"$folder/.source"
}

# debian_unpack RELEASE FOLDER PACKAGE=VERSION...: unpacks binary packages into FOLDER, where nothing is installed or
# configured: good for libraries in interpreted languages, sources and self-contained programs.
debian_unpack() {
  local release=$1 folder=$2 package
  shift 2
  [ "$(cat "$folder/.packages" 2>/dev/null || true)" != "$*" ] || return 0
  debian_index "$release" deb
  mkdir -p "$debian/packages"
  rm -rf "$folder" "$debian/packages/"*.deb
  mkdir -p "$folder"
  (cd "$debian/packages" && APT_CONFIG="$index/apt.conf" apt-get -q -q -o Acquire::Retries=3 \
    download "$@") >&2 || die "Debian $release does not give all of: $*"
  for package in "$debian/packages/"*.deb; do dpkg-deb --extract "$package" "$folder"; done
  rm -f "$debian/packages/"*.deb
  echo "$*" >"$folder/.packages"
}

# debian_index RELEASE deb|deb-src: makes the configuration and fetches the release's index of packages or of sources,
# once in twelve hours. Sets debian, the folder of all this, and index, the one of this index.
debian_index() {
  local release=$1 type=$2 archive
  debian="$(target_folder)/conformance/debian"
  index="$debian/$release-$type"
  [ -z "$(find "$index/fresh" -mmin -720 2>/dev/null)" ] || return 0
  if ! have apt-get || ! have dpkg-deb; then
    die "this client's suite comes from Debian's packages: it needs apt-get and dpkg-deb"
  fi
  archive=$(debian_archive)
  if [ -z "$archive" ]; then
    as_root apt-get -q update >&2 || die "apt-get update failed"
    archive=$(debian_archive)
  fi
  [ -n "$archive" ] || die "none of apt's package sources is a Debian archive"
  mkdir -p "$index/lists/partial" "$index/cache/archives/partial"
  # DEP-11 is what software centres show.
  cat >"$index/apt.conf" <<EOF
Dir::State::lists "$index/lists";
Dir::Cache "$index/cache";
Dir::Etc::sourcelist "$index/debian.sources";
Dir::Etc::sourceparts "-";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
EOF
  cat >"$index/debian.sources" <<EOF
Types: $type
URIs: $archive
Suites: $release
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
EOF
  APT_CONFIG="$index/apt.conf" apt-get -q -o Acquire::Retries=3 update >&2 ||
    die "cannot read Debian's package indexes"
  touch "$index/fresh"
}

# The address from which this machine takes Debian's packages.
debian_archive() {
  # Shell syntax of apt's own format language.
  # shellcheck disable=SC2016
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1
}
