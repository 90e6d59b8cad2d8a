# shellcheck shell=bash
# Finds Docker Compose. Sourced after system.sh, never run.

# find_compose TOOLS: sets COMPOSE, the command. TOOLS is a private Python environment that container-tools.txt was
# installed into, for machines without Docker.
find_compose() {
  if docker compose version >/dev/null 2>&1; then
    COMPOSE=(docker compose)
  elif "$1/bin/docker-compose" version >/dev/null 2>&1; then
    # shellcheck disable=SC2034
    COMPOSE=("$1/bin/docker-compose")
  else
    die "no Docker Compose: install its plugin (the private copy is for x86-64 Linux only)"
  fi
}
