//! The policy: which messages are traced, and how context is carried in them.

use std::fmt::Display;

use clap::Args;
use redistributed_core::carrier::opencensus;
use redistributed_core::choice::Choice;
use redistributed_core::glob::Glob;
use redistributed_core::policy::{Commands, Mode, Policy, Relation, Trust};

use super::choices::{self, parser, switch};
use super::otel::OtelSettings;
use super::redact::redact;
use super::units;
use super::validation::Validation;
use super::values::Values;

/// The smallest `--inject-limit`, in bytes. It is the length of the shortest context, so below it no message would get one.
pub const MIN_INJECT_LIMIT: usize = opencensus::LEN;

/// The largest `--inject-limit`, in bytes. It is below 512 MiB, the longest bulk string that Redis takes unless told otherwise.
pub const MAX_INJECT_LIMIT: usize = 511 << 20;

/// The options that say which messages and commands get spans.
#[derive(Clone, Args)]
#[command(next_help_heading = "What is traced")]
pub(crate) struct TracingOptions {
    /// Whether contexts are added, only removed, or only looked at
    #[arg(long, value_parser = parser::<Mode>(), default_value_t)]
    mode: Mode,

    /// Another mode for channels that match; repeatable, the first match wins
    #[arg(long = "mode-for", value_name = "GLOB=MODE")]
    pub(crate) modes: Vec<String>,

    /// Trace only channels that match, as in PSUBSCRIBE (default: all); repeatable
    #[arg(long, value_name = "GLOB")]
    pub(crate) include: Vec<String>,

    /// Do not trace channels that match, though included; repeatable
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,

    /// Whether commands other than publishes get spans
    #[arg(long, value_parser = parser::<Commands>(), default_value_t)]
    commands: Commands,

    /// How the span of a delivery refers to the span of its publish
    #[arg(long, value_parser = parser::<Relation>(), default_value_t)]
    relation: Relation,

    /// Whose contexts become parents of spans
    ///
    /// Anyone who may publish can put a forged context into a payload. See proxy/docs/security.md.
    #[arg(long, value_parser = parser::<Trust>(), default_value_t)]
    trust: Trust,
}

/// The options that say how context gets into messages and out of them.
#[derive(Clone, Args)]
#[command(next_help_heading = "How context is carried")]
pub(crate) struct CarrierOptions {
    /// Carrier for channels that match: trailer, json or opencensus; repeatable, the first match wins
    ///
    /// trailer (for all other channels): a binary suffix of the payload. json: a `traceparent` member of the payload's
    /// JSON object. opencensus: the 29-byte binary context in front of the payload.
    #[arg(long = "carrier", value_name = "GLOB=CARRIER")]
    pub(crate) carriers: Vec<String>,

    /// Take `traceparent` in a JSON payload as the parent on channels that match; repeatable
    #[arg(long, value_name = "GLOB")]
    pub(crate) read_json: Vec<String>,

    /// Leave a json or opencensus context in messages delivered on channels that match; repeatable
    #[arg(long, value_name = "GLOB")]
    pub(crate) keep_context: Vec<String>,

    /// Say in each trailer when the message was published, for the metric transit_seconds; 11 bytes more per message
    ///
    /// The time is that of the publisher's wall clock, and is subtracted from that of the subscriber's, so the metric is as
    /// accurate as the two clocks agree. Every proxy reads the time, whether or not it is told to write it.
    #[arg(long, value_parser = switch)]
    transit_time: bool,

    /// Longest payload to send with a context in it; use the same value on every sidecar of a Redis
    ///
    /// A longer payload is sent as it is. The limit must not be above Redis's proto-max-bulk-len, which is 1MiB at least. It
    /// also bounds what a connection may hold back while it looks for a context. From 29, the shortest context, to 511MiB;
    /// to add no contexts see --mode strip.
    #[arg(long, value_name = "BYTES", default_value = "1MiB")]
    inject_limit: String,
}

