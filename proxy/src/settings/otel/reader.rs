//! Typed access to variables, with the specification's rules for empty and unusable values.

use std::fmt;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use redistributed_core::choice::Choice;

use crate::settings::redact::redact;

/// A warning about a variable whose value was set aside, in full or in part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtelWarning {
    /// The name of the environment variable that the warning is about.
    pub variable: &'static str,
    text: String,
}

impl fmt::Display for OtelWarning {
    /// Says which variable it is about, what is wrong, and what applies instead. No secret is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Reads variables by a lookup, and collects the warnings that come of it.
pub(super) struct VariableReader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    warnings: Vec<OtelWarning>,
    set_aside: Vec<&'static str>,
}

impl<'a> VariableReader<'a> {
    pub(super) fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup, warnings: Vec::new(), set_aside: Vec::new() }
    }

    /// Notes a warning about `variable`. `text` has its name. What is said already is not said again, as of a general form that is read
    /// for spans and for metrics.
    pub(super) fn warn(&mut self, variable: &'static str, text: String) {
        let warning = OtelWarning { variable, text };
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// The warnings, and the variables that decide nothing though they are set.
    pub(super) fn into_parts(self) -> (Vec<OtelWarning>, Vec<&'static str>) {
        (self.warnings, self.set_aside)
    }

    /// The value of `variable` without white space around it. An empty value is `None`.
    pub(super) fn text(&self, variable: &str) -> Option<String> {
        let value = (self.lookup)(variable)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// The name and the value of the first of `variables` that is set.
    pub(super) fn first_text(&self, variables: &[&'static str]) -> Option<(&'static str, String)> {
        variables.iter().find_map(|variable| Some((*variable, self.text(variable)?)))
    }

    /// Whether `variable` is `true`, in any case.
    pub(super) fn flag(&mut self, variable: &'static str) -> bool {
        match self.text(variable) {
            None => false,
            Some(value) if value.eq_ignore_ascii_case("true") => true,
            Some(value) => {
                if !value.eq_ignore_ascii_case("false") {
                    let value = redact(&value);
                    self.warn(variable, format!("{variable}={value} is neither true nor false and counts as false"));
                }
                false
            }
        }
    }

    /// Notes that `variable` is set and decides nothing.
    pub(super) fn set_aside(&mut self, variable: &'static str) {
        self.set_aside.push(variable);
    }

    /// The first of `variables` that `parse` understands, parsed. One that it does not understand costs a warning, which says
    /// what applies instead, in the end `default`, and what is `accepted`.
    pub(super) fn first_known<T>(
        &mut self,
        variables: &[&'static str],
        (default, accepted): (&dyn fmt::Display, &str),
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let mut refused = Vec::new();
        let mut known = None;
        for variable in variables {
            let Some(value) = self.text(variable) else { continue };
            let shown = format!("{variable}={}", redact(&value));
            if let Some(parsed) = parse(&value.to_ascii_lowercase()) {
                known = Some((shown, parsed));
                break;
            }
            self.set_aside(variable);
            refused.push((*variable, shown));
        }
        let instead = match &known {
            Some((shown, _)) => format!("{shown} applies"),
            None => format!("the default applies, {default}"),
        };
        for (variable, shown) in refused {
            self.warn(variable, format!("{shown} is not understood and ignored: {instead}; {accepted}"));
        }
        known.map(|(_, parsed)| parsed)
    }

    /// The first of `variables` that names a value of `T`, otherwise the default.
    pub(super) fn choice<T: Choice + Default + fmt::Display>(&mut self, variables: &[&'static str]) -> T {
        let known = T::ALL.iter().map(|choice| choice.name()).collect::<Vec<_>>().join(", ");
        let accepted = format!("known are {known}");
        self.first_known(variables, (&T::default(), &accepted), T::parse).unwrap_or_default()
    }

    /// The first of `variables` that is a whole number from 0.
    pub(super) fn first_number(&mut self, variables: &[&'static str], default: impl fmt::Display) -> Option<usize> {
        self.first_known(variables, (&default, "write a whole number"), |value| value.parse().ok())
    }

    /// The value of `variable` if it is a whole number from 1.
    pub(super) fn positive(&mut self, variable: &'static str, default: usize) -> Option<usize> {
        let parse = |value: &str| value.parse().ok().filter(|&number| number > 0);
        self.first_known(&[variable], (&default, "write a whole number above zero"), parse)
    }

    /// The first of `variables` that is a number of milliseconds, otherwise `default`.
    pub(super) fn millis(&mut self, variables: &[&'static str], default: Duration) -> Duration {
        let parse = |value: &str| value.parse().ok().map(Duration::from_millis);
        let accepted = "write a whole number of milliseconds";
        self.first_known(variables, (&default.as_millis(), accepted), parse).unwrap_or(default)
    }

    /// The first of `variables` that is a number of milliseconds, otherwise `default`. 0 means no limit, and is `None`.
    pub(super) fn timeout(&mut self, variables: &[&'static str], default: Duration) -> Option<Duration> {
        Some(self.millis(variables, default)).filter(|limit| !limit.is_zero())
    }

    /// The members of a list with commas, in lower case and without empty members and duplicates.
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

    /// The percent-decoded `key=value` pairs of a list with commas. If one pair is wrong the whole variable is ignored, as the
    /// specification demands for resource attributes.
    pub(super) fn pairs(&mut self, variable: &'static str) -> Option<Vec<(String, String)>> {
        let text = self.text(variable)?;
        let members = || text.split(',').map(str::trim).filter(|member| !member.is_empty());
        let pairs: Option<Vec<_>> = members().map(decode_pair).collect();
        if pairs.is_none() {
            let wrong = members().take_while(|member| decode_pair(member).is_some()).count() + 1;
            self.set_aside(variable);
            self.warn(
                variable,
                format!(
                    "{variable} is ignored as a whole, and none of it applies: entry {wrong} is not key=value, \
                 percent-encoded; write such pairs, separated by commas"
                ),
            );
        }
        pairs
    }
}

/// Splits `key=value` and percent-decodes both sides. It is `None` if there is no `=`, no key, or a broken escape.
pub(super) fn decode_pair(member: &str) -> Option<(String, String)> {
    let (key, value) = member.split_once('=')?;
    let (key, value) = (percent_decode(key.trim())?, percent_decode(value.trim())?);
    (!key.is_empty()).then_some((key, value))
}

/// Decodes strictly: every `%` must begin an escape, and the result must be UTF-8. The crate alone would let `%zz` pass.
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
