//! No module uses, directly or through others, a module that uses it.
//!
//! The compiler allows such circles within a crate, and they tie up whatever is in them: none of it can be read, tested or
//! changed alone. So the modules of each folder of the program and of the core are put into a graph, which is made from the
//! paths in their sources that begin with `crate::` or `super::`. The crate's root (`lib.rs`) is a module of the first folder.
//! A folder's own `mod.rs` is not one of its modules: it joins them, and they may use what it defines. Tests may use anything.

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

#[test]
fn no_module_of_the_viewer_is_in_a_circle() {
    assert_untangled("view/src");
}

#[track_caller]
fn assert_untangled(source: &str) {
    let graphs = graphs(&Path::new(env!("CARGO_MANIFEST_DIR")).join(source));
    assert!(graphs.len() > 3 && graphs[""].len() > 5, "{source} has folders with modules");
    let mut circles = Vec::new();
    for (folder, graph) in &graphs {
        let found = graph.keys().filter_map(|module| circle(graph, module));
        circles.extend(found.map(|circle| format!("in {source}/{folder}:\n{circle}")));
    }
    assert!(circles.is_empty(), "modules use each other in a circle\n\n{}", circles.join("\n"));
}

/// The shortest circle through `module`, a line for each step.
fn circle(graph: &Graph, module: &str) -> Option<String> {
    let mut paths = VecDeque::from([vec![module]]);
    let mut seen = BTreeSet::new();
    while let Some(path) = paths.pop_front() {
        for next in graph.get(*path.last()?).into_iter().flat_map(BTreeMap::keys) {
            let path = [&path[..], &[next.as_str()]].concat();
            if next == module {
                let line = |step: &[&str]| format!("  {} uses {} ({})\n", step[0], step[1], graph[step[0]][step[1]]);
                return Some(path.windows(2).map(line).collect());
            }
            if seen.insert(next) {
                paths.push_back(path);
            }
        }
    }
    None
}

/// A graph for each folder, which is named by its path from `source`.
fn graphs(source: &Path) -> BTreeMap<String, Graph> {
    let files = files(source);
    let modules: BTreeSet<Vec<String>> = files.iter().map(|file| module(file)).collect();
    let mut graphs = BTreeMap::<String, Graph>::new();
    for file in &files {
        let user = module(file);
        for (line, path) in paths(&without_tests(&fs::read_to_string(source.join(file)).unwrap()), &user) {
            // The module that the path leads to: a path also names items, and one that names no module is the root's.
            let depth = (1..=path.len()).rev().find(|depth| modules.contains(&path[..*depth]));
            let used = depth.map_or_else(|| vec![ROOT.to_owned()], |depth| path[..depth].to_vec());
            let common = user.iter().zip(&used).take_while(|(one, other)| one == other).count();
            // One may be within the other; otherwise they part in the folder that both are in.
            if let (Some(user), Some(used)) = (user.get(common), used.get(common)) {
                let graph = graphs.entry(path[..common].join("/")).or_default();
                let place = format!("{}:{line}", file.display());
                graph.entry(user.clone()).or_default().entry(used.clone()).or_insert(place);
            }
        }
    }
    graphs
}

/// The sources of the library, relative to `source`. The program's `main.rs` is a crate of its own, and `fuzzing.rs` is not
/// part of what runs.
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

/// `text` without comments, and without the item that follows `#[cfg(test)]`. Lines keep their numbers.
fn without_tests(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" {
            // The item ends with its first line, or with a brace that closes it.
            let opens = lines.next().is_some_and(|first| first.ends_with('{'));
            let more = if opens { lines.by_ref().take_while(|line| *line != "}").count() + 1 } else { 0 };
            kept.extend(std::iter::repeat_n('\n', 2 + more));
            continue;
        }
        // A `//` in a text, as in a URL, has no space before it.
        let code = if line.trim_start().starts_with("//") { "" } else { line.split(" // ").next().unwrap() };
        kept.push_str(code);
        kept.push('\n');
    }
    kept
}

/// The paths from the root in `text`, which is that of `module`, with their lines.
fn paths(text: &str, module: &[String]) -> Vec<(usize, Vec<String>)> {
    let is_root = module == [ROOT];
    let mut found = Vec::new();
    let prefixes = ["crate::", "super::", "use ", "pub use "];
    for (start, prefix) in prefixes.iter().flat_map(|prefix| text.match_indices(prefix)) {
        let before = &text[..start];
        let mut rest = &text[start + prefix.len()..];
        let base = match prefix {
            // Behind a part of another word, or the second `super` of two.
            "crate::" | "super::" if before.ends_with(|c: char| c.is_alphanumeric() || "_$:".contains(c)) => continue,
            "crate::" => &[],
            "super::" => {
                let mut above = 1;
                while let Some(further) = rest.strip_prefix("super::") {
                    (rest, above) = (further, above + 1);
                }
                // A module within a file is deeper than it looks.
                &module[..module.len().saturating_sub(above)]
            }
            // The root names its modules without a prefix.
            _ if is_root && (before.is_empty() || before.ends_with('\n')) => &[],
            _ => continue,
        };
        let line = before.matches('\n').count() + 1;
        found.extend(expanded(rest).into_iter().map(|path| (line, [base, &path].concat())));
    }
    found
}

/// The paths that begin with `text`: one, or those of a group in braces.
fn expanded(text: &str) -> Vec<Vec<String>> {
    if let Some(group) = text.strip_prefix('{') {
        let (mut members, mut open, mut begin) = (Vec::new(), 1, 0);
        for (at, c) in group.char_indices() {
            open += i32::from(c == '{') - i32::from(c == '}');
            if open == 0 || open == 1 && c == ',' {
                members.extend(expanded(group[begin..at].trim()));
                begin = at + 1;
            }
            if open == 0 {
                break;
            }
        }
        return members;
    }
    let name: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let rest = text[name.len()..].strip_prefix("::").filter(|_| !name.is_empty());
    match rest {
        Some(rest) => expanded(rest).into_iter().map(|path| [vec![name.clone()], path].concat()).collect(),
        None => vec![vec![name]],
    }
}

#[test]
fn a_path_is_found_however_it_is_written() {
    let text = "use crate::{a::{x, y}, b};\nuse super::c;\nfn f() { crate::d::g(); super::super::e::h() }\n// crate::no\n\
                #[cfg(test)]\nmod tests {\n    use crate::not_me;\n}\nuse crate::f;\n";
    let found = |module: &[&str]| -> Vec<(usize, String)> {
        let module: Vec<String> = module.iter().map(|name| (*name).to_owned()).collect();
        let mut found: Vec<_> =
            paths(&without_tests(text), &module).into_iter().map(|(line, path)| (line, path.join("::"))).collect();
        found.sort();
        found
    };
    let expected = [(1, "a::x"), (1, "a::y"), (1, "b"), (2, "m::c"), (3, "d::g"), (3, "e::h"), (9, "f")];
    assert_eq!(found(&["m", "n"]), expected.map(|(line, path)| (line, path.to_owned())));
}

#[test]
fn a_circle_is_told_step_by_step() {
    let graph: Graph = [("a", "b"), ("b", "c"), ("c", "b")]
        .map(|(from, to)| (from.to_owned(), BTreeMap::from([(to.to_owned(), format!("{from}.rs:1"))])))
        .into();
    assert_eq!(circle(&graph, "a"), None);
    assert_eq!(circle(&graph, "c").unwrap(), "  c uses b (c.rs:1)\n  b uses c (b.rs:1)\n");
}
