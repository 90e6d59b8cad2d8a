//! Command lines in the documents can be typed as they stand.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use clap::Parser;
use redistributed::settings::otel::{SECRETS, VARIABLES};
use redistributed::top::TopArgs;
use redistributed::view::ViewArgs;

use crate::docs::page::{self, root};
use crate::support::authority::Authority;
use crate::support::spawn::{command, run};

/// A call of the program in a document.
#[derive(Debug)]
struct Call {
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
}

/// The calls of `redistributed` in shell snippets. `...` stands for what makes a call complete.
fn calls(page: &page::Page) -> Vec<Call> {
    let mut calls = Vec::new();
    for line in page.shell_lines() {
        for command in line.split('|') {
            let command = command.split(['<', '>']).next().unwrap();
            let missing = match command.contains("--upstream ") {
                true => " --listen 127.0.0.1:6380 ",
                false => " --listen 127.0.0.1:6380 --upstream redis://cache:6379 ",
            };
            let words = words(&command.replace(" ... ", missing));
            let (variables, rest): (Vec<_>, Vec<_>) = {
                let program = words.iter().position(|word| !is_assignment(word)).unwrap_or(words.len());
                (words[..program].to_vec(), words[program..].to_vec())
            };
            if rest.first().is_some_and(|program| program == "redistributed") {
                let split =
                    |word: &String| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
                let variables = variables.iter().filter_map(split).collect();
                calls.push(Call { variables, arguments: rest[1..].to_vec() });
            }
        }
    }
    calls
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
}

/// The words of a simple command, as a shell sees them.
fn words(command: &str) -> Vec<String> {
    let output = Command::new("sh").args(["-c", &format!("printf '%s\\n' {command}")]).output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// What it would serve is checked, and nothing is served. The files that it names are there.
#[test]
fn every_call_of_the_program_has_settings_that_it_accepts() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue("orders-proxy");
    authority.write("tls.crt", &certificate);
    authority.write("tls.key", &key);
    let password = authority.write("redis-password", "secret\n");
    authority.write("context-keys", "0123456789abcdef0123456789abcdef\n");
    let example = std::fs::read_to_string(root().join("compose/redistributed.toml")).unwrap();
    authority.write("redistributed.toml", &example);
    let packaged = root().join("packaging/systemd/redistributed.toml");
    let mut tried = 0;
    for page in page::all() {
        for call in calls(&page) {
            let mut arguments: Vec<_> = call.arguments.iter().map(String::as_str).collect();
            if arguments.first().is_some_and(|first| ["decode", "completions", "man", "--version"].contains(first)) {
                let mut as_it_is = command(&arguments);
                as_it_is.envs(call.variables).stdin(Stdio::null());
                let ended = run(as_it_is);
                assert_ne!(ended.code, Some(2), "{}: {:?}: {}", page.path, call.arguments, ended.stderr);
                tried += 1;
                continue;
            }
            if arguments.first() == Some(&"view") {
                // It would serve, so its options are only read.
                ViewArgs::try_parse_from(&arguments).unwrap_or_else(|error| panic!("{}: {error}", page.path));
                tried += 1;
                continue;
            }
            if arguments.first() == Some(&"top") {
                TopArgs::try_parse_from(&arguments).unwrap_or_else(|error| panic!("{}: {error}", page.path));
                tried += 1;
                continue;
            }
            if arguments.first() == Some(&"check") {
                arguments.remove(0);
                if let Some(format) = arguments.iter().position(|argument| *argument == "--format") {
                    arguments.drain(format..format + 2);
                }
            }
            if arguments.first() == Some(&"run") {
                arguments.remove(0);
                arguments.truncate(arguments.iter().position(|argument| *argument == "--").expect("a service"));
                // These are the service's: whose they are is tried by the tests of `run`.
                while let Some(own) = arguments.iter().position(|argument| *argument == "--env") {
                    arguments.drain(own..own + 2);
                }
                arguments.retain(|argument| !argument.starts_with("--view"));
                arguments.extend(["--listen", "127.0.0.1:0", "--upstream", "redis://cache:6379"]);
            }
            arguments.retain(|argument| !["--check-config", "--healthcheck"].contains(argument));
            for argument in &mut arguments {
                match *argument {
                    "/run/secrets/redis" => *argument = password.to_str().unwrap(),
                    // The file that the Debian package brings.
                    "/etc/redistributed/redistributed.toml" => *argument = packaged.to_str().unwrap(),
                    _ => {}
                }
            }
            arguments.push("--check-config");
            let mut checked = command(&arguments);
            checked.envs(call.variables).current_dir(authority.folder.path());
            let ended = run(checked);
            assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{}: {:?}", page.path, call.arguments);
            tried += 1;
        }
    }
    assert!(tried > 15, "only {tried} calls were found");
}

