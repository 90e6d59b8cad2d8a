//! Links lead somewhere, and paths that are named exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::docs::page::{self, Page, root};

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
