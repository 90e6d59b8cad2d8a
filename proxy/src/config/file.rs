//! The configuration file: TOML, with the options' names as keys and the `OTEL_*` variables under `[otel]`.
//!
//! What may stand in it follows from the definition of the command line: an option with a variable is a key. Its value
//! is a text, or a number where one is meant; `true` or `false` for a switch; an array for an option that repeats. Where
//! that option's value has parts (`GLOB=MODE`, `NAME=LISTEN,UPSTREAM`), a member may be a table with the parts' names in
//! lower case, and all of `GLOB=MODE` may be one table of `GLOB = MODE`, whose order counts.
//!
//! Values come out as the words that the command line would have, each with its place. A text is shown in an error only
//! without what may be secret in it.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::address::without_secrets;
use super::nearest::remedy;
use crate::telemetry::otel_env;

/// Largest file, in bytes. A larger one is not a file of settings.
pub const MAX_LEN: u64 = 1 << 20;

/// The table that holds the `OTEL_*` variables.
const OTEL: &str = "otel";

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
            write!(f, "\n  {}", self.path.display())?;
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
        let mut reader = Reader { text, command, settings: Vec::new(), problems: Vec::new() };
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

struct Reader<'a> {
    text: &'a str,
    command: &'a Command,
    settings: Vec<FileSetting>,
    problems: Vec<FileProblem>,
}

type Table<'t> = DeTable<'t>;
type Node<'t> = Spanned<DeValue<'t>>;

