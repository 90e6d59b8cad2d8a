//! Reads settings from the tables and values of TOML, key by key.

use std::path::Path;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{FileSetting, FileValue, keys, parts, repeats};
use crate::settings::error::SettingError;
use crate::settings::origin::{Origin, Position};
use crate::settings::otel;
use crate::settings::redact::redact;
use crate::settings::suggestion::{nearest, remedy};

/// The table that holds the `OTEL_*` variables.
const OTEL: &str = "otel";

/// Collects the settings of a document, and the errors in it.
pub(super) struct TomlReader<'a> {
    text: &'a str,
    path: &'a Path,
    command: &'a Command,
    pub(super) settings: Vec<FileSetting>,
    pub(super) errors: Vec<SettingError>,
}

type Table<'t> = DeTable<'t>;
type Node<'t> = Spanned<DeValue<'t>>;

impl<'a> TomlReader<'a> {
    pub(super) fn new(text: &'a str, path: &'a Path, command: &'a Command) -> Self {
        Self { text, path, command, settings: Vec::new(), errors: Vec::new() }
    }

    /// Reads all keys of the document.
    pub(super) fn document(&mut self, table: &Table<'_>) {
        for (key, node) in table {
            let (name, at) = (key.get_ref().as_ref(), self.position(key));
            if name == OTEL {
                self.otel(node);
                continue;
            }
            let Some(arg) = keys(self.command).find(|arg| arg.get_long() == Some(name)) else {
                self.unknown(name, at, node);
                continue;
            };
            let before = self.errors.len();
            let values = self.values(name, arg, node);
            if self.errors.len() == before {
                self.settings.push(FileSetting { name: name.to_owned(), position: at, values });
            }
        }
    }

