//! `proxy/docs/settings.md` and the example file against the definition of the options.
//!
//! The table of options is made from that definition. `UPDATE_DOCS=1 cargo test --workspace --test suite settings_doc::`
//! writes it anew after a change.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::support::spawn::{command, run};
use clap::Arg;
use redistributed::reload::RELOADABLE;
use redistributed::settings::Options;
use redistributed::settings::file::{keys, repeats};
use redistributed::settings::otel::{OtelSettings, SECRETS, VARIABLES};

const BEGIN: &str = "<!-- made from the definition of the options: begin -->\n";
const END: &str = "<!-- made from the definition of the options: end -->\n";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A table for each heading of `--help`, in its order.
fn tables() -> String {
    let command = Options::command();
    let in_file: Vec<&str> = keys(&command).filter_map(Arg::get_long).collect();
    let mut text = String::new();
    let mut headings: Vec<&str> = command.get_arguments().filter_map(Arg::get_help_heading).collect();
    headings.dedup();
    let mut seen = Vec::new();
    for heading in headings.into_iter().filter(|heading| {
        let new = !seen.contains(heading);
        seen.push(heading);
        new
    }) {
        write!(text, "\n### {heading}\n\n").unwrap();
        text += "| option and file key | value | variable | default | while running | meaning |\n|---|---|---|---|---|---|\n";
        for arg in command.get_arguments().filter(|arg| arg.get_help_heading() == Some(heading)) {
            let name = arg.get_long().unwrap();
            let key = if in_file.contains(&name) { format!("`{name}`") } else { format!("`--{name}`, no key") };
            let running = if RELOADABLE.contains(&name) { "yes" } else { "no" };
            let variable = arg.get_env().map_or("-".to_owned(), |name| format!("`{}`", name.to_str().unwrap()));
            let meaning = arg.get_help().unwrap().to_string().replace('|', "\\|");
            writeln!(text, "| {key} | {} | {variable} | {} | {running} | {meaning} |", value(arg), default(arg))
                .unwrap();
        }
    }
    text + "\n"
}

fn value(arg: &Arg) -> String {
    if !arg.get_action().takes_values() {
        return "-".to_owned();
    }
    let words: Vec<String> = arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    let form = match &words[..] {
        [] => format!("`{}`", arg.get_value_names().unwrap()[0]),
        words => words.join(", "),
    };
    if repeats(arg) { format!("{form}, repeats") } else { form }
}

fn default(arg: &Arg) -> String {
    match arg.get_default_values() {
        [] => "-".to_owned(),
        [value, ..] => format!("`{}`", value.to_str().unwrap()),
    }
}

#[test]
fn the_table_of_options_is_what_the_program_takes() {
    let path = root().join("proxy/docs/settings.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the table begins");
    let (table, after) = rest.split_once(END).expect("the table ends");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        return std::fs::write(&path, [before, BEGIN, &tables(), END, after].concat()).unwrap();
    }
    assert_eq!(table, tables(), "run this test once with UPDATE_DOCS=1");
}

#[test]
fn every_variable_of_opentelemetry_is_described_and_no_other() {
    let page = std::fs::read_to_string(root().join("proxy/docs/settings.md")).unwrap();
    let words: Vec<&str> = page.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let known: Vec<&str> = VARIABLES.into_iter().chain(SECRETS.map(|(_, file)| file)).collect();
    for name in &known {
        assert!(words.contains(name), "{name} is not described");
    }
    for word in words.iter().filter(|word| word.starts_with("OTEL_") && !word.ends_with('_')) {
        assert!(known.contains(word), "{word} is not read");
    }
}

/// The rows of the table of `OTEL_*` variables: the names, and the default.
fn variable_rows(page: &str) -> Vec<(Vec<&str>, &str)> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `OTEL_").map(|_| line));
    let rows = rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>());
    // The other table with variables has two columns.
    rows.filter(|columns| columns.len() == 3)
        .map(|columns| (columns[0].split(", ").map(|name| name.trim_matches('`')).collect(), columns[1]))
        .collect()
}

#[test]
fn the_defaults_of_opentelemetry_are_those_in_effect() {
    let page = std::fs::read_to_string(root().join("proxy/docs/settings.md")).unwrap();
    let rows = variable_rows(&page);
    let mut described: Vec<&str> = rows.iter().flat_map(|(names, _)| names.clone()).collect();
    let mut known = VARIABLES.to_vec();
    described.sort_unstable();
    known.sort_unstable();
    assert_eq!(described, known, "each variable is in one row");
    for (name, value) in OtelSettings::default().effective() {
        let (_, default) = rows.iter().find(|(names, _)| names.contains(&name)).unwrap();
        let expected = if value == "-" { value } else { format!("`{value}`") };
        assert_eq!(*default, expected, "{name}");
    }
}

#[test]
fn the_example_file_can_be_used_and_shows_every_kind_of_setting() {
    let path = root().join("compose/redistributed.toml");
    let ended = run(command(&["--check-config", "--config", path.to_str().unwrap()]));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    for line in ["OTEL_TRACES_SAMPLER = parentbased_traceidratio ", "OTEL_TRACES_SAMPLER_ARG = 0.1 "] {
        assert!(ended.stdout.contains(line), "no {line} in\n{}", ended.stdout);
    }
    for name in ["route", "admin", "mode", "mode-for", "exclude", "carrier", "drain-timeout", "OTEL_TRACES_SAMPLER"] {
        let line = ended.stdout.lines().find(|line| line.starts_with(&format!("{name} = "))).unwrap();
        assert!(line.contains("redistributed.toml:"), "{line}");
    }
}

#[test]
fn the_example_in_the_page_can_be_used() {
    let page = std::fs::read_to_string(root().join("proxy/docs/settings.md")).unwrap();
    let examples: Vec<&str> = page.split("```toml\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
    assert!(!examples.is_empty());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("example.toml");
    for example in examples {
        std::fs::write(&path, example).unwrap();
        let ended = run(command(&["--check-config", "--config", path.to_str().unwrap()]));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{example}");
    }
}
