//! Links lead somewhere, and paths that are named exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::page::{self, Page, root};

/// The README is what somebody reads before trying the proxy: at most 7 KiB of it.
#[test]
fn the_readme_is_short() {
    let bytes = page::page("README.md").text.len();
    assert!(bytes <= 7 * 1024, "README.md has {bytes} bytes; move what few need into proxy/docs");
}

#[test]
fn every_link_within_the_repository_leads_to_a_file_and_a_heading() {
    for page in page::all() {
        for (text, destination) in &page.links {
            if destination.contains("://") {
                continue;
            }
            let (file, anchor) = destination.split_once('#').unwrap_or((destination, ""));
            let target = if file.is_empty() { page.path.clone() } else { from_root(&page, file) };
            assert!(root().join(&target).exists(), "{}: [{text}]({destination}) leads nowhere", page.path);
            if !anchor.is_empty() {
                let known = page::page(&target).anchors;
                assert!(
                    known.iter().any(|known| known == anchor),
                    "{}: no heading {destination}: {known:?}",
                    page.path
                );
            }
        }
    }
}

/// Every page of `proxy/docs` can be found from the README.
#[test]
fn the_readme_links_to_every_guide() {
    let readme = page::page("README.md");
    for page in page::all().iter().filter(|page| page.path.starts_with("proxy/docs/")) {
        assert!(readme.links.iter().any(|(_, to)| *to == page.path), "README.md does not link to {}", page.path);
    }
}

/// Inline code that begins with a folder of the repository is a path.
#[test]
fn every_path_that_is_named_exists() {
    let folders = ["proxy/", "compose/", "demo-services/", ".ci/", ".github/"];
    let mut checked = BTreeSet::new();
    for page in page::all().iter().filter(|page| page.path != "CHANGELOG.md") {
        for code in &page.code {
            let path = code.split([' ', ':']).next().unwrap();
            if folders.iter().any(|folder| path.starts_with(folder)) && !path.contains(['*', '<']) {
                assert!(root().join(path).exists(), "{} names {path}, which is not there", page.path);
                checked.insert(path.to_owned());
            }
        }
    }
    assert!(checked.len() > 10, "the paths are not found: {checked:?}");
}

/// `session::policy`, `counts::Counter`: a module of one of the two packages, or something that a module defines.
#[test]
fn every_module_that_is_named_exists() {
    let is_name = |part: &str| part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.chars().all(is_of_a_name);
    let mut found = 0;
    for page in ["proxy/ARCHITECTURE.md", "CONTRIBUTING.md", "proxy/fuzz/README.md"].map(page::page) {
        for code in &page.code {
            let mut parts: Vec<_> = code.split("::").collect();
            if parts.len() < 2 || !parts.iter().all(|part| is_name(part)) {
                continue;
            }
            let sources: &[&str] = match parts[0] {
                "redistributed_core" => &["proxy/core/src"],
                "redistributed" => &["proxy/src"],
                _ => &["proxy/core/src", "proxy/src"],
            };
            parts.retain(|part| !part.starts_with("redistributed"));
            let exists = sources.iter().any(|source| defines(&root().join(source), &parts));
            assert!(exists, "{} names {code}, which is in neither package", page.path);
            found += 1;
        }
    }
    assert!(found > 5, "only {found} modules were found");
}

/// The code map has a row for each part of both packages.
#[test]
fn the_code_map_shows_every_part_of_both_packages() {
    let map = page::page("proxy/ARCHITECTURE.md");
    for source in ["proxy/core/src", "proxy/src"] {
        for entry in std::fs::read_dir(root().join(source)).unwrap() {
            let path = entry.unwrap().path();
            let module = path.file_stem().unwrap().to_str().unwrap();
            if ["lib", "main", "fuzzing"].contains(&module) {
                continue;
            }
            let is_part = |code: &String| code == module || code.starts_with(&format!("{module}::"));
            let in_first_cell = |row: &Vec<page::Cell>| row.first().is_some_and(|cell| cell.code.iter().any(is_part));
            assert!(map.rows.iter().any(in_first_cell), "the code map has no row for {module} of {source}");
        }
    }
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Whether `parts` is a module below `source`, or something that such a module defines.
fn defines(source: &Path, parts: &[&str]) -> bool {
    let module = |parts: &[&str]| {
        let path = parts.iter().fold(source.to_owned(), |path, part| path.join(part));
        [path.with_extension("rs"), path.join("mod.rs"), source.join("lib.rs")]
            .into_iter()
            .take(if parts.is_empty() { 3 } else { 2 })
            .find(|file| file.is_file())
    };
    let Some((item, parents)) = parts.split_last() else { return false };
    let in_parent = module(parents).is_some_and(|file| {
        let text = std::fs::read_to_string(file).unwrap();
        let kinds = ["struct", "enum", "trait", "type", "fn", "const", "static", "mod"];
        kinds.iter().any(|kind| {
            text.match_indices(&format!("{kind} {item}"))
                .any(|(at, found)| !text[at + found.len()..].starts_with(is_of_a_name))
        })
    });
    module(parts).is_some() || in_parent
}

/// `link`, which stands on `page`, from the root.
fn from_root(page: &Page, link: &str) -> String {
    let mut path = PathBuf::new();
    for part in Path::new(&page.path).parent().unwrap().join(link).components() {
        match part.as_os_str().to_str().unwrap() {
            ".." => assert!(path.pop(), "{}: {link} leads out of the repository", page.path),
            part => path.push(part),
        }
    }
    path.to_str().unwrap().to_owned()
}
