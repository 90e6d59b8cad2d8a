//! No module uses, directly or through others, a module that uses it.
//!
//! The compiler allows such circles within a crate, and they tie up whatever is in them: none of it can be read, tested or
//! changed alone. So the top-level modules of the program and of the core are put into a graph, made from the paths in
//! their sources that begin with `crate::` or `super::`. The crate's root (`lib.rs`) is a module among them. Tests may use
//! what they like.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

/// The module of the crate's root.
const ROOT: &str = "lib";

/// For each module: which others it uses, and a place where it does.
type Graph = BTreeMap<String, BTreeMap<String, String>>;

#[test]
fn no_module_of_the_program_is_in_a_circle() {
    assert_untangled("src");
}

#[test]
fn no_module_of_the_core_is_in_a_circle() {
    assert_untangled("core/src");
}

#[track_caller]
fn assert_untangled(folder: &str) {
    let graph = graph(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder));
    assert!(graph.len() > 5, "{folder} has modules");
    let circles: Vec<String> = graph.keys().filter_map(|module| circle(&graph, module)).collect();
    assert!(circles.is_empty(), "modules of {folder} use each other in a circle:\n\n{}", circles.join("\n"));
}

/// The shortest circle through `module`, a line for each step.
fn circle(graph: &Graph, module: &str) -> Option<String> {
    let mut paths = VecDeque::from([vec![module]]);
    let mut seen = BTreeSet::new();
    while let Some(path) = paths.pop_front() {
        for next in graph[*path.last()?].keys() {
            let path = [&path[..], &[next.as_str()]].concat();
            if next == module {
                let steps =
                    path.windows(2).map(|step| format!("{} -> {} ({})\n", step[0], step[1], graph[step[0]][step[1]]));
                return Some(steps.collect());
            }
            if seen.insert(next) {
                paths.push_back(path);
            }
        }
    }
    None
}

fn graph(source: &Path) -> Graph {
    let files = files(source);
    let names: BTreeSet<String> = files.iter().map(|file| module(file)[0].clone()).collect();
    let mut graph: Graph = names.iter().map(|name| (name.clone(), BTreeMap::new())).collect();
    for file in &files {
        let path = module(file);
        let text = without_tests(&fs::read_to_string(source.join(file)).unwrap());
        for (line, used) in paths(&text, &path) {
            // A path that begins with no module is one of the root's own items.
            let used = if names.contains(&used) { used } else { ROOT.to_owned() };
            if used != path[0] {
                let place = format!("{}:{line}", file.display());
                graph.get_mut(&path[0]).unwrap().entry(used).or_insert(place);
            }
        }
    }
    graph
}

/// Sources of the library, relative to `source`. The program's `main.rs` is a crate of its own, and `fuzzing` is not part of
/// what runs.
fn files(source: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![source.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let relative = path.strip_prefix(source).unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if relative.extension().is_some_and(|extension| extension == "rs")
                && !["main.rs", "fuzzing.rs"].map(Path::new).contains(&relative.as_path())
                && !relative.iter().any(|part| part == "tests" || part == "tests.rs")
            {
                files.push(relative);
            }
        }
    }
    files.sort();
    files
}

/// The names on the way from the root to the module in `file`; the root's own is [`ROOT`].
fn module(file: &Path) -> Vec<String> {
    let path = file.with_extension("");
    let mut names: Vec<String> = path.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if names.len() > 1 {
        names.pop_if(|name| name == "mod");
    }
    names
}

/// `text` without comments, and without what follows `#[cfg(test)]` and is in braces or one item. Lines keep their numbers.
fn without_tests(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" {
            kept.push('\n');
            // The item ends with its first line, or where a line closes it.
            let first = lines.next().unwrap_or_default();
            kept.push('\n');
            if first.ends_with('{') {
                for line in lines.by_ref() {
                    kept.push('\n');
                    if line == "}" {
                        break;
                    }
                }
            }
            continue;
        }
        // A `//` in a text, as in a URL, has no space before it.
        let code = if line.trim_start().starts_with("//") { "" } else { line.split(" // ").next().unwrap() };
        kept.push_str(code);
        kept.push('\n');
    }
    kept
}

/// The first name behind `crate::`, or behind so many `super::` that they lead to the root, with its line. For a group in
/// braces, the first name of each member. `module` is where `text` stands.
fn paths(text: &str, module: &[String]) -> Vec<(usize, String)> {
    let depth = if module[0] == ROOT { 0 } else { module.len() };
    let mut found = Vec::new();
    for (start, keyword) in text.match_indices("crate::").chain(text.match_indices("super::")) {
        let before = &text[..start];
        if before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') || before.ends_with("super::") {
            continue;
        }
        let line = before.matches('\n').count() + 1;
        let mut rest = &text[start..];
        let mut above = 0;
        while let Some(further) = rest.strip_prefix("super::") {
            (rest, above) = (further, above + 1);
        }
        if keyword == "crate::" {
            rest = &rest[keyword.len()..];
        } else if above != depth {
            continue;
        }
        found.extend(first_names(rest).into_iter().map(|name| (line, name)));
    }
    if depth == 0 {
        // The root's `use` names its modules without a prefix.
        for (start, prefix) in text.match_indices("use ").chain(text.match_indices("pub use ")) {
            if text[..start].is_empty() || text[..start].ends_with('\n') {
                let line = text[..start].matches('\n').count() + 1;
                let names = first_names(&text[start + prefix.len()..]);
                found.extend(names.into_iter().map(|name| (line, name)));
            }
        }
    }
    found
}

fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| -> String { text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let (mut names, mut open, mut begins) = (Vec::new(), 1, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            ',' if open == 1 => begins = true,
            _ if begins && !c.is_whitespace() => {
                names.push(name(&group[at..]));
                begins = false;
            }
            _ => {}
        }
        if open == 0 {
            break;
        }
    }
    names
}

#[test]
fn a_path_is_found_however_it_is_written() {
    let text = "use crate::{a::{x, y}, b};\nuse super::c;\nfn f() { crate::d::g(); super::super::e::h() }\n// crate::no\n\
                #[cfg(test)]\nmod tests {\n    use crate::not_me;\n}\n";
    let found = |module: &[&str]| -> Vec<String> {
        let module: Vec<String> = module.iter().map(|name| (*name).to_owned()).collect();
        let found: BTreeSet<_> = paths(&without_tests(text), &module).into_iter().map(|(_, name)| name).collect();
        found.into_iter().collect()
    };
    assert_eq!(found(&["m"]), ["a", "b", "c", "d"]);
    assert_eq!(found(&["m", "n"]), ["a", "b", "d", "e"]);
}

#[test]
fn a_circle_is_told_step_by_step() {
    let graph: Graph = [("a", "b"), ("b", "c"), ("c", "b")]
        .map(|(from, to)| (from.to_owned(), BTreeMap::from([(to.to_owned(), format!("{from}.rs:1"))])))
        .into();
    assert_eq!(circle(&graph, "a"), None);
    assert_eq!(circle(&graph, "c").unwrap(), "c -> b (c.rs:1)\nb -> c (b.rs:1)\n");
}
