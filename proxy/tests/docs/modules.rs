//! Modules, types and functions that the documents name are in the sources, and the code map shows every module.

use std::collections::BTreeMap;
use std::path::Path;

use crate::docs::page::{self, Cell, root};

const PACKAGES: [&str; 2] = ["proxy/core/src", "proxy/src"];

/// The text of each source file below `folder`, by its path from there without `.rs` and `/mod`: `resp/scan`, `resp`.
pub(crate) fn sources(folder: &str) -> BTreeMap<String, String> {
    let mut sources = BTreeMap::new();
    let base = root().join(folder);
    read(&base, &base, &mut sources);
    assert!(sources.len() > 20, "the sources of {folder} are not found");
    sources
}

fn read(base: &Path, folder: &Path, sources: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(base, &path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(base).unwrap().to_str().unwrap().trim_end_matches(".rs");
            let name = name.trim_end_matches("/mod").to_owned();
            sources.insert(name, std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// Whether `text` has the word outside of comments.
fn has_word(text: &str, word: &str) -> bool {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split(|c| !is_of_a_name(c))).any(|other| other == word)
}

/// Whether `text` defines a type, a function or a constant of this name.
fn defines(text: &str, name: &str) -> bool {
    let kinds = ["struct", "enum", "trait", "type", "fn", "const", "static", "mod"];
    text.lines().any(|line| {
        let words: Vec<_> = line.split(|c| !is_of_a_name(c)).filter(|word| !word.is_empty()).collect();
        words.windows(2).any(|pair| kinds.contains(&pair[0]) && pair[1] == name)
    })
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// `resp::scan` is a module, `counts::Counter` something that a module defines, `Hold::begin` something that a type has.
fn exists(sources: &BTreeMap<String, String>, parts: &[&str]) -> bool {
    let (item, parents) = parts.split_last().unwrap();
    let parent = parents.join("/");
    let of_a_type = |name: &str| {
        let mut files = sources.values().filter(|text| defines(text, name));
        files.any(|text| has_word(text, item))
    };
    sources.contains_key(&parts.join("/"))
        || sources.get(&parent).is_some_and(|text| has_word(text, item))
        || parents.last().is_some_and(|name| name.starts_with(char::is_uppercase) && of_a_type(name))
}

#[test]
fn every_path_of_a_module_or_a_type_exists() {
    let packages = PACKAGES.map(sources);
    let is_name = |part: &str| part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.chars().all(is_of_a_name);
    let mut found = 0;
    for page in ["proxy/ARCHITECTURE.md", "CONTRIBUTING.md", "proxy/fuzz/README.md"].map(page::page) {
        for code in &page.code {
            let mut parts: Vec<_> = code.split("::").collect();
            if parts.len() < 2 || !parts.iter().all(|part| is_name(part)) {
                continue;
            }
            parts.retain(|part| !["redistributed_core", "redistributed"].contains(part));
            let exists = packages.iter().any(|sources| exists(sources, &parts));
            assert!(exists, "{} names {code}, which is in neither package", page.path);
            found += 1;
        }
    }
    assert!(found > 5, "only {found} modules were found");
}

#[test]
fn every_type_in_the_architecture_exists() {
    let packages = PACKAGES.map(sources);
    let page = page::page("proxy/ARCHITECTURE.md");
    let is_type = |code: &&String| {
        code.starts_with(char::is_uppercase) && code.contains(char::is_lowercase) && code.chars().all(is_of_a_name)
    };
    // Of `opentelemetry-otlp`, which the first plan had.
    let of_others = ["SpanExporter"];
    let mut found = 0;
    for code in page.code.iter().filter(is_type).filter(|code| !of_others.contains(&code.as_str())) {
        let exists = packages.iter().flat_map(BTreeMap::values).any(|text| has_word(text, code));
        assert!(exists, "ARCHITECTURE.md names {code}, which is in neither package");
        found += 1;
    }
    assert!(found > 5, "only {found} types were found");
}

#[test]
fn the_code_map_shows_every_part_of_both_packages() {
    let map = page::page("proxy/ARCHITECTURE.md");
    for folder in PACKAGES {
        for module in sources(folder).keys().filter(|name| !name.contains('/')) {
            if ["lib", "main", "fuzzing"].contains(&module.as_str()) {
                continue;
            }
            let is_part = |code: &String| code == module || code.starts_with(&format!("{module}::"));
            let in_first_cell = |row: &Vec<Cell>| row.first().is_some_and(|cell| cell.code.iter().any(is_part));
            assert!(map.rows.iter().any(in_first_cell), "the code map has no row for {module} of {folder}");
        }
    }
}
