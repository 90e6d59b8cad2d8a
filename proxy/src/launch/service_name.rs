//! The name of a service, after the program that it is.

use std::ffi::OsString;
use std::path::Path;

/// Programs that run what their first argument names.
const INTERPRETERS: [&str; 14] =
    ["python", "pypy", "node", "nodejs", "deno", "bun", "tsx", "ts-node", "ruby", "php", "perl", "uv", "bash", "sh"];

/// Words with which such a program is told to run what follows.
const SUBCOMMANDS: [&str; 2] = ["run", "exec"];

/// The name of the service that `command` starts: that of its program, or of the script or the module that an interpreter runs.
/// `None` if the command has no program.
pub(super) fn of(command: &[OsString]) -> Option<String> {
    let (program, arguments) = command.split_first()?;
    let program = stem(program.to_str()?)?;
    // As in `python3.13`.
    let kind = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    if !INTERPRETERS.contains(&kind) {
        return Some(program.to_owned());
    }
    let is_script = |word: &&str| !word.starts_with('-') && !SUBCOMMANDS.contains(word);
    let script = arguments.iter().filter_map(|word| word.to_str()).find(is_script).and_then(stem);
    // A program that is given as text has no name.
    let is_text = arguments.first().is_some_and(|word| word == "-c" || word == "-e" || word == "--eval");
    Some(script.filter(|_| !is_text).unwrap_or(program).to_owned())
}

/// The last part of a path without its ending, if it is one of a script.
fn stem(word: &str) -> Option<&str> {
    let name = Path::new(word).file_name()?.to_str()?;
    let script = [".py", ".js", ".mjs", ".cjs", ".ts", ".rb", ".php", ".pl", ".sh"];
    let name = script.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_called_after_what_it_runs() {
        for (command, name) in [
            ("my-service --port 80", "my-service"),
            ("/usr/bin/my-service", "my-service"),
            ("./worker.sh", "worker"),
            ("python app.py --debug", "app"),
            ("python3.13 -u src/orders.py", "orders"),
            ("python -m celery -A proj worker", "celery"),
            ("node --inspect dist/server.mjs", "server"),
            ("bun run index.ts", "index"),
            ("python -c print(1)", "python"),
            ("sh -c ./start", "sh"),
            ("python", "python"),
        ] {
            let words: Vec<OsString> = command.split(' ').map(OsString::from).collect();
            assert_eq!(of(&words).as_deref(), Some(name), "{command}");
        }
        assert_eq!(of(&[]), None);
    }
}
