#!/usr/bin/env bash
# Client libraries' own test suites, direct and through the proxy, on each server: the same tests must pass, fail and be
# skipped. Prints a table, and fails on any difference that differences.tsv does not explain.
#   clients/run.sh
#   SERVERS=redis-7.0,valkey-9.1   only these servers (default: all)
#   CLIENTS=hiredis,redis-py       only these suites (default: every folder here)
#   VARIANTS=resp3                 only these variants of them (default: all)
#   SETTING=followed               the proxy with --follow parent, a span for every command, and --http
#   QUICK=1                        the part for continuous integration: only the suites that take seconds
# Results: target/conformance/SERVER/SUITE/VARIANT/{direct,proxied}.tsv, and the logs beside them; with a setting, below
# target/conformance/SETTING.
set -euo pipefail
# shellcheck source=proxy/conformance/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
here="$KIT_ROOT/proxy/conformance/clients"

QUICK_SUITES=(hiredis)
# Passes each way: one, and these more if the first ones differ.
MORE_PASSES=2
export KIT_SUITE_TIMEOUT="${KIT_SUITE_TIMEOUT:-1800}"

main() {
  local output results suites suite variants variant pair status problems=0 fetched=()
  output="$(target_folder)/conformance"
  results="$output${SETTING:+/$SETTING}"
  mapfile -t suites < <(wanted_suites)
  for suite in "${suites[@]}"; do
    [ -x "$here/$suite/suite.sh" ] || die "no suite '$suite'"
  done
  kit_programs
  for suite in "${suites[@]}"; do
    say "fetching $suite"
    status=0
    "$here/$suite/suite.sh" fetch "$output/clients/$suite" || status=$?
    case $status in
      0) fetched+=("$suite") ;;
      "$KIT_NO_LANGUAGE") ;; # It has said so.
      *) die "$suite could not be fetched" ;;
    esac
  done

  table=$(mktemp)
  # shellcheck disable=SC2064
  trap "rm -f '$table'" EXIT
  row suite variant server direct '' '' proxied '' '' differ spans seconds
  row '' '' '' pass fail skip pass fail skip '' '' ''
  for suite in "${fetched[@]}"; do
    variants=$("$here/$suite/suite.sh" variants)
    for variant in $variants; do
      wanted "${VARIANTS:-}" "$variant" || continue
      for pair in $KIT_SERVERS; do
        compare "$output" "$results" "$suite" "$variant" "${pair%%=*}" "${pair#*=}" || problems=$((problems + 1))
      done
    done
  done

  printf '\n'
  column -t -s $'\t' "$table" 2>/dev/null || cat "$table"
  [ "$problems" -eq 0 ] || die "$problems of the comparisons above failed"
}

