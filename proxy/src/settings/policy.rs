//! What is done to messages: the options of the core's policy.

use redistributed_core::carrier::Carrier;
use redistributed_core::choice::Choice;
use redistributed_core::glob::Glob;
use redistributed_core::policy::{Mode, Policy};

use super::address::without_secrets;
use super::checked::{MAX_INJECT_LIMIT, MIN_INJECT_LIMIT};
use super::options::Options;
use super::otel::OtelSettings;
use super::units;
use super::validation::Check;

impl Check<'_> {
    pub(super) fn policy(&mut self, args: &Options, otel: Option<&OtelSettings>) -> Policy {
        let inject_limit = self.inject_limit(&args.inject_limit);
        let mut policy = Policy {
            mode: args.mode,
            relation: args.relation,
            trust: args.trust,
            modes: args.modes.iter().filter_map(|text| self.mode_for(text)).collect(),
            carriers: args.carriers.iter().filter_map(|text| self.carrier(text)).collect(),
            include: self.globs("--include", &args.include),
            exclude: self.globs("--exclude", &args.exclude),
            read_json: self.globs("--read-json", &args.read_json),
            keep_context: self.globs("--keep-context", &args.keep_context),
            inject_limit,
            transit_time: args.transit_time,
            commands: args.commands,
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
                self.refuse("--inject-limit", Some(text), "no context fits in it", NONE);
                limit
            }
            Ok(limit) if limit > MAX_INJECT_LIMIT => {
                self.or_refuse(Err("it is too large"), ("--inject-limit", text, SIZE))
            }
            limit => self.or_refuse(limit, ("--inject-limit", text, SIZE)),
        }
    }

    fn globs(&mut self, setting: &'static str, patterns: &[String]) -> Vec<Glob> {
        patterns.iter().filter_map(|pattern| self.glob(setting, pattern, pattern)).collect()
    }

    fn glob(&mut self, setting: &'static str, value: &str, pattern: &str) -> Option<Glob> {
        Glob::new(pattern)
            .map_err(|problem| self.refuse(setting, Some(value), problem, "write a pattern as PSUBSCRIBE takes it"))
            .ok()
    }

    fn carrier(&mut self, text: &str) -> Option<(Glob, Carrier)> {
        const FORM: &str = "write GLOB=trailer, GLOB=json or GLOB=opencensus, as in --carrier 'orders.*=json'";
        self.choice("--carrier", text, FORM)
    }

    fn mode_for(&mut self, text: &str) -> Option<(Glob, Mode)> {
        const FORM: &str =
            "write GLOB=inject, GLOB=strip, GLOB=observe or GLOB=auto, as in --mode-for 'orders.*=strip'";
        self.choice("--mode-for", text, FORM)
    }

    /// A glob and what is chosen for its channels.
    fn choice<T: Choice>(&mut self, setting: &'static str, text: &str, form: &'static str) -> Option<(Glob, T)> {
        // From the right: a channel may hold a `=`, a name does not.
        let Some((pattern, name)) = text.rsplit_once('=') else {
            self.refuse(setting, Some(text), "it has no `=` between a glob and a name", form);
            return None;
        };
        let Some(choice) = T::parse(name) else {
            self.refuse(setting, Some(text), format!("`{}` is not known", without_secrets(name)), form);
            return None;
        };
        Some((self.glob(setting, text, pattern)?, choice))
    }
}
