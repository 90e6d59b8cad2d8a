//! The checks of all settings, whose errors are collected so that one run shows all of them.

use std::borrow::Cow;
use std::fmt;

use super::error::SettingError;
use super::origin::Origin;
use super::redact::redact;
use super::sources::Sources;

/// The validation of all settings: each subject adds its checks to it.
pub(super) struct Validation<'a> {
    pub(super) sources: &'a Sources,
    pub(super) errors: Vec<SettingError>,
}

impl Validation<'_> {
    /// Notes an error. The value is redacted whichever setting it is of: it may be an upstream in the wrong place.
    pub(super) fn reject(
        &mut self,
        setting: &'static str,
        value: Option<&str>,
        problem: impl fmt::Display,
        remedy: impl Into<Cow<'static, str>>,
    ) {
        let origin = self.sources.origin(setting.trim_start_matches("--"), value);
        self.reject_at(origin, setting, value, problem, remedy);
    }

    /// As [`reject`](Self::reject), where it is known which of several values is wrong.
    pub(super) fn reject_at(
        &mut self,
        origin: Origin,
        setting: &'static str,
        value: Option<&str>,
        problem: impl fmt::Display,
        remedy: impl Into<Cow<'static, str>>,
    ) {
        let (value, problem, remedy) = (value.map(redact), problem.to_string(), remedy.into());
        let error = SettingError { setting: Some(setting.into()), origin, value, problem, remedy };
        // What is wrong with a setting of all routes is found at each of them.
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    /// The value of `result`, or the default after noting the error; nothing is run with that.
    pub(super) fn or_reject<T: Default, E: fmt::Display>(
        &mut self,
        result: Result<T, E>,
        (setting, value, remedy): (&'static str, &str, &'static str),
    ) -> T {
        result.unwrap_or_else(|problem| {
            self.reject(setting, Some(value), problem, remedy);
            T::default()
        })
    }

    /// Rejects every setting that has a value, because nothing would use it.
    pub(super) fn reject_unused(
        &mut self,
        settings: impl IntoIterator<Item = (&'static str, Option<String>)>,
        problem: &str,
        remedy: &'static str,
    ) {
        for (setting, value) in settings {
            if let Some(value) = value {
                self.reject(setting, Some(&value), problem, remedy);
            }
        }
    }
}
