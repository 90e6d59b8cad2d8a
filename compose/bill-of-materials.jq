# Makes a program's bill of materials (CycloneDX 1.5) from what cargo tells:
#   cargo metadata ... | jq --slurpfile messages FILE --rawfile lock Cargo.lock --arg program NAME --arg target TRIPLE \
#     --from-file bill-of-materials.jq
# The messages are those of `cargo build --message-format json`: they say what was compiled for this program, while the
# metadata describes every package of the workspace. Cargo.lock has the checksums.

def name_and_version: "\(.name)@\(.version)";
def purl: "pkg:cargo/\(.name)@\(.version | @uri)";

(
  [$lock | split("\n[[package]]\n")[1:][] |
    {
      key: (capture("name = \"(?<name>.*)\"\nversion = \"(?<version>.*)\"") | name_and_version),
      value: (capture("checksum = \"(?<sum>.*)\"").sum // empty)
    }
  ] | from_entries
) as $checksums |

# What is compiled for the target becomes part of the program; build scripts, their libraries and procedural macros are
# compiled for the machine that builds.
(
  reduce ($messages[] | select(.reason == "compiler-artifact")) as $artifact ({};
    .[$artifact.package_id] |= (. or any($artifact.filenames[]; contains("/\($target)/"))))
) as $in_program |

def component($type):
  {
    type: $type,
    "bom-ref": purl,
    name, version,
    description: (.description // "" | gsub("\\s+"; " ")),
    scope: (if $in_program[.id] then "required" else "excluded" end),
    hashes: [$checksums[name_and_version] // empty | {alg: "SHA-256", content: .}],
    # Old manifests write "or" as a slash.
    licenses: [.license // empty | {expression: gsub(" */ *"; " OR ")}],
    purl: purl,
    externalReferences: [
      ({website: .homepage, documentation: .documentation, vcs: .repository} | to_entries[]) |
        select(.value) | {type: .key, url: .value}
    ]
  } |
  with_entries(select(.value != "" and .value != []));

[.packages[] | select(.id as $id | $in_program | has($id))] as $packages |
($packages | map({key: .id, value: purl}) | from_entries) as $references |
{
  bomFormat: "CycloneDX",
  specVersion: "1.5",
  version: 1,
  metadata: {component: ($packages[] | select(.name == $program) | component("application"))},
  components: [$packages[] | select(.name != $program) | component("library")],
  dependencies: [
    .resolve.nodes[] | select(.id as $id | $references | has($id)) |
    {
      ref: $references[.id],
      dependsOn: ([.deps[] | select(any(.dep_kinds[]; .kind != "dev")) | $references[.pkg] // empty] | unique)
    }
  ]
}
