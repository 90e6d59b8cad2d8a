# shellcheck shell=bash
# The scenarios in Java, and the clients that they try, as the functions of a suite, whose folder has the client's name. Sourced,
# after common.sh.

JAVA_SCENARIOS="$KIT_ROOT/proxy/conformance/clients/java"

variants() { printf '%s\n' resp2 resp3; }

# Brings the pinned clients, and compiles the scenarios, in a folder that all suites in Java share.
fetch() {
  local kept stamp
  kept=$(java_folder)
  have javac || install_packages default-jdk-headless || missing_language Java
  have mvn || install_packages maven || missing_language "Java's Maven"
  stamp=$(cat "$JAVA_SCENARIOS"/* | sha256sum)
  [ "$(cat "$kept/built" 2>/dev/null)" != "$stamp" ] || return 0
  rm -rf "$kept"
  mkdir -p "$kept/jars" "$kept/classes"
  mvn --batch-mode --quiet --file "$JAVA_SCENARIOS/pom.xml" dependency:copy-dependencies -DoutputDirectory="$kept/jars" >&2 ||
    die "Maven could not bring what java/pom.xml names"
  # Nothing that is not listed may be among them either.
  (LC_ALL=C && cd "$kept/jars" && sha256sum -- *.jar) | cmp -s - "$JAVA_SCENARIOS/jars.sha256" ||
    die "the libraries that Maven has brought into $kept/jars are not those of java/jars.sha256"
  javac --release 17 -Xlint:all -Werror -cp "$kept/jars/*" -d "$kept/classes" "$JAVA_SCENARIOS"/*.java >&2 ||
    die "the scenarios in Java do not compile"
  # Written last: it marks the folder as complete.
  echo "$stamp" >"$kept/built"
}

run() {
  local kept
  kept=$(java_folder)
  java -cp "$kept/classes:$kept/jars/*" Scenarios "$(basename "$(dirname "$0")")" "${2#resp}"
}

java_folder() { printf '%s\n' "$(target_folder)/conformance/clients/java"; }
