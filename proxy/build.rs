//! Tells the program what it was built from and for, without git: an image and a package are built where there is none.
//!
//! The commit comes, in this order, from the variable `REDISTRIBUTED_COMMIT`, from the file that `cargo package` adds, and from the
//! folder of git above. Without any of these it is unknown. Only a build that is meant to be used names it: the others would
//! compile everything again after each commit. Nothing here depends on the time or on the place of the sources, so the same sources
//! give the same program.

#![allow(clippy::print_stdout, reason = "this is how a build script answers cargo")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let folder = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=REDISTRIBUTED_COMMIT");
    let named = Some(variable("REDISTRIBUTED_COMMIT")).filter(|commit| is_commit(commit));
    let commit = match variable("PROFILE").as_str() {
        "release" => named.or_else(|| packaged(&folder)).or_else(|| folder.parent().and_then(checked_out)),
        _ => named,
    };
    let build = match (commit, variable("PROFILE").as_str()) {
        (Some(commit), _) => commit.chars().take(12).collect(),
        (None, "release") => "unknown commit".to_owned(),
        (None, _) => "development build".to_owned(),
    };
    println!("cargo::rustc-env=REDISTRIBUTED_BUILD={build}");
    println!("cargo::rustc-env=REDISTRIBUTED_TARGET={}", variable("TARGET"));
    println!("cargo::rustc-env=REDISTRIBUTED_COMPILER={}", compiler());
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// Whether `text` is the whole or abbreviated name of a commit.
fn is_commit(text: &str) -> bool {
    text.len() >= 7 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The commit that the package was made of.
fn packaged(folder: &Path) -> Option<String> {
    let file = folder.join(".cargo_vcs_info.json");
    let text = fs::read_to_string(&file).ok()?;
    println!("cargo::rerun-if-changed={}", file.display());
    let (_, rest) = text.split_once("\"sha1\"")?;
    rest.split('"').find(|word| is_commit(word)).map(str::to_owned)
}

/// The commit that is checked out in the repository at `root`, by the layout of its files (gitrepository-layout(5)).
fn checked_out(root: &Path) -> Option<String> {
    let git = match fs::read_to_string(root.join(".git")) {
        // A worktree has a file there that names its folder.
        Ok(text) => root.join(text.strip_prefix("gitdir:")?.trim()),
        Err(_) => root.join(".git"),
    };
    let common = fs::read_to_string(git.join("commondir")).map_or(git.clone(), |path| git.join(path.trim()));
    let head = watched(git.join("HEAD"))?;
    // A commit changes it even if the branch had no file of its own before.
    let _ = watched(git.join("logs/HEAD"));
    let Some(branch) = head.strip_prefix("ref:").map(str::trim) else {
        return Some(head.trim().to_owned()).filter(|commit| is_commit(commit));
    };
    let loose = watched(common.join(branch)).map(|text| text.trim().to_owned());
    let packed = || {
        let packed = watched(common.join("packed-refs"))?;
        let mut lines = packed.lines().filter_map(|line| line.split_once(' '));
        lines.find(|(_, name)| *name == branch).map(|(commit, _)| commit.to_owned())
    };
    loose.or_else(packed).filter(|commit| is_commit(commit))
}

/// The text of a file, whose change has the program built again.
fn watched(file: PathBuf) -> Option<String> {
    let text = fs::read_to_string(&file).ok()?;
    println!("cargo::rerun-if-changed={}", file.display());
    Some(text)
}

/// The compiler and its version, as in `rustc 1.95.0`.
fn compiler() -> String {
    let output = Command::new(variable("RUSTC")).arg("--version").output().ok();
    let text = output.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().take(2).collect();
    if words.is_empty() { "an unknown compiler".to_owned() } else { words.join(" ") }
}