    /// Rejects a key that is no option. If it holds a table, it may be the first half of an option, as in `[log] level = ...`.
    fn unknown(&mut self, name: &str, at: Position, node: &Node<'_>) {
        const LIST: &str = "see --help for the names, which are those of the options without `--`";
        let command = self.command;
        let names = || keys(command).filter_map(Arg::get_long).chain([OTEL]);
        if let DeValue::Table(table) = node.get_ref()
            && nearest(name, names()).is_none()
            && !table.is_empty()
        {
            for (key, _) in table {
                let inner = key.get_ref().as_ref();
                let shown = format!("{}.{}", redact(name), redact(inner));
                let remedy = remedy(&format!("{name}-{inner}"), names(), LIST);
                self.reject(self.position(key), &shown, None, "it is not a setting", &remedy);
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
        self.reject(at, &redact(name), None, "it is not a setting", &remedy);
    }

    fn values(&mut self, name: &str, arg: &Arg, node: &Node<'_>) -> Vec<FileValue> {
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

    /// Reads a value that stands alone, or one member of an array.
    fn member(&mut self, name: &str, arg: &Arg, parts: &[String], node: &Node<'_>) -> Option<FileValue> {
        if let (DeValue::Table(table), false) = (node.get_ref(), parts.is_empty()) {
            return self.record(name, arg, parts, table, self.position(node));
        }
        let text = self.scalar(name, arg, node)?;
        self.accept(name, arg, FileValue { text, position: self.position(node), parts: Vec::new() })
    }

    /// Reads an entry of a table such as `"orders.*" = "strip"`.
    fn entry(
        &mut self,
        name: &str,
        arg: &Arg,
        key: &Spanned<toml::de::DeString<'_>>,
        node: &Node<'_>,
    ) -> Option<FileValue> {
        let glob = key.get_ref().as_ref();
        let (shown, at) = (redact(glob), self.position(key));
        if node.get_ref().is_table() {
            let remedy = format!("put names with dots in quotes, as in \"{shown}.*\" = ...");
            self.reject(at, &format!("{name}.{shown}"), None, "it is a table where a text is needed", &remedy);
            return None;
        }
        let choice = self.scalar(&format!("{name}.\"{shown}\""), arg, node)?;
        let text = format!("{glob}={choice}");
        self.accept(name, arg, FileValue { text, position: at, parts: Vec::new() })
    }

    /// Reads a table of parts, such as `{ name = "api", listen = "...", upstream = "..." }`.
    fn record(
        &mut self,
        name: &str,
        arg: &Arg,
        parts: &[String],
        table: &Table<'_>,
        at: Position,
    ) -> Option<FileValue> {
        let before = self.errors.len();
        for (key, _) in table {
            let inner = key.get_ref().as_ref();
            if !parts.iter().any(|part| part == inner) {
                let known = parts.iter().map(String::as_str);
                let remedy = remedy(inner, known, &format!("its keys are {}", parts.join(", ")));
                let shown = format!("{name}.{}", redact(inner));
                self.reject(self.position(key), &shown, None, "it is not a setting", &remedy);
            }
        }
        let mut found = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let shown = format!("{name}.{part}");
            let Some(node) = table.iter().find(|(key, _)| key.get_ref().as_ref() == part).map(|(_, node)| node) else {
                let remedy = format!("a table of {name} needs {}", parts.join(", "));
                self.reject(at, &shown, None, "it is missing", &remedy);
                continue;
            };
            let Some(text) = self.scalar(&shown, arg, node) else { continue };
            // What comes behind it on the command line, where it could not be told from it.
            let separator = if index == 0 { '=' } else { ',' };
            if parts.len() > 2 && index + 1 < parts.len() && text.contains(separator) {
                let problem = format!("it holds a `{separator}`");
                self.reject(self.position(node), &shown, Some(&text), &problem, "leave it out");
                continue;
            }
            found.push((text, self.position(node)));
        }
        if self.errors.len() > before {
            return None;
        }
        let texts: Vec<&str> = found.iter().map(|(text, _)| text.as_str()).collect();
        let (first, rest) = texts.split_first()?;
        let text = format!("{first}={}", rest.join(","));
        self.accept(name, arg, FileValue { text, position: at, parts: found })
    }

    /// Reads a scalar as it would stand on the command line.
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
        self.reject(self.position(node), shown, None, &problem, wanted);
        None
    }

    /// Returns `value` if the option takes it, as far as its definition can tell, and rejects it otherwise.
    fn accept(&mut self, name: &str, arg: &Arg, value: FileValue) -> Option<FileValue> {
        if matches!(arg.get_action(), ArgAction::SetTrue | ArgAction::SetFalse) {
            return Some(value);
        }
        let only = Command::new("").no_binary_name(true).arg(arg.clone().env(clap::builder::Resettable::Reset));
        let Err(error) = only.try_get_matches_from([format!("--{name}={}", value.text)]) else { return Some(value) };
        let known = match error.get(ContextKind::ValidValue) {
            Some(ContextValue::Strings(words)) => words.clone(),
            _ => Vec::new(),
        };
        let list = match &known[..] {
            [] => "write what --help says, or leave it out".to_owned(),
            known => format!("known are {}", known.join(", ")),
        };
        let (problem, remedy) = match value.text.trim() {
            "" => ("it is empty", list),
            word => ("it is not known", remedy(word, known.iter().map(String::as_str), &list)),
        };
        self.reject(value.position, name, Some(&value.text), problem, &remedy);
        None
    }

    fn otel(&mut self, node: &Node<'_>) {
        let DeValue::Table(table) = node.get_ref() else {
            let problem = format!("{} is not what it takes", kind(node.get_ref()));
            let remedy = "write [otel] and under it OTEL_SERVICE_NAME = \"orders\" and such";
            self.reject(self.position(node), OTEL, None, &problem, remedy);
            return;
        };
        for (key, node) in table {
            let (name, at) = (key.get_ref().as_ref(), self.position(key));
            if !otel::is_known(name) {
                let upper = name.to_uppercase().replace(['-', '.'], "_");
                let whole = if upper.starts_with("OTEL_") { upper } else { format!("OTEL_{upper}") };
                let remedy =
                    remedy(&whole, otel::VARIABLES.iter().copied(), "see proxy/docs/settings.md for the names");
                let shown = format!("{OTEL}.{}", redact(name));
                self.reject(at, &shown, None, "it is not a variable that is read", &remedy);
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
                    self.reject(self.position(node), &format!("{OTEL}.{name}"), None, &problem, remedy);
                    continue;
                }
            };
            let values = vec![FileValue { text, position: self.position(node), parts: Vec::new() }];
            self.settings.push(FileSetting { name: name.to_owned(), position: at, values });
        }
    }

    fn position<T>(&self, spanned: &Spanned<T>) -> Position {
        Position::at(self.text, spanned.span().start)
    }

    fn reject(&mut self, at: Position, setting: &str, value: Option<&str>, problem: &str, remedy: &str) {
        self.errors.push(SettingError {
            setting: Some(setting.to_owned().into()),
            origin: Origin::File(self.path.to_owned(), Some(at)),
            value: value.map(redact),
            problem: problem.to_owned(),
            remedy: remedy.to_owned().into(),
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