impl Reader<'_> {
    fn document(&mut self, table: &Table<'_>) {
        for (key, node) in table {
            let (name, at) = (key.get_ref().as_ref(), self.place(key));
            if name == OTEL {
                self.otel(node);
                continue;
            }
            let Some(arg) = keys(self.command).find(|arg| arg.get_long() == Some(name)) else {
                self.unknown(name, at, node);
                continue;
            };
            let before = self.problems.len();
            let values = self.values(name, arg, node);
            if self.problems.len() == before {
                self.settings.push(FileSetting { name: name.to_owned(), place: at, values });
            }
        }
    }

    /// A key that is no option. With a table it may be the first half of one, as in `[log] level = ...`.
    fn unknown(&mut self, name: &str, at: Place, node: &Node<'_>) {
        const LIST: &str = "see --help for the names, which are those of the options without `--`";
        let command = self.command;
        let names = || keys(command).filter_map(Arg::get_long).chain([OTEL]);
        if let DeValue::Table(table) = node.get_ref()
            && super::nearest::nearest(name, names()).is_none()
            && !table.is_empty()
        {
            for (key, _) in table {
                let inner = key.get_ref().as_ref();
                let shown = format!("{}.{}", without_secrets(name), without_secrets(inner));
                let remedy = remedy(&format!("{name}-{inner}"), names(), LIST);
                self.refuse(self.place(key), &shown, None, "it is not a setting", &remedy);
            }
            return;
        }
        // The variables of options that repeat are in the plural.
        let plural = |arg: &&Arg| arg.get_id().as_str().replace('_', "-") == name;
        let remedy = match keys(command).find(plural).and_then(Arg::get_long) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None if name.starts_with("OTEL_") => format!("write it under [{OTEL}]"),
            None if ["check-config", "healthcheck", "config"].contains(&name) => {
                "it is for the command line only".to_owned()
            }
            None => remedy(name, names(), LIST),
        };
        self.refuse(at, &without_secrets(name), None, "it is not a setting", &remedy);
    }

    fn values(&mut self, name: &str, arg: &Arg, node: &Node<'_>) -> Vec<Value> {
        let parts = parts(arg);
        match node.get_ref() {
            DeValue::Array(members) if repeats(arg) => {
                members.iter().filter_map(|member| self.member(name, arg, &parts, member)).collect()
            }
            DeValue::Table(table) if parts.len() == 2 => {
                let mut entries: Vec<_> = table.iter().collect();
                entries.sort_by_key(|(key, _)| key.span().start);
                entries.into_iter().filter_map(|(key, node)| self.entry(name, arg, key, node)).collect()
            }
            _ => self.member(name, arg, &parts, node).into_iter().collect(),
        }
    }

    /// A whole value, or one of several.
    fn member(&mut self, name: &str, arg: &Arg, parts: &[String], node: &Node<'_>) -> Option<Value> {
        if let (DeValue::Table(table), false) = (node.get_ref(), parts.is_empty()) {
            return self.record(name, arg, parts, table, self.place(node));
        }
        let text = self.scalar(name, arg, node)?;
        self.accept(name, arg, Value { text, place: self.place(node), parts: Vec::new() })
    }

    /// `"orders.*" = "strip"` in a table.
    fn entry(
        &mut self,
        name: &str,
        arg: &Arg,
        key: &Spanned<toml::de::DeString<'_>>,
        node: &Node<'_>,
    ) -> Option<Value> {
        let glob = key.get_ref().as_ref();
        let (shown, at) = (without_secrets(glob), self.place(key));
        if node.get_ref().is_table() {
            let remedy = format!("put names with dots in quotes, as in \"{shown}.*\" = ...");
            self.refuse(at, &format!("{name}.{shown}"), None, "it is a table where a text is needed", &remedy);
            return None;
        }
        let choice = self.scalar(&format!("{name}.\"{shown}\""), arg, node)?;
        let text = format!("{glob}={choice}");
        self.accept(name, arg, Value { text, place: at, parts: Vec::new() })
    }

    /// `{ name = "api", listen = "...", upstream = "..." }`
    fn record(&mut self, name: &str, arg: &Arg, parts: &[String], table: &Table<'_>, at: Place) -> Option<Value> {
        let before = self.problems.len();
        for (key, _) in table {
            let inner = key.get_ref().as_ref();
            if !parts.iter().any(|part| part == inner) {
                let known = parts.iter().map(String::as_str);
                let remedy = remedy(inner, known, &format!("its keys are {}", parts.join(", ")));
                let shown = format!("{name}.{}", without_secrets(inner));
                self.refuse(self.place(key), &shown, None, "it is not a setting", &remedy);
            }
        }
        let mut found = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let shown = format!("{name}.{part}");
            let Some(node) = table.iter().find(|(key, _)| key.get_ref().as_ref() == part).map(|(_, node)| node) else {
                let remedy = format!("a table of {name} needs {}", parts.join(", "));
                self.refuse(at, &shown, None, "it is missing", &remedy);
                continue;
            };
            let Some(text) = self.scalar(&shown, arg, node) else { continue };
            // What comes behind it on the command line, where it could not be told from it.
            let separator = if index == 0 { '=' } else { ',' };
            if parts.len() > 2 && index + 1 < parts.len() && text.contains(separator) {
                let problem = format!("it holds a `{separator}`");
                self.refuse(self.place(node), &shown, Some(&text), &problem, "leave it out");
                continue;
            }
            found.push((text, self.place(node)));
        }
        if self.problems.len() > before {
            return None;
        }
        let texts: Vec<&str> = found.iter().map(|(text, _)| text.as_str()).collect();
        let (first, rest) = texts.split_first()?;
        let text = format!("{first}={}", rest.join(","));
        self.accept(name, arg, Value { text, place: at, parts: found })
    }

    /// A value as the command line would have it.
    fn scalar(&mut self, shown: &str, arg: &Arg, node: &Node<'_>) -> Option<String> {
        let switch = matches!(arg.get_action(), ArgAction::SetTrue | ArgAction::SetFalse);
        let wanted = match node.get_ref() {
            DeValue::Boolean(value) if switch => return Some(value.to_string()),
            _ if switch => "write true or false",
            DeValue::String(text) => return Some(text.clone().into_owned()),
            DeValue::Integer(number) if number.radix() == 10 => return Some(number.as_str().to_owned()),
            _ if repeats(arg) => "write an array of texts, as in [\"a\", \"b\"]",
            _ => "write a text in quotes, or a whole number where one is meant",
        };
        let problem = format!("{} is not what it takes", kind(node.get_ref()));
        self.refuse(self.place(node), shown, None, &problem, wanted);
        None
    }

    /// Whether the option takes it, as far as its own definition can say.
    fn accept(&mut self, name: &str, arg: &Arg, value: Value) -> Option<Value> {
        if matches!(arg.get_action(), ArgAction::SetTrue | ArgAction::SetFalse) {
            return Some(value);
        }
        let only = Command::new("").no_binary_name(true).arg(arg.clone().env(clap::builder::Resettable::Reset));
        let Err(error) = only.try_get_matches_from([format!("--{name}={}", value.text)]) else { return Some(value) };
        let known = match error.get(ContextKind::ValidValue) {
            Some(ContextValue::Strings(words)) => words.clone(),
            _ => Vec::new(),
        };
        let list = if known.is_empty() { "see --help".to_owned() } else { format!("known are {}", known.join(", ")) };
        let remedy = remedy(&value.text, known.iter().map(String::as_str), &list);
        self.refuse(value.place, name, Some(&value.text), "it is not known", &remedy);
        None
    }

    fn otel(&mut self, node: &Node<'_>) {
        let DeValue::Table(table) = node.get_ref() else {
            let problem = format!("{} is not what it takes", kind(node.get_ref()));
            let remedy = "write [otel] and under it OTEL_SERVICE_NAME = \"orders\" and such";
            self.refuse(self.place(node), OTEL, None, &problem, remedy);
            return;
        };
        for (key, node) in table {
            let (name, at) = (key.get_ref().as_ref(), self.place(key));
            if !otel_env::is_known(name) {
                let upper = name.to_uppercase().replace(['-', '.'], "_");
                let whole = if upper.starts_with("OTEL_") { upper } else { format!("OTEL_{upper}") };
                let remedy =
                    remedy(&whole, otel_env::VARIABLES.iter().copied(), "see proxy/docs/settings.md for the names");
                let shown = format!("{OTEL}.{}", without_secrets(name));
                self.refuse(at, &shown, None, "it is not a variable that is read", &remedy);
                continue;
            }
            let text = match node.get_ref() {
                DeValue::String(text) => text.clone().into_owned(),
                DeValue::Boolean(value) => value.to_string(),
                DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
                DeValue::Float(number) => number.as_str().to_owned(),
                other => {
                    let problem = format!("{} is not what it takes", kind(other));
                    let remedy = "write a text as the variable would hold it, lists with commas";
                    self.refuse(self.place(node), &format!("{OTEL}.{name}"), None, &problem, remedy);
                    continue;
                }
            };
            let values = vec![Value { text, place: self.place(node), parts: Vec::new() }];
            self.settings.push(FileSetting { name: name.to_owned(), place: at, values });
        }
    }

    fn place<T>(&self, spanned: &Spanned<T>) -> Place {
        place(self.text, spanned.span().start)
    }

    fn refuse(&mut self, at: Place, setting: &str, value: Option<&str>, problem: &str, remedy: &str) {
        self.problems.push(FileProblem {
            place: Some(at),
            setting: Some(setting.to_owned()),
            value: value.map(without_secrets),
            problem: problem.to_owned(),
            remedy: remedy.to_owned(),
        });
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number in this form",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests;