/// Everything that `--help` of the program and of its subcommands names.
fn options() -> BTreeSet<String> {
    let all = [
        &["--help"][..],
        &["run", "--help"],
        &["check", "--help"],
        &["decode", "--help"],
        &["view", "--help"],
        &["top", "--help"],
    ];
    let help = all.map(|arguments| run(command(arguments)).stdout);
    let words = help.iter().flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-'));
    words.filter(|word| word.starts_with("--")).map(str::to_owned).collect()
}

#[test]
fn every_option_that_is_named_exists() {
    let options = options();
    assert!(options.contains("--inject-limit") && options.contains("--strip"), "{options:?}");
    for page in page::all().iter().filter(|page| !page.path.starts_with("proxy/conformance/")) {
        let of_ours = page.code.iter().filter(|code| code.starts_with("--") || code.starts_with("redistributed "));
        for option in of_ours.flat_map(|code| code.split([' ', '='])).filter(|word| word.starts_with("--")) {
            assert!(option == "--" || options.contains(option), "{} names {option}, which is no option", page.path);
        }
    }
}

#[test]
fn every_variable_that_is_named_exists() {
    let listed = run(command(&["--help"])).stdout;
    for page in page::all().iter().filter(|page| !page.path.starts_with("proxy/conformance/")) {
        for word in page.text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            if word.starts_with("OTEL_") && !word.ends_with('_') {
                let secret = SECRETS.iter().any(|(_, file)| *file == word);
                assert!(secret || VARIABLES.contains(&word), "{} names {word}, which is not read", page.path);
            }
            let of_ours = word.starts_with("REDISTRIBUTED_") && !word.ends_with('_');
            if of_ours
                && !["REDISTRIBUTED_TEST", "REDISTRIBUTED_BIN", "REDISTRIBUTED_COMMIT"]
                    .iter()
                    .any(|start| word.starts_with(start))
            {
                let by_kubernetes = ["REDISTRIBUTED_SERVICE_HOST", "REDISTRIBUTED_PORT_6380_TCP"].contains(&word);
                assert!(by_kubernetes || listed.contains(&format!("[env: {word}")), "{} names {word}", page.path);
            }
        }
    }
}

#[test]
fn every_target_of_make_and_every_step_of_the_checks_exists() {
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    let steps = std::fs::read_to_string(root().join(".ci/run")).unwrap();
    let mut tried = BTreeSet::new();
    for page in page::all() {
        for line in page.shell_lines().iter().chain(&page.code) {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("make") => {
                    let Some(target) = words.next() else { continue };
                    let exists = makefile.contains(&format!("\n{target}: "));
                    assert!(exists, "{} names `make {target}`, which is no target", page.path);
                    for variable in words.filter_map(|word| Some(word.split_once('=')?.0)) {
                        let read = makefile.contains(&format!("$({variable})"));
                        let read = read || makefile.contains(&format!("$(if $({variable})"));
                        assert!(read, "{}: make does not read {variable}", page.path);
                    }
                    tried.insert(target.to_owned());
                }
                Some(".ci/run") => {
                    for step in words.filter(|word| word.chars().all(|c| c.is_ascii_lowercase())) {
                        assert!(steps.contains(&format!("step_{step}()")), "{}: no step {step}", page.path);
                    }
                }
                _ => {}
            }
        }
    }
    assert!(tried.len() > 6, "the targets are not found: {tried:?}");
}