impl Validation<'_> {
    pub(super) fn policy(
        &mut self,
        tracing: &TracingOptions,
        carriers: &CarrierOptions,
        otel: Option<&OtelSettings>,
    ) -> Policy {
        let mut policy = Policy {
            mode: tracing.mode,
            relation: tracing.relation,
            trust: tracing.trust,
            modes: tracing.modes.iter().filter_map(|text| self.choice_for("--mode-for", text)).collect(),
            carriers: carriers.carriers.iter().filter_map(|text| self.choice_for("--carrier", text)).collect(),
            include: self.globs("--include", &tracing.include),
            exclude: self.globs("--exclude", &tracing.exclude),
            read_json: self.globs("--read-json", &carriers.read_json),
            keep_context: self.globs("--keep-context", &carriers.keep_context),
            inject_limit: self.inject_limit(&carriers.inject_limit),
            transit_time: carriers.transit_time,
            commands: tracing.commands,
            ..Policy::default()
        };
        if let Some(otel) = otel {
            policy.sampler = otel.sampler;
            policy.enabled = otel.enabled;
            policy.propagators = otel.propagators;
        }
        policy
    }

    fn inject_limit(&mut self, text: &str) -> usize {
        const SIZE: &str = "write a number of bytes from 29 to 511MiB, as in 65536, 64KiB or 1MiB";
        const NONE: &str = "write 29, which is the shortest, or more; --mode strip adds no contexts";
        match units::bytes(text) {
            Ok(limit) if limit < MIN_INJECT_LIMIT => {
                self.reject("--inject-limit", Some(text), "no context fits in it", NONE);
                limit
            }
            Ok(limit) if limit > MAX_INJECT_LIMIT => {
                self.or_reject(Err("it is too large"), ("--inject-limit", text, SIZE))
            }
            limit => self.or_reject(limit, ("--inject-limit", text, SIZE)),
        }
    }

    fn globs(&mut self, setting: &'static str, patterns: &[String]) -> Vec<Glob> {
        patterns.iter().filter_map(|pattern| self.glob(setting, pattern, pattern)).collect()
    }

    fn glob(&mut self, setting: &'static str, value: &str, pattern: &str) -> Option<Glob> {
        Glob::new(pattern)
            .map_err(|problem| self.reject(setting, Some(value), problem, "write a pattern as PSUBSCRIBE takes it"))
            .ok()
    }

    /// Reads `GLOB=NAME`: a glob and what is chosen for its channels.
    fn choice_for<T: Choice>(&mut self, setting: &'static str, text: &str) -> Option<(Glob, T)> {
        let form = || {
            let forms = choices::list::<T>("or", |name| format!("GLOB={name}"));
            let example = T::ALL.get(1).map_or("", |choice| choice.name());
            format!("write {forms}, as in {setting} 'orders.*={example}'")
        };
        // From the right: a channel may hold a `=`, a name does not.
        let Some((pattern, name)) = text.rsplit_once('=') else {
            self.reject(setting, Some(text), "it has no `=` between a glob and a name", form());
            return None;
        };
        let Some(choice) = T::parse(name) else {
            self.reject(setting, Some(text), format!("`{}` is not known", redact(name)), form());
            return None;
        };
        Some((self.glob(setting, text, pattern)?, choice))
    }
}

/// The effective values of [`TracingOptions`], in their order.
pub(super) fn effective_tracing(policy: &Policy) -> Values {
    vec![
        ("mode", policy.mode.to_string()),
        ("mode-for", list(&policy.modes)),
        ("include", globs(&policy.include)),
        ("exclude", globs(&policy.exclude)),
        ("commands", policy.commands.to_string()),
        ("relation", policy.relation.to_string()),
        ("trust", policy.trust.to_string()),
    ]
}

/// The effective values of [`CarrierOptions`], in their order.
pub(super) fn effective_carriers(policy: &Policy) -> Values {
    vec![
        ("carrier", list(&policy.carriers)),
        ("read-json", globs(&policy.read_json)),
        ("keep-context", globs(&policy.keep_context)),
        ("transit-time", policy.transit_time.to_string()),
        ("inject-limit", policy.inject_limit.to_string()),
    ]
}

fn globs(globs: &[Glob]) -> String {
    globs.iter().map(Glob::as_str).collect::<Vec<_>>().join(" ")
}

fn list(choices: &[(Glob, impl Display)]) -> String {
    let members = choices.iter().map(|(glob, choice)| format!("{}={choice}", glob.as_str()));
    members.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Invocation, Options};

    #[test]
    fn the_defaults_are_those_of_the_core() {
        let words = ["redistributed", "--listen", "127.0.0.1:1", "--upstream", "h"].map(Into::into);
        let loaded = Invocation::new(Options::command(), words).with_file(None, &|_| None).unwrap();
        assert_eq!(format!("{:?}", loaded.settings.policy), format!("{:?}", Policy::default()));
    }
}
