# shellcheck shell=bash
# The Compose file as Docker Compose reads it. Sourced after ../lib.sh, by the parts `collector` and `jaeger`.

# shellcheck source=.ci/lib/compose.sh
. "$KIT_ROOT/.ci/lib/compose.sh"

# resolve_compose ENDPOINT [OPTION...]: prints it as JSON, with the sidecars' spans sent to ENDPOINT. The options are Compose's own.
resolve_compose() {
  local endpoint=$1 tools
  shift
  tools="$(target_folder)/container-tools"
  ensure_venv "$tools" "$KIT_ROOT/.ci/lib/container-tools.txt" kubernetes_validate
  find_compose "$tools"
  SPANS_TO=$endpoint "${COMPOSE[@]}" -f "$KIT_ROOT/compose/docker-compose.yml" "$@" config --format json
}
