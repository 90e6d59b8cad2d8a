# shellcheck shell=bash
# What the set-up scripts share: finding programs and installing system packages. Sourced, never run.
# Messages go to standard error, so that a script's standard output stays what it promises to print.

say() { printf '%s\n' "${0##*/}: $*" >&2; }

die() {
  say "$*"
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# The folder of everything that is built or brought here, absolute.
target_folder() {
  local target
  target="${CARGO_TARGET_DIR:-$(dirname "${BASH_SOURCE[0]}")/../../target}"
  mkdir -p "$target"
  (cd "$target" && pwd)
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif have sudo; then
    sudo "$@"
  else
    say "needs root to run: $*"
    return 1
  fi
}

# The name of the package manager that install_packages will use; nothing if there is none.
package_manager() {
  local manager
  for manager in apt-get dnf apk brew; do
    if have "$manager"; then
      printf '%s\n' "$manager"
      return 0
    fi
  done
  return 1
}

# install_packages PACKAGE...: non-interactive. A second try follows a failed first one, because package indexes age
# and mirrors stumble. Returns non-zero, with the package manager's last words shown, when both tries fail.
install_packages() {
  local manager log try
  manager=$(package_manager) || {
    say "found none of apt-get, dnf, apk, brew"
    return 1
  }
  log=$(mktemp)
  for try in 1 2; do
    if install_once "$manager" "$try" "$@" >"$log" 2>&1; then
      rm -f "$log"
      return 0
    fi
  done
  say "$manager could not install: $*"
  tail -n 15 "$log" >&2
  rm -f "$log"
  return 1
}

install_once() {
  local manager=$1 try=$2
  shift 2
  case $manager in
    apt-get)
      # A new machine has no package index, and an old index names packages that are gone: refresh when any of the
      # packages is unknown, and always before the second try.
      if [ "$try" -gt 1 ] || ! apt_knows "$@"; then
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=3 update || return 1
      fi
      # Waiting for the lock covers the unattended upgrade that runs on a machine's first minutes.
      as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 \
        install --no-install-recommends "$@"
      ;;
    dnf) as_root dnf -q -y install "$@" ;;
    apk) as_root apk add --no-cache "$@" ;;
    brew) brew install "$@" ;;
  esac
}

apt_knows() {
  local package
  for package in "$@"; do
    apt-cache policy "$package" 2>/dev/null | grep -q 'Candidate: [^(]' || return 1
  done
}

# ensure_venv FOLDER REQUIREMENTS MODULE: a private Python environment in FOLDER that holds exactly what REQUIREMENTS
# pins. MODULE is imported as proof that a folder left by an earlier run still works. An environment that was moved does
# not: its programs name the path that they were installed in.
ensure_venv() {
  local venv=$1 requirements=$2 module=$3 contents
  contents=$(printf '# in %s\n' "$(realpath -m "$venv")" && cat "$requirements")
  if [ "$contents" = "$(cat "$venv/requirements.txt" 2>/dev/null)" ] &&
    "$venv/bin/python" -c "import $module" 2>/dev/null; then
    return
  fi
  # Debian splits the parts that `python3 -m venv` needs into packages of their own.
  if ! have python3 || ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    say "Python's venv module is not installed; installing it with $(package_manager || echo 'no known package manager')"
    case $(package_manager || true) in
      apt-get) install_packages python3 python3-venv ;;
      apk) install_packages python3 py3-pip ;;
      *) install_packages python3 ;;
    esac || die "no Python with venv. Install Python 3.10 or later with its venv module by hand, then try again"
  fi
  say "installing what $(basename "$requirements") pins into $venv"
  rm -rf "$venv"
  python3 -m venv "$venv" || die "python3 -m venv $venv failed"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --require-virtualenv \
    -r "$requirements" >&2 || die "pip could not install what $requirements pins"
  # Written last: it marks the folder as complete.
  printf '%s\n' "$contents" >"$venv/requirements.txt"
}
