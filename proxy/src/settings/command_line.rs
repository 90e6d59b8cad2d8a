//! The command line wins over the environment, that over the file, and that over the default. Only this file knows the order.
//!
//! The parser of the command line applies it: the values of a file are given to it as the options' defaults, so that every option
//! has the same four sources without a line of its own. An error of the parser repeats what it rejects, which may be an upstream
//! in the wrong place, with a password. So its errors are redacted.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, FromArgMatches};

use super::Options;
use super::file::{self, ConfigFile};
use super::origin::Origin;
use super::redact::redact;
use super::sources::{RawSetting, Sources};

impl Options {
    /// Reads `command_line`, whose first word is the program's name, and the process's environment, but no file.
    ///
    /// # Errors
    /// The parser's error, which has to be printed and has an exit code. `--help` and `--version` are such errors too.
    pub fn from_command_line(command_line: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let words: Vec<OsString> = command_line.into_iter().collect();
        let (matches, _) = read(&Self::command(), &words, None)?;
        Self::from_arg_matches(&matches).map_err(redacted)
    }
}

/// `error` with a `tip` in place of the parser's, if a word was not expected; otherwise as it is.
pub(crate) fn with_tip(mut error: clap::Error, tip: &'static str) -> clap::Error {
    if error.kind() == ErrorKind::UnknownArgument {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// The configuration file that the command line or the environment names.
pub(super) fn path(matches: &ArgMatches) -> Option<&Path> {
    matches.get_one::<PathBuf>("config").map(PathBuf::as_path)
}

/// Reads `words`, of which the first is the program's name, the process's environment and `file`. `command` defines the
/// options.
///
/// # Errors
/// The parser's error. `--help` and `--version` are such errors too.
pub(super) fn read(
    command: &Command,
    words: &[OsString],
    file: Option<&ConfigFile>,
) -> Result<(ArgMatches, Sources), clap::Error> {
    let mut not_text = Vec::new();
    let layered = command.clone().mut_args(|arg| {
        let arg = match arg.get_long().and_then(|name| file?.get(name)) {
            Some(setting) => with_default(arg, setting.values.iter().map(|value| value.text.clone())),
            None => arg,
        };
        match variable(&arg) {
            // Container platforms pass an unset variable on as an empty one.
            Some(Variable::Empty) => arg.env(Resettable::Reset),
            // The parser would refuse it without saying which it is.
            Some(Variable::NotText(name)) => {
                not_text.push((arg.get_id().clone(), name));
                arg.env(Resettable::Reset)
            }
            // A variable has only one value to put a list in.
            Some(Variable::Text(_, value)) if file::repeats(&arg) => {
                let members: Vec<String> = split_list(&value).map(Into::into).collect();
                with_default(arg.env(Resettable::Reset), members)
            }
            Some(Variable::Text(..)) | None => arg,
        }
    });
    let matches = layered
        .try_get_matches_from(with_negative_values(command, words))
        .map_err(|error| redacted(about_a_word(naming_variable(error, command, words), command)))?;
    let given = |id: &clap::Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
    if let Some((_, name)) = not_text.iter().find(|(id, _)| !given(id)) {
        return Err(command.clone().error(ErrorKind::InvalidUtf8, format!("{name} is not valid UTF-8")));
    }
    let sources = command.get_arguments().filter_map(|arg| raw_setting(arg, &matches, file)).collect();
    Ok((matches, Sources(sources)))
}

/// `words` with each negative value, such as `-1` or `-5s`, joined to its option, as in `--threads=-1`. The parser would take a
/// word that begins with a minus for an option, and its error would not say what is wrong with the value.
fn with_negative_values(command: &Command, words: &[OsString]) -> Vec<OsString> {
    let takes_value = |word: &OsString| {
        let name = word.to_str().and_then(|word| word.strip_prefix("--"));
        let arg = command.get_arguments().find(|arg| arg.get_long() == name);
        name.is_some() && arg.is_some_and(|arg| arg.get_action().takes_values())
    };
    let is_negative = |word: &OsString| {
        let rest = word.to_str().and_then(|word| word.strip_prefix('-'));
        rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let mut joined: Vec<OsString> = Vec::with_capacity(words.len());
    let mut is_over = false;
    for word in words {
        // What follows is not of this program.
        is_over |= word == "--";
        match joined.last_mut() {
            Some(option) if !is_over && is_negative(word) && takes_value(option) => {
                option.push("=");
                option.push(word);
            }
            _ => joined.push(word.clone()),
        }
    }
    joined
}

/// The option `arg` as it was given.
fn raw_setting(arg: &Arg, matches: &ArgMatches, file: Option<&ConfigFile>) -> Option<RawSetting> {
    let (id, name) = (arg.get_id().as_str(), arg.get_long()?);
    // `--help` and its like have no value.
    let source = matches.try_contains_id(id).is_ok().then(|| matches.value_source(id))?;
    let in_file = file.and_then(|file| file.get(name));
    let origin = match (source, variable(arg), in_file, file) {
        (Some(ValueSource::CommandLine), ..) => Origin::CommandLine,
        (_, Some(Variable::Text(variable, _)), ..) => Origin::Environment(variable),
        (_, _, Some(setting), Some(file)) => Origin::File(file.path.clone(), Some(setting.position)),
        _ => Origin::Default,
    };
    let in_file = in_file.filter(|_| matches!(origin, Origin::File(..))).cloned();
    let values = matches.get_raw(id).map(|values| values.map(OsStr::to_owned).collect()).unwrap_or_default();
    Some(RawSetting { name: name.to_owned(), origin, values, in_file })
}

/// The content of an option's variable.
enum Variable {
    Empty,
    NotText(String),
    Text(String, String),
}

/// The content of the variable of `arg`, if it is set.
fn variable(arg: &Arg) -> Option<Variable> {
    let name = arg.get_env()?;
    let shown = || name.to_string_lossy().into_owned();
    Some(match std::env::var_os(name)?.into_string() {
        Ok(value) if value.is_empty() => Variable::Empty,
        Ok(value) => Variable::Text(shown(), value),
        Err(_) => Variable::NotText(shown()),
    })
}

fn with_default(arg: Arg, values: impl IntoIterator<Item = String>) -> Arg {
    arg.default_values(values.into_iter().map(clap::builder::OsStr::from))
}

/// `error` with the name of the variable that the value came from, if it does not come from `words`.
fn naming_variable(mut error: clap::Error, command: &Command, words: &[OsString]) -> clap::Error {
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else { return error };
    // As in `--mode <MODE>`.
    let name = |text: &str| Some(text.strip_prefix("--")?.split([' ', '=']).next()?.to_owned());
    let wrong = name(option);
    let is_typed = words.iter().any(|word| word.to_str().is_some_and(|word| name(word) == wrong));
    let arg = command.get_arguments().find(|arg| !is_typed && arg.get_long() == wrong.as_deref());
    let variable = match arg.and_then(variable) {
        Some(Variable::Text(variable, _)) => Some(variable),
        _ => None,
    };
    if let Some(variable) = variable {
        let text = format!("{option} (from {variable})");
        error.insert(ContextKind::InvalidArg, ContextValue::String(text));
    }
    error
}

/// Replaces the parser's error about a word among the options. The parser takes it for a subcommand, and says that options and
/// subcommands exclude each other; the error that is returned says what is wrong with the word.
fn about_a_word(error: clap::Error, command: &Command) -> clap::Error {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else { return error };
    if error.kind() != ErrorKind::ArgumentConflict {
        return error;
    }
    if command.find_subcommand(word).is_some() {
        return command.clone().error(ErrorKind::ArgumentConflict, format!("`{word}` must be the first word"));
    }
    let mut unexpected = clap::Error::new(ErrorKind::UnknownArgument).with_cmd(command);
    unexpected.insert(ContextKind::InvalidArg, ContextValue::String(word.clone()));
    unexpected
}

/// `error` with everything that it repeats redacted.
pub(crate) fn redacted(mut error: clap::Error) -> clap::Error {
    let redacted = |value: &ContextValue| match value {
        ContextValue::String(text) => Some(ContextValue::String(redact(text))),
        ContextValue::Strings(texts) => Some(ContextValue::Strings(texts.iter().map(|t| redact(t)).collect())),
        // Tips such as "to pass '...' as a value": one that would show a secret is not given.
        ContextValue::StyledStrs(tips) => {
            let harmless = |tip: &&clap::builder::StyledStr| {
                let text = tip.to_string();
                redact(&text) == text
            };
            Some(ContextValue::StyledStrs(tips.iter().filter(harmless).cloned().collect()))
        }
        _ => None,
    };
    let context: Vec<(ContextKind, ContextValue)> =
        error.context().filter_map(|(kind, value)| Some((kind, redacted(value)?))).collect();
    for (kind, value) in context {
        error.insert(kind, value);
    }
    error
}

/// The members of a list in a variable, which are separated by white space or `;`.
pub(crate) fn split_list(value: &str) -> impl Iterator<Item = &str> {
    value.split(|c: char| c.is_whitespace() || c == ';').filter(|member| !member.is_empty())
}
