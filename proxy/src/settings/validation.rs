//! Fields that cannot be used, collected so that one run shows all of them.
//!
//! Each is named with its value, where it came from and what to write instead; a secret never is shown.

use std::fmt;

use super::address::without_secrets;
use super::sources::{Origin, Sources};

/// A field that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError {
    /// The option as it is typed, or the variable.
    pub setting: &'static str,
    /// Where the value came from.
    pub origin: Origin,
    /// What was given, without secrets.
    pub value: Option<String>,
    /// What is wrong with it.
    pub problem: String,
    /// What to write instead.
    pub remedy: &'static str,
}

impl std::error::Error for SettingError {}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { setting, origin, value, problem, remedy } = self;
        let value = value.as_ref().map(|value| format!(" `{value}`")).unwrap_or_default();
        match origin {
            // As it is written there.
            Origin::File(..) => write!(f, "{origin}: {}{value}", setting.trim_start_matches("--"))?,
            Origin::Environment(variable) if variable != setting => write!(f, "{setting}{value} (from {variable})")?,
            _ => write!(f, "{setting}{value}")?,
        }
        write!(f, ": {problem}; {remedy}")
    }
}

/// All fields that cannot be used; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSettings(pub Vec<SettingError>);

impl std::error::Error for InvalidSettings {}

impl fmt::Display for InvalidSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the settings cannot be used")?;
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

/// What the checks of single fields share.
pub(super) struct Check<'a> {
    pub(super) sources: &'a Sources,
    pub(super) errors: Vec<SettingError>,
}

impl Check<'_> {
    /// Notes an error. The value is masked, whichever setting it is of: it may be an upstream in the wrong place.
    pub(super) fn refuse(
        &mut self,
        setting: &'static str,
        value: Option<&str>,
        problem: impl fmt::Display,
        remedy: &'static str,
    ) {
        let origin = self.sources.origin(setting.trim_start_matches("--"), value);
        self.refuse_at(origin, setting, value, problem, remedy);
    }

    /// The same where it is known which of several values is wrong.
    pub(super) fn refuse_at(
        &mut self,
        origin: Origin,
        setting: &'static str,
        value: Option<&str>,
        problem: impl fmt::Display,
        remedy: &'static str,
    ) {
        let value = value.map(without_secrets);
        let error = SettingError { setting, origin, value, problem: problem.to_string(), remedy };
        // What is wrong with a setting of all routes is found at each of them.
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    /// `result`'s value, or `T`'s default after noting the error: nothing is run with it.
    pub(super) fn or_refuse<T: Default, E: fmt::Display>(
        &mut self,
        result: Result<T, E>,
        (setting, value, remedy): (&'static str, &str, &'static str),
    ) -> T {
        result.unwrap_or_else(|problem| {
            self.refuse(setting, Some(value), problem, remedy);
            T::default()
        })
    }
}
