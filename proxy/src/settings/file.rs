//! The configuration file: TOML, with the options' names as keys and the `OTEL_*` variables under `[otel]`.
//!
//! What may stand in it follows from the definition of the command line: an option with a variable is a key. Its value
//! is a text, or a number where one is meant; `true` or `false` for a switch; an array for an option that repeats. Where
//! that option's value has parts (`GLOB=MODE`, `NAME=LISTEN,UPSTREAM`), a member may be a table with the parts' names in
//! lower case, and all of `GLOB=MODE` may be one table of `GLOB = MODE`, whose order counts.
//!
//! Values come out as the words that the command line would have, each with its place. A text is shown in an error only
//! without what may be secret in it.

mod reader;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command};
use toml::de::DeTable;

use super::address::{shown_path, without_secrets};
use reader::Reader;

/// Largest file, in bytes. A larger one is not a file of settings.
pub const MAX_LEN: u64 = 1 << 20;

/// What a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Where it is.
    pub path: PathBuf,
    /// In their order.
    pub settings: Vec<FileSetting>,
}

/// One setting of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSetting {
    /// The option's name without `--`, or the `OTEL_*` variable.
    pub name: String,
    /// Where its name stands.
    pub place: Place,
    /// One, or any number of an option that repeats.
    pub values: Vec<Value>,
}

/// A value as the command line would have it. `Debug` shows only where it is: it may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Value {
    /// As it would be typed.
    pub text: String,
    /// Where it begins.
    pub place: Place,
    /// If it was made of parts: each with its own place.
    pub parts: Vec<(String, Place)>,
}

/// A position in a file, both counted from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Of the file.
    pub line: usize,
    /// Of the line.
    pub column: usize,
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "*** at {}", self.place)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Something in a file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProblem {
    /// Where, unless it is the whole file.
    pub place: Option<Place>,
    /// What was being set, if that is known.
    pub setting: Option<String>,
    /// What was given, without secrets.
    pub value: Option<String>,
    /// What is wrong with it.
    pub problem: String,
    /// What to write instead.
    pub remedy: String,
}

/// A file that cannot be used, with everything that is wrong in it; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// Where it is.
    pub path: PathBuf,
    /// In the order of the file.
    pub problems: Vec<FileProblem>,
}

impl std::error::Error for FileError {}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration file cannot be used")?;
        for FileProblem { place, setting, value, problem, remedy } in &self.problems {
            write!(f, "\n  {}", shown_path(&self.path))?;
            place.iter().try_for_each(|place| write!(f, ":{place}"))?;
            f.write_str(": ")?;
            setting.iter().try_for_each(|setting| write!(f, "{setting}"))?;
            value.iter().try_for_each(|value| write!(f, " `{value}`"))?;
            let colon = if setting.is_some() { ": " } else { "" };
            write!(f, "{colon}{problem}; {remedy}")?;
        }
        Ok(())
    }
}

impl File {
    /// Reads the file at `path`. `command` defines the options.
    ///
    /// # Errors
    /// [`FileError`] with everything in it that cannot be used.
    pub fn read(path: &Path, command: &Command) -> Result<Self, FileError> {
        let whole = |problem: String, remedy: &str| FileError {
            path: path.to_owned(),
            problems: vec![FileProblem { place: None, setting: None, value: None, problem, remedy: remedy.to_owned() }],
        };
        let bytes = contents(path).map_err(|error| {
            whole(format!("it cannot be read: {error}"), "name a readable file by --config or REDISTRIBUTED_CONFIG")
        })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]).into_owned();
            let mut error = whole("it is not valid UTF-8 from here on".to_owned(), "save it as UTF-8");
            error.problems[0].place = Some(place(&valid, valid.len()));
            error
        })?;
        Self::parse(&text, path, command)
    }

    /// Reads `text`, which the file at `path` holds.
    ///
    /// # Errors
    /// As [`File::read`].
    pub fn parse(text: &str, path: &Path, command: &Command) -> Result<Self, FileError> {
        let mut reader = Reader::new(text, command);
        match DeTable::parse(text) {
            Ok(table) => reader.document(table.get_ref()),
            Err(error) => {
                let at = error.span().map(|span| place(text, span.start));
                let problem = without_secrets(error.message());
                reader.problems.push(FileProblem {
                    place: at,
                    setting: None,
                    value: None,
                    problem: format!("it is not TOML: {problem}"),
                    remedy: "write NAME = VALUE, with texts in quotes, and each name once".to_owned(),
                });
            }
        }
        reader.problems.sort_by_key(|problem| problem.place);
        let (path, Reader { mut settings, problems, .. }) = (path.to_owned(), reader);
        settings.sort_by_key(|setting| setting.place);
        if problems.is_empty() { Ok(Self { path, settings }) } else { Err(FileError { path, problems }) }
    }

    /// What it says of an option or a variable.
    pub fn get(&self, name: &str) -> Option<&FileSetting> {
        self.settings.iter().find(|setting| setting.name == name)
    }
}

/// The options that a file may set: those that a variable may set too, without the one that names the file.
pub fn keys(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| arg.get_env().is_some() && arg.get_id() != "config")
}

/// Whether an option may be given several times.
pub fn repeats(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// The names of the parts of a value, in lower case: `glob` and `mode` of `GLOB=MODE`; none if it has no parts.
pub fn parts(arg: &Arg) -> Vec<String> {
    let form = arg.get_value_names().and_then(|names| names.first()).map(|name| name.to_lowercase());
    match form.as_deref().and_then(|form| form.split_once('=')) {
        Some((first, rest)) if repeats(arg) => [first].into_iter().chain(rest.split(',')).map(Into::into).collect(),
        _ => Vec::new(),
    }
}

fn contents(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_LEN + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_LEN {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    }
    Ok(bytes)
}

fn place(text: &str, offset: usize) -> Place {
    let before = text.get(..offset.min(text.len())).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Place { line: before.matches('\n').count() + 1, column: before[start..].chars().count() + 1 }
}
