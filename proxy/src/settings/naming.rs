//! How spans name channels and keys.

use std::sync::Arc;

use clap::Args;
use redistributed_core::glob::Glob;
use redistributed_core::policy::Policy;

use super::choices::switch;
use super::validation::Validation;
use super::values::Values;

/// The longest template, in bytes.
const MAX_TEMPLATE: usize = 256;

/// The longest template of keys, in bytes. With the name of a command it is within the 255 characters that OpenTelemetry has for a
/// summary.
const MAX_KEY_TEMPLATE: usize = 200;

const FORM: &str =
    "write GLOB=TEMPLATE, as in --template 'user:*=user:{id}', or GLOB= for names that stand for themselves";

/// The options that say how spans name channels and keys.
#[derive(Clone, Args)]
#[command(next_help_heading = "How spans are named")]
pub(crate) struct NamingOptions {
    /// What spans call the channels that match, instead of their names; repeatable, the first match wins
    ///
    /// Without it a name's ids are replaced: a UUID, 8 or more digits or hexadecimal digits, and what looks like base64 become
    /// {id}. What is delivered for a pattern is named after the pattern. Nothing behind the `=` leaves the names that match
    /// as they are. See proxy/docs/spans.md.
    #[arg(long = "template", value_name = "GLOB=TEMPLATE")]
    pub(crate) templates: Vec<String>,

    /// Leave channels' names out of spans, so that only templates tell of them
    #[arg(long, value_parser = switch)]
    hide_channel_names: bool,

    /// Show this glob on spans of commands whose first key it matches, as in 'report:*'; repeatable, the first match wins
    ///
    /// The span of `SET report:17` is then called `SET report:*`, and has that as db.query.summary. Without it spans tell nothing of
    /// keys, and keys themselves are never shown.
    #[arg(long = "key-template", value_name = "GLOB")]
    pub(crate) key_templates: Vec<String>,
}

impl Validation<'_> {
    /// Adds what the options say to `policy`.
    pub(super) fn naming(&mut self, naming: &NamingOptions, policy: &mut Policy) {
        policy.templates = naming.templates.iter().filter_map(|text| self.template(text)).collect();
        policy.hide_channel_names = naming.hide_channel_names;
        policy.key_templates = naming.key_templates.iter().filter_map(|text| self.key_template(text)).collect();
    }

    fn key_template(&mut self, text: &str) -> Option<Glob> {
        const SETTING: &str = "--key-template";
        const REMEDY: &str = "write a glob for keys, as in --key-template 'report:*'";
        if text.len() > MAX_KEY_TEMPLATE {
            self.reject(SETTING, Some(text), format!("it is longer than {MAX_KEY_TEMPLATE} bytes"), REMEDY);
            return None;
        }
        if text.chars().any(char::is_control) {
            self.reject(SETTING, Some(text), "it has a control character", REMEDY);
            return None;
        }
        self.glob(SETTING, text, text)
    }

    fn template(&mut self, text: &str) -> Option<(Glob, Option<Arc<str>>)> {
        const SETTING: &str = "--template";
        // From the right, as for the other settings with a glob: a channel may hold a `=`.
        let Some((pattern, template)) = text.rsplit_once('=') else {
            self.reject(SETTING, Some(text), "it has no `=` between a glob and a template", FORM);
            return None;
        };
        if template.len() > MAX_TEMPLATE {
            self.reject(SETTING, Some(text), format!("the template is longer than {MAX_TEMPLATE} bytes"), FORM);
            return None;
        }
        if template.chars().any(char::is_control) {
            self.reject(SETTING, Some(text), "the template has a control character", FORM);
            return None;
        }
        Some((self.glob(SETTING, text, pattern)?, (!template.is_empty()).then(|| template.into())))
    }
}

/// The effective values of [`NamingOptions`], in their order.
pub(super) fn effective(policy: &Policy) -> Values {
    let templates = policy.templates.iter();
    let templates = templates
        .map(|(glob, template)| format!("{}={}", glob.as_str(), template.as_deref().unwrap_or_default()))
        .collect::<Vec<_>>();
    let key_templates = policy.key_templates.iter().map(Glob::as_str).collect::<Vec<_>>();
    vec![
        ("template", templates.join(" ")),
        ("hide-channel-names", policy.hide_channel_names.to_string()),
        ("key-template", key_templates.join(" ")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Invocation, Options};

    fn read(templates: &[&str]) -> Result<Arc<Policy>, String> {
        read_with("--template", templates)
    }

    fn read_with(option: &'static str, values: &[&str]) -> Result<Arc<Policy>, String> {
        let base = ["redistributed", "--listen", "127.0.0.1:1", "--upstream", "h"];
        let words = values.iter().flat_map(|value| [option, value]);
        let invocation = Invocation::new(Options::command(), base.into_iter().chain(words).map(Into::into));
        let loaded = invocation.with_file(None, &|_| None).map_err(|error| error.to_string())?;
        Ok(loaded.settings.policy)
    }

    #[test]
    fn a_template_is_what_stands_behind_the_last_equals_sign() {
        let policy = read(&["user:*=user:{id}", "a=b*=c", "build-*="]).unwrap();
        let group = |channel: &str| policy.destination(channel, None).group().to_owned();
        assert_eq!([group("user:al"), group("a=b1"), group("build-12345678")], ["user:{id}", "c", "build-12345678"]);
        assert_eq!(effective(&policy)[0].1, "user:*=user:{id} a=b*=c build-*=");
    }

    #[test]
    fn templates_of_keys_are_globs_in_their_order() {
        let policy = read_with("--key-template", &["report:*", "order:[0-9]*"]).unwrap();
        assert_eq!(effective(&policy)[2], ("key-template", "report:* order:[0-9]*".to_owned()));
        for (text, problem) in [
            ("", "the pattern is empty"),
            ("[a", "no closing"),
            ("a\u{7}", "control character"),
            (&"x".repeat(201), "longer than 200 bytes"),
        ] {
            let error = read_with("--key-template", &[text]).unwrap_err();
            assert!(error.contains("--key-template") && error.contains(problem), "{error}");
        }
    }

    #[test]
    fn what_is_no_template_is_refused_with_the_form() {
        for (text, problem) in [
            ("user:*", "no `=`"),
            ("=x", "the pattern is empty"),
            ("[a=x", "no closing"),
            ("a=\u{1b}[2J", "control character"),
            (&format!("a={}", "x".repeat(257)), "longer than 256 bytes"),
        ] {
            let error = read(&[text]).unwrap_err();
            assert!(error.contains("--template") && error.contains(problem), "{error}");
        }
    }
}
