//! The configuration file: TOML, with the options' names as keys and the `OTEL_*` variables under `[otel]`.
//!
//! The keys follow from the definition of the command line: every option that has a variable is a key. Its value is a string, or
//! a number where one is meant; `true` or `false` for a switch; and an array for an option that may be repeated. Where such an
//! option's value has parts (`GLOB=MODE`, `NAME=LISTEN,UPSTREAM`), a member may be a table whose keys are the parts' names in
//! lower case, and a list of `GLOB=MODE` may be one table of `GLOB = MODE`, in which the order counts.
//!
//! A value is returned as the word that would stand on the command line, with its position. Errors show it redacted.

mod reader;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command};
use toml::de::DeTable;

use super::error::{InvalidSettings, SettingError};
use super::origin::{Origin, Position};
use super::redact::redact;
use reader::TomlReader;

/// The largest configuration file, in bytes. A larger one was named by mistake.
pub const MAX_LEN: u64 = 1 << 20;

/// A configuration file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    /// The file's path, as it was given.
    pub path: PathBuf,
    /// The settings in the order of the file.
    pub settings: Vec<FileSetting>,
}

/// One key of a configuration file, with its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSetting {
    /// The option's name without `--`, or the `OTEL_*` variable.
    pub name: String,
    /// The position of its key.
    pub position: Position,
    /// One value, or any number of an option that repeats.
    pub values: Vec<FileValue>,
}

/// A value as it would stand on the command line. It may be a secret, so `Debug` shows only its position.
#[derive(Clone, PartialEq, Eq)]
pub struct FileValue {
    /// The value as it would be typed.
    pub text: String,
    /// The position at which it begins.
    pub position: Position,
    /// The parts that it was made of, if it has any, each with its own position.
    pub parts: Vec<(String, Position)>,
}

impl fmt::Debug for FileValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "*** at {}", self.position)
    }
}

impl ConfigFile {
    /// Reads the file at `path`. `command` defines the options.
    ///
    /// # Errors
    /// Everything in it that cannot be used.
    pub fn read(path: &Path, command: &Command) -> Result<Self, InvalidSettings> {
        let error = |position, problem: String, remedy: &'static str| {
            let origin = Origin::File(path.to_owned(), position);
            let error = SettingError { setting: None, origin, value: None, problem, remedy: remedy.into() };
            InvalidSettings::of_file(vec![error])
        };
        let bytes = contents(path).map_err(|problem| {
            let remedy = "name a readable file by --config or REDISTRIBUTED_CONFIG";
            error(None, format!("it cannot be read: {problem}"), remedy)
        })?;
        let text = String::from_utf8(bytes).map_err(|problem| {
            let end = problem.utf8_error().valid_up_to();
            let valid = String::from_utf8_lossy(&problem.as_bytes()[..end]).into_owned();
            let position = Position::at(&valid, valid.len());
            error(Some(position), "it is not valid UTF-8 from here on".to_owned(), "save it as UTF-8")
        })?;
        Self::parse(&text, path, command)
    }

    /// Reads `text`, which the file at `path` holds.
    ///
    /// # Errors
    /// Everything in it that cannot be used.
    pub fn parse(text: &str, path: &Path, command: &Command) -> Result<Self, InvalidSettings> {
        let mut reader = TomlReader::new(text, path, command);
        match DeTable::parse(text) {
            Ok(table) => reader.document(table.get_ref()),
            Err(error) => {
                let position = error.span().map(|span| Position::at(text, span.start));
                let problem = format!("it is not TOML: {}", redact(error.message()));
                reader.errors.push(SettingError {
                    setting: None,
                    origin: Origin::File(path.to_owned(), position),
                    value: None,
                    problem,
                    remedy: "write NAME = VALUE, with texts in quotes, and each name once".into(),
                });
            }
        }
        let TomlReader { mut settings, mut errors, .. } = reader;
        if errors.is_empty() {
            settings.sort_by_key(|setting| setting.position);
            return Ok(Self { path: path.to_owned(), settings });
        }
        errors.sort_by_key(|error| match &error.origin {
            Origin::File(_, position) => *position,
            _ => None,
        });
        Err(InvalidSettings::of_file(errors))
    }

    /// The setting of the option or variable `name`, if the file has one.
    pub fn get(&self, name: &str) -> Option<&FileSetting> {
        self.settings.iter().find(|setting| setting.name == name)
    }
}

/// The options that a file may set. These are the ones that have a variable, except the one that names the file.
pub fn keys(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| arg.get_env().is_some() && arg.get_id() != "config")
}

/// Whether an option may be given several times.
pub fn repeats(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// The names of the parts of an option's value, in lower case, such as `glob` and `mode` for `GLOB=MODE`. It is empty if the
/// value has no parts.
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
