//! What is wrong with a setting. Each error names the setting, its value, where that came from, and what to write instead.

use std::borrow::Cow;
use std::fmt;

use super::origin::Origin;

/// A setting, or a place in the configuration file, that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError {
    /// The option as it is typed, the variable, or the key in the file; `None` if it is about no single setting.
    pub setting: Option<Cow<'static, str>>,
    /// Where the value came from.
    pub origin: Origin,
    /// The value, without secrets.
    pub value: Option<String>,
    /// What is wrong with it.
    pub problem: String,
    /// What to write instead.
    pub remedy: Cow<'static, str>,
}

impl std::error::Error for SettingError {}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { setting, origin, value, problem, remedy } = self;
        let setting = setting.as_deref().unwrap_or_default();
        let value = value.as_ref().map(|value| format!(" `{value}`")).unwrap_or_default();
        let subject = match origin {
            // The key, as it is written there.
            Origin::File(..) => format!("{}{value}", setting.trim_start_matches("--")),
            Origin::Environment(variable) if variable != setting => format!("{setting}{value} (from {variable})"),
            _ => format!("{setting}{value}"),
        };
        if matches!(origin, Origin::File(..)) {
            write!(f, "{origin}: ")?;
        }
        if !subject.is_empty() {
            write!(f, "{subject}: ")?;
        }
        write!(f, "{problem}; {remedy}")
    }
}

/// Everything that is wrong with the settings or with the configuration file; at least one error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSettings {
    subject: &'static str,
    /// In the order in which they were found; those of a file in its order.
    pub errors: Vec<SettingError>,
}

impl InvalidSettings {
    /// For values that cannot be used, whatever source they came from.
    pub(super) fn of_settings(errors: Vec<SettingError>) -> Self {
        Self { subject: "the settings", errors }
    }

    /// For a configuration file that says nothing usable.
    pub(super) fn of_file(errors: Vec<SettingError>) -> Self {
        Self { subject: "the configuration file", errors }
    }
}

impl std::error::Error for InvalidSettings {}

impl fmt::Display for InvalidSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be used", self.subject)?;
        self.errors.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}