wanted_suites() {
  local suite
  if [ -n "${CLIENTS:-}" ]; then
    grep -oE '[^, ]+' <<<"$CLIENTS"
  elif [ -n "${QUICK:-}" ]; then
    printf '%s\n' "${QUICK_SUITES[@]}"
  else
    for suite in "$here"/*/suite.sh; do
      basename "$(dirname "$suite")"
    done
  fi
}

# wanted LIST NAME: whether the list (commas or spaces) names it, or is empty.
wanted() { [ -z "$1" ] || [[ " ${1//,/ } " == *" $2 "* ]]; }

row() { (IFS=$'\t' && printf '%s\n' "$*") >>"$table"; }

# One suite, variant and server, both ways, and again if they differ. Adds a row to the table.
compare() {
  local output=$1 results=$2 suite=$3 variant=$4 name=$5 program=$6 folder started=$SECONDS pass failed=0 unexplained
  folder="$results/$name/$suite/$variant"
  say "$suite $variant on $name"
  rm -rf "$folder"
  mkdir -p "$folder"
  one_pass 1 || failed=1
  if [ "$failed" -eq 0 ] && [ -n "$(outcomes | explain)" ]; then
    say "$suite $variant on $name: not the same; $MORE_PASSES more passes each way"
    for ((pass = 2; pass <= MORE_PASSES + 1; pass++)); do
      one_pass "$pass" || failed=1
    done
  fi
  judge
  [ "$failed" -eq 0 ]
}

# What follows works on the variables of `compare`, and sets `failed`.

one_pass() {
  local pass=$1 suffix='' status=0 direct
  [ "$pass" -eq 1 ] || suffix=.$pass
  if [ -n "${QUICK:-}" ]; then
    # Each in a network of its own, and these suites mostly wait.
    one_way direct &
    direct=$!
    one_way proxied || status=1
    wait "$direct" || status=1
  else
    one_way direct || status=1
    one_way proxied || status=1
  fi
  return "$status"
}

one_way() {
  local route=$1
  KIT_SERVER_NAME=$name KIT_SERVER=$program in_namespace "$here/one_run.sh" "$route" "$here/$suite/suite.sh" \
    "$output/clients/$suite" "$variant" "$folder/$route$suffix.tsv" "$folder/$route$suffix"
}

judge() {
  local spans
  spans=$(sed -n 's/^spans //p' "$folder/proxied/spans.txt" 2>/dev/null || true)
  outcomes >"$folder/verdicts.tsv"
  unexplained=$(awk -F '\t' '$1 == "differs"' "$folder/verdicts.tsv" | explain)
  if [ -n "$unexplained" ]; then
    printf '%s\n' "$unexplained" >&2
    failed=1
  fi
  awk -F '\t' '$1 == "unsteady"' "$folder/verdicts.tsv" >&2
  stale
  # Every suite publishes.
  if [ "${spans:-0}" -eq 0 ]; then
    say "$suite $variant on $name: no span arrived"
    failed=1
  fi
  local counts=()
  mapfile -t counts < <(count "$folder/direct.tsv" && count "$folder/proxied.tsv")
  row "$suite" "$variant" "$name" "${counts[@]}" \
    "$(grep -c '^differs' "$folder/verdicts.tsv" || true)" "${spans:-0}" "$((SECONDS - started))"
}

count() {
  local outcome
  for outcome in pass fail skip; do
    grep -c "^$outcome" "$1" 2>/dev/null || [ $? -eq 1 ] || echo '-'
  done
}

# Every test that did not end the same way in all passes: `VERDICT test direct-outcomes proxied-outcomes`. It differs if
# the passes through the proxy show what no direct pass shows, or the other way round, more than once or with one pass
# only; if it happened once in several passes, or direct passes show the same, the test is unsteady.
outcomes() {
  local files=("$folder"/direct*.tsv "$folder"/proxied*.tsv)
  [ -e "${files[0]}" ] || return 0
  awk -F '\t' '
    FNR == 1 { route = FILENAME ~ /\/direct[^\/]*$/ ? "direct" : "proxied"; passes[route]++ }
    { tests[$2]; seen[$2, route] = seen[$2, route] " " $1; times[$2, route, $1]++; total[$2, route]++ }
    function only(test, one, other,   kinds, kind, most, n) {
      most = 0
      split("pass fail skip absent", kinds, " ")
      for (kind in kinds) {
        n = times[test, one, kinds[kind]]
        if (n && !times[test, other, kinds[kind]] && n > most) most = n
      }
      return most
    }
    END {
      for (test in tests) {
        for (r = 1; r <= 2; r++) {
          route = r == 1 ? "direct" : "proxied"
          absent = passes[route] - total[test, route]
          if (absent) { times[test, route, "absent"] = absent; seen[test, route] = seen[test, route] " absent*" absent }
        }
        if (seen[test, "direct"] == seen[test, "proxied"]) continue
        worst = only(test, "direct", "proxied"); n = only(test, "proxied", "direct"); if (n > worst) worst = n
        verdict = worst > 1 || (worst == 1 && passes["proxied"] == 1) ? "differs" : "unsteady"
        print verdict "\t" test "\tdirect:" seen[test, "direct"] "\tproxied:" seen[test, "proxied"]
      }
    }' "${files[@]}" | sort
}

# Reads verdicts and prints those that differences.tsv does not explain.
explain() {
  local verdict test rest
  while IFS=$'\t' read -r verdict test rest; do
    # Not -q: what it leaves unread would fail the pipe.
    listed | grep -xF -- "$test" >/dev/null || printf '%s\t%s\t%s\n' "$verdict" "$test" "$rest"
  done
}

# Says which tests differences.tsv lists though they ended alike. Some of them depend on timing, so it is no failure.
stale() {
  local test
  listed | while IFS= read -r test; do
    cut -f 2 "$folder/verdicts.tsv" | grep -xF -- "$test" >/dev/null || say "$suite $variant on $name: listed, yet the same: $test"
  done
}

# The tests of this suite and server in differences.tsv (server glob, suite, test, reason).
listed() {
  local server suite_name test _reason
  grep -v '^#' "$here/differences.tsv" | while IFS=$'\t' read -r server suite_name test _reason; do
    # shellcheck disable=SC2053
    if [[ $name == $server ]] && [ "$suite" = "$suite_name" ]; then printf '%s\n' "$test"; fi
  done
}

main "$@"
