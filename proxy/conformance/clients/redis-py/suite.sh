#!/usr/bin/env bash
# redis-py 8.1.0: the Python client's own tests from its sdist, synchronous and asyncio, in RESP2 and RESP3. Left out are
# those that need a cluster, a sentinel, TLS, a replica, modules or an identity provider.
set -euo pipefail
# shellcheck source=proxy/conformance/clients/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
here="$clients/redis-py"

SDIST=redis-8.1.0
# Files of tests that cannot run against one plain server, here and in tests/test_asyncio.
LEFT_OUT='test_(bloom|cluster|cluster_transaction|credentials|json|search.*|sentinel.*|ssl|timeseries)\.py'
MARKERS='not onlycluster and not redismod and not ssl and not replica and not cp_integration and not multidb_integration'

variants() { printf '%s\n' resp2 resp3; }

fetch() {
  local folder=$1
  ensure_venv "$folder/python" "$here/requirements.txt" pytest
  [ "$(cat "$folder/stamp" 2>/dev/null)" != "$SDIST" ] || return 0
  pypi_sdist "$SDIST" "$folder/tree"
  echo "$SDIST" >"$folder/stamp"
}

run() {
  local folder=$1 variant=$2 scratch=$3 files status=0
  cd "$folder/tree"
  files=$(find tests tests/test_asyncio -maxdepth 1 -name 'test_*.py' | grep -vE "/$LEFT_OUT\$" | sort)
  # shellcheck disable=SC2086
  PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$here" "$folder/python/bin/python" -m pytest -q -p kit_timeouts \
    -p no:cacheprovider --no-header --tb=short \
    --redis-url "redis://localhost:$REDIS_PORT/0" --protocol "${variant#resp}" \
    -m "$MARKERS" -k "not Sentinel and not SSL" --junitxml "$scratch/report.xml" $files >&2 || status=$?
  # 1 says that tests failed; higher ones, that pytest itself did.
  [ "$status" -le 1 ] || return "$status"
  "$folder/python/bin/python" "$clients/junit_results.py" "$scratch/report.xml"
}

suite "$@"
