//! From the tables and values of TOML to settings, key by key.

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{FileProblem, FileSetting, Place, Value, keys, parts, place, repeats};
use crate::settings::address::without_secrets;
use crate::settings::otel;
use crate::settings::suggestion::{nearest, remedy};

/// The table that holds the `OTEL_*` variables.
const OTEL: &str = "otel";

/// Collects settings and problems.
pub(super) struct Reader<'a> {
    text: &'a str,
    command: &'a Command,
    pub(super) settings: Vec<FileSetting>,
    pub(super) problems: Vec<FileProblem>,
}

type Table<'t> = DeTable<'t>;
type Node<'t> = Spanned<DeValue<'t>>;

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str, command: &'a Command) -> Self {
        Self { text, command, settings: Vec::new(), problems: Vec::new() }
    }

    /// Reads all keys.
    pub(super) fn document(&mut self, table: &Table<'_>) {
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
            && nearest(name, names()).is_none()
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
        let list = match &known[..] {
            [] => "write what --help says, or leave it out".to_owned(),
            known => format!("known are {}", known.join(", ")),
        };
        let (problem, remedy) = match value.text.trim() {
            "" => ("it is empty", list),
            word => ("it is not known", remedy(word, known.iter().map(String::as_str), &list)),
        };
        self.refuse(value.place, name, Some(&value.text), problem, &remedy);
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
            if !otel::is_known(name) {
                let upper = name.to_uppercase().replace(['-', '.'], "_");
                let whole = if upper.starts_with("OTEL_") { upper } else { format!("OTEL_{upper}") };
                let remedy =
                    remedy(&whole, otel::VARIABLES.iter().copied(), "see proxy/docs/settings.md for the names");
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
