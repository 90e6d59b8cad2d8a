# Turns the Test Anything Protocol into results: `pass|fail|skip<TAB>file: test`. Subtests, which are indented, count
# too. A plan that is not kept, as when the file died half-way, is a failed test named "plan". awk -v file=NAME -f
# tap.awk
/^1\.\.[0-9]+/ { planned = substr($1, 4) + 0; has_plan = 1; if (/# *SKIP/) result("skip", "all") }
/^ *(not )?ok( |$)/ {
  if (!/^ /) run++
  tests++
  verdict = /^ *not/ ? "fail" : "pass"
  if (/# *SKIP/) verdict = "skip"
  if (/# *TODO/) verdict = "skip"
  name = $0
  sub(/^ *(not )?ok *[0-9]*( *- *)?/, "", name)
  sub(/ *# *(SKIP|TODO|skip).*/, "", name)
  result(verdict, name == "" ? "test " tests : name)
}
END { result(has_plan && planned == run ? "pass" : "fail", "plan") }
function result(verdict, name) { gsub(/\t/, " ", name); print verdict "\t" file ": " name }
