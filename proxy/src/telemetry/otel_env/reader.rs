//! Typed access to variables, with the specification's rules for empty and unusable values.

use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::config::address::without_secrets;

/// A lookup, and the warnings that reading through it has caused.
pub(super) struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup, warnings: Vec::new() }
    }

    pub(super) fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    pub(super) fn into_warnings(self) -> Vec<String> {
        self.warnings
    }

    /// The value without space around it; `None` if there is nothing in it.
    pub(super) fn text(&self, variable: &str) -> Option<String> {
        let value = (self.lookup)(variable)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// The first of `variables` that is set.
    pub(super) fn first_text(&self, variables: &[&'static str]) -> Option<(&'static str, String)> {
        variables.iter().find_map(|variable| Some((*variable, self.text(variable)?)))
    }

    /// Whether it is `true`, in any case.
    pub(super) fn flag(&mut self, variable: &'static str) -> bool {
        match self.text(variable) {
            None => false,
            Some(value) if value.eq_ignore_ascii_case("true") => true,
            Some(value) => {
                if !value.eq_ignore_ascii_case("false") {
                    let value = without_secrets(&value);
                    self.warn(format!("{variable}={value} is neither true nor false and counts as false"));
                }
                false
            }
        }
    }

    /// What `parse` makes of the first of `variables` that it understands. One that it does not understand costs a
    /// warning that ends with `known`.
    pub(super) fn first_known<T>(
        &mut self,
        variables: &[&'static str],
        known: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        for variable in variables {
            let Some(value) = self.text(variable) else { continue };
            if let Some(parsed) = parse(&value.to_ascii_lowercase()) {
                return Some(parsed);
            }
            let value = without_secrets(&value);
            self.warn(format!("{variable}={value} is not understood and ignored; {known}"));
        }
        None
    }

    /// The first of `variables` that is a whole number, zero or more.
    pub(super) fn first_number(&mut self, variables: &[&'static str]) -> Option<usize> {
        self.first_known(variables, "a whole number is needed", |value| value.parse().ok())
    }

    /// A whole number, one or more.
    pub(super) fn positive(&mut self, variable: &'static str) -> Option<usize> {
        let parse = |value: &str| value.parse().ok().filter(|&number| number > 0);
        self.first_known(&[variable], "a whole number above zero is needed", parse)
    }

    /// A number of milliseconds.
    pub(super) fn millis(&mut self, variable: &'static str) -> Option<Duration> {
        let parse = |value: &str| value.parse().ok().map(Duration::from_millis);
        self.first_known(&[variable], "a whole number of milliseconds is needed", parse)
    }

    /// A number of milliseconds of which 0 means "no limit", which is `None` here.
    pub(super) fn timeout(&mut self, variables: &[&'static str], default: Option<Duration>) -> Option<Duration> {
        let parse = |value: &str| value.parse().ok().map(Duration::from_millis);
        match self.first_known(variables, "a whole number of milliseconds is needed", parse) {
            None => default,
            Some(Duration::ZERO) => None,
            limit => limit,
        }
    }

    /// A list separated by commas, in lower case, without empty members and duplicates.
    pub(super) fn list(&self, variable: &str) -> Vec<String> {
        let mut members: Vec<String> = Vec::new();
        for member in self.text(variable).unwrap_or_default().split(',') {
            let member = member.trim().to_ascii_lowercase();
            if !member.is_empty() && !members.contains(&member) {
                members.push(member);
            }
        }
        members
    }

    /// `key=value` pairs separated by commas, percent-decoded. If one pair is wrong the whole variable is ignored, as
    /// the specification asks for resource attributes.
    pub(super) fn pairs(&mut self, variable: &'static str) -> Option<Vec<(String, String)>> {
        let text = self.text(variable)?;
        let members = text.split(',').map(str::trim).filter(|member| !member.is_empty());
        let pairs: Option<Vec<_>> = members.map(decode_pair).collect();
        if pairs.is_none() {
            self.warn(format!(
                "{variable} is ignored: it must be key=value pairs separated by commas, percent-encoded"
            ));
        }
        pairs
    }
}

/// Splits `key=value` and decodes both sides; `None` if there is no `=`, no key, or a broken escape.
pub(super) fn decode_pair(member: &str) -> Option<(String, String)> {
    let (key, value) = member.split_once('=')?;
    let (key, value) = (percent_decode(key.trim())?, percent_decode(value.trim())?);
    (!key.is_empty()).then_some((key, value))
}

/// Strict: every `%` must begin an escape, and the result must be UTF-8. (The crate alone would pass `%zz` through.)
fn percent_decode(text: &str) -> Option<String> {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| byte == b'%') {
        let (digits, after) = rest.get(at + 1..)?.split_at_checked(2)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        rest = after;
    }
    percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned())
}
