//! How spans name channels.

use std::sync::Arc;

use clap::Args;
use redistributed_core::glob::Glob;
use redistributed_core::policy::Policy;

use super::choices::switch;
use super::validation::Validation;
use super::values::Values;

/// The longest template, in bytes.
const MAX_TEMPLATE: usize = 256;

const FORM: &str =
    "write GLOB=TEMPLATE, as in --template 'user:*=user:{id}', or GLOB= for names that stand for themselves";

/// The options that say how spans name channels.
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
}

impl Validation<'_> {
    /// Adds what the options say to `policy`.
    pub(super) fn naming(&mut self, naming: &NamingOptions, policy: &mut Policy) {
        policy.templates = naming.templates.iter().filter_map(|text| self.template(text)).collect();
        policy.hide_channel_names = naming.hide_channel_names;
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
    vec![("template", templates.join(" ")), ("hide-channel-names", policy.hide_channel_names.to_string())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Invocation, Options};

    fn read(templates: &[&str]) -> Result<Arc<Policy>, String> {
        let base = ["redistributed", "--listen", "127.0.0.1:1", "--upstream", "h"];
        let words = templates.iter().flat_map(|template| ["--template", template]);
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
