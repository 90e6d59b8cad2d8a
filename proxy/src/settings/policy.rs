//! The policy: which messages are traced, and how context is carried in them.

use std::fmt::Display;
use std::path::PathBuf;

use clap::Args;
use redistributed_core::carrier::json::JsonPath;
use redistributed_core::carrier::{Carrier, Envelope, StreamCarrier, opencensus};
use redistributed_core::choice::Choice;
use redistributed_core::glob::Glob;
use redistributed_core::policy::{Commands, Follow, Forged, Mode, OutOfBand, Policy, Relation, Trust};

use super::choices::{self, parser, switch};
use super::follow::FollowOptions;
use super::otel::OtelSettings;
use super::redact::redact;
use super::units;
use super::validation::Validation;
use super::values::{Values, format_path};

/// The smallest `--inject-limit`, in bytes. It is the length of the shortest context, so below it no message would get one.
pub const MIN_INJECT_LIMIT: usize = opencensus::LEN;

/// The largest `--inject-limit`, in bytes. It is below 512 MiB, the longest bulk string that Redis takes unless told otherwise.
pub const MAX_INJECT_LIMIT: usize = 511 << 20;

/// The option that names the file with the keys of contexts.
pub const CONTEXT_KEY_FILE: &str = "--context-key-file";

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

    /// Which commands other than publishes get spans: none, caused, all, errors, slow=TIME, or slow=TIME,errors
    ///
    /// The default is caused where --follow is on, otherwise none. caused: those whose cause is known. errors: those that failed. slow=10ms: those whose reply took as long or longer. Commands that only manage the
    /// connection, such as AUTH, CLIENT and PING, have no spans.
    #[arg(long, value_name = "WHICH")]
    commands: Option<String>,

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
    /// Carrier for channels that match: trailer, json, opencensus or beside; repeatable, the first match wins
    ///
    /// trailer (for all other channels): a binary suffix of the payload. json: a `traceparent` member of the payload's
    /// JSON object. opencensus: the 29-byte binary context in front of the payload. beside: nothing in the payload; proxies
    /// tell each other the context in messages of their own. See proxy/docs/beside.md.
    #[arg(long = "carrier", value_name = "GLOB=CARRIER")]
    pub(crate) carriers: Vec<String>,

    /// Carrier for entries of streams whose key matches: field or none (for all others); repeatable, the first match wins
    ///
    /// field: two fields at the end of each entry, `traceparent` and `tracestate`, which stay in the stream and which readers
    /// without a proxy see. Give it to every sidecar that reads these streams. See proxy/docs/queues.md.
    #[arg(long = "stream-carrier", value_name = "GLOB=CARRIER")]
    pub(crate) stream_carriers: Vec<String>,

    /// Libraries whose jobs get a context in their envelopes: celery, taskiq, sidekiq, bullmq, with commas between them; repeatable
    ///
    /// For workers without a sidecar that have the library's own instrumentation. A job that the service adds to a queue gets
    /// a context where that instrumentation looks for it, and keeps it. See proxy/docs/queues.md.
    #[arg(long = "envelope", value_name = "LIBRARY[,LIBRARY]")]
    pub(crate) envelopes: Vec<String>,

    /// Take `traceparent` in a JSON payload as the parent on channels that match; repeatable, the first match wins
    ///
    /// PATH is where it stands in the object: names with dots between them, as in headers.traceparent. Without a path it is a
    /// member of the object itself. Of a payload in FastStream's binary envelope the headers are read, whatever the path.
    #[arg(long, value_name = "GLOB[=PATH]")]
    pub(crate) read_json: Vec<String>,

    /// Leave a json or opencensus context in messages delivered on channels that match; repeatable
    ///
    /// The service gets the context of the delivery, so that its own spans stand below that.
    #[arg(long, value_name = "GLOB")]
    pub(crate) keep_context: Vec<String>,

    /// Remove what publishers put into messages themselves, on channels that match: OpenCensus's prefix, or the members of a
    /// context in JSON; repeatable
    ///
    /// For subscribers that cannot read them. It is done at delivery, and the context is the parent all the same.
    #[arg(long, value_name = "GLOB")]
    pub(crate) strip_supplied: Vec<String>,

    /// A file with keys, one a line: only contexts with a right MAC are believed; read again when it changes
    ///
    /// The first key signs, and contexts by all of them are believed, so that a key can be replaced. Use the same keys on every
    /// sidecar of a Redis. See proxy/docs/security.md.
    #[arg(long, value_name = "FILE")]
    pub(crate) context_key_file: Option<PathBuf>,

    /// What becomes of contexts that are not proven by a key, in delivered messages
    #[arg(long, value_parser = parser::<Forged>(), default_value_t)]
    forged: Forged,

    /// Say in each trailer when the message was published, for the metric transit_seconds; 13 bytes more per message
    ///
    /// The time is that of the publisher's wall clock, and is subtracted from that of the subscriber's, so the metric is as
    /// accurate as the two clocks agree. Without keys, anybody can write a time, so it is measured only where this is set too.
    #[arg(long, value_parser = switch)]
    transit_time: bool,

    /// Longest payload to send with a context in it; use the same value on every sidecar of a Redis
    ///
    /// A longer payload is sent as it is. The default is 1MiB, the least that Redis allows as proto-max-bulk-len and as
    /// client-query-buffer-limit, without the 2 bytes behind the payload; set no more than these two allow. The limit also bounds
    /// what a connection may hold back while it looks for a context. From 29, the shortest context, to 511MiB; to add no
    /// contexts see --mode strip.
    #[arg(long, value_name = "BYTES", default_value = "1048574")]
    inject_limit: String,
}

impl Validation<'_> {
    pub(super) fn policy(
        &mut self,
        tracing: &TracingOptions,
        carriers: &CarrierOptions,
        follow: &FollowOptions,
        otel: Option<&OtelSettings>,
    ) -> Policy {
        let mut policy = Policy {
            mode: tracing.mode,
            relation: tracing.relation,
            trust: tracing.trust,
            modes: tracing.modes.iter().filter_map(|text| self.choice_for("--mode-for", text)).collect(),
            carriers: carriers.carriers.iter().filter_map(|text| self.choice_for("--carrier", text)).collect(),
            stream_carriers: self.stream_carriers(&carriers.stream_carriers),
            envelopes: self.envelopes(&carriers.envelopes),
            include: self.globs("--include", &tracing.include),
            exclude: self.globs("--exclude", &tracing.exclude),
            read_json: carriers.read_json.iter().filter_map(|text| self.glob_and_path(text)).collect(),
            keep_context: self.globs("--keep-context", &carriers.keep_context),
            strip_supplied: self.globs("--strip-supplied", &carriers.strip_supplied),
            forged: carriers.forged,
            inject_limit: self.inject_limit(&carriers.inject_limit),
            transit_time: carriers.transit_time,
            follow: follow.follow,
            out_of_band: follow.out_of_band,
            queues: self.globs("--queue", &follow.queues),
            commands: self.commands(tracing.commands.as_deref(), follow.follow),
            ..Policy::default()
        };
        if carriers.context_key_file.as_ref().is_some_and(|path| !path.as_os_str().is_empty())
            && let Some((glob, _)) = policy.carriers.iter().find(|(_, carrier)| *carrier == Carrier::OpenCensus)
        {
            let value = format!("{}=opencensus", glob.as_str());
            let problem = format!("its 29 bytes have no room for a MAC, which {CONTEXT_KEY_FILE} demands");
            self.reject("--carrier", Some(&value), problem, "choose another carrier, or leave the keys out");
        }
        let is_silent = policy.out_of_band == OutOfBand::Off || policy.follow == Follow::Off;
        if is_silent && let Some((glob, _)) = policy.carriers.iter().find(|(_, carrier)| *carrier == Carrier::Beside) {
            let value = format!("{}=beside", glob.as_str());
            let problem = "proxies tell each other no contexts with --out-of-band off or --follow off";
            self.reject("--carrier", Some(&value), problem, "choose another carrier, or leave those settings out");
        }
        if let Some(otel) = otel {
            policy.sampler = otel.sampler;
            policy.enabled = otel.enabled;
            policy.propagators = otel.propagators;
        }
        policy
    }

    fn stream_carriers(&mut self, carriers: &[String]) -> Vec<(Glob, StreamCarrier)> {
        carriers.iter().filter_map(|text| self.choice_for("--stream-carrier", text)).collect()
    }

    /// Reads the libraries of `--envelope`, of which each counts once.
    fn envelopes(&mut self, lists: &[String]) -> Vec<Envelope> {
        let mut envelopes = Vec::new();
        for (text, name) in lists.iter().flat_map(|text| text.split(',').map(move |name| (text, name.trim()))) {
            match Envelope::parse(name) {
                Some(envelope) if envelopes.contains(&envelope) => {}
                Some(envelope) => envelopes.push(envelope),
                None => {
                    let form = format!("write {}", choices::list::<Envelope>("or", str::to_owned));
                    self.reject("--envelope", Some(text), format!("`{}` is not known", redact(name)), form);
                }
            }
        }
        envelopes
    }

    fn commands(&mut self, text: Option<&str>, follow: Follow) -> Commands {
        const FORMS: &str = "write none, caused, all, errors, slow=TIME as in slow=10ms, or slow=10ms,errors";
        let Some(text) = text else {
            return if follow == Follow::Off { Commands::None } else { Commands::Caused };
        };
        self.or_reject(commands(text), ("--commands", text, FORMS))
    }

    /// Warnings about settings that have no effect together.
    pub(super) fn policy_warnings(policy: &Policy) -> Vec<String> {
        let mode = |channel: &str| {
            let of_its_own = policy.modes.iter().find(|(glob, _)| glob.matches(channel.as_bytes()));
            of_its_own.map_or(policy.mode, |(_, mode)| *mode)
        };
        let other =
            policy.carriers.iter().filter(|(_, carrier)| matches!(carrier, Carrier::Json | Carrier::OpenCensus));
        let idle = other.filter(|(glob, _)| mode(glob.as_str()) == Mode::Auto);
        let warning = |(glob, carrier): &(Glob, Carrier)| {
            let glob = redact(glob.as_str());
            format!(
                "--carrier `{glob}={carrier}`: mode auto adds no context in this form, because other proxies remove it only where \
                 their own --carrier says so; --mode-for '{glob}=inject' adds it for every subscriber"
            )
        };
        idle.map(warning).collect()
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

    /// Reads `GLOB` or `GLOB=PATH` of `--read-json`.
    fn glob_and_path(&mut self, text: &str) -> Option<(Glob, JsonPath)> {
        const SETTING: &str = "--read-json";
        // From the right: a channel may hold a `=`, a path does not.
        let (pattern, path) = match text.rsplit_once('=') {
            Some((pattern, path)) => (pattern, JsonPath::parse(path)),
            None => (text, Some(JsonPath::default())),
        };
        if path.is_none() {
            let problem = format!("no path of at most {} names follows the `=`", JsonPath::MAX_NAMES);
            let remedy = "write names with dots between them, as in --read-json 'orders.*=headers.traceparent'";
            self.reject(SETTING, Some(text), problem, remedy);
        }
        Some((self.glob(SETTING, text, pattern)?, path?))
    }

    fn globs(&mut self, setting: &'static str, patterns: &[String]) -> Vec<Glob> {
        patterns.iter().filter_map(|pattern| self.glob(setting, pattern, pattern)).collect()
    }

    pub(super) fn glob(&mut self, setting: &'static str, value: &str, pattern: &str) -> Option<Glob> {
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

/// Reads a value of `--commands`.
fn commands(text: &str) -> Result<Commands, String> {
    let (mut slow, mut errors) = (None, false);
    for part in text.split(',').map(str::trim) {
        match (part, part.split_once('=')) {
            ("none" | "all" | "caused", _) if part != text.trim() => return Err(format!("`{part}` stands alone")),
            ("none", _) => return Ok(Commands::None),
            ("all", _) => return Ok(Commands::All),
            ("caused", _) => return Ok(Commands::Caused),
            ("errors", _) => errors = true,
            ("slow", _) => return Err("`slow` needs a time".to_owned()),
            (_, Some(("slow", time))) => {
                let time = units::duration(time).map_err(|problem| format!("the time of `slow`: {problem}"))?;
                slow = Some(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
            }
            _ => return Err(format!("`{}` is not known", redact(part))),
        }
    }
    Ok(Commands::Only { slow, errors })
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
pub(super) fn effective_carriers(policy: &Policy, context_key_file: Option<&PathBuf>) -> Values {
    vec![
        ("carrier", list(&policy.carriers)),
        ("stream-carrier", list(&policy.stream_carriers)),
        ("envelope", policy.envelopes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")),
        ("read-json", list(&policy.read_json)),
        ("keep-context", globs(&policy.keep_context)),
        ("strip-supplied", globs(&policy.strip_supplied)),
        ("context-key-file", format_path(context_key_file)),
        ("forged", policy.forged.to_string()),
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
    fn which_commands_get_spans_is_read_as_it_is_shown() {
        const MILLISECOND: u64 = 1_000_000;
        for (text, expected) in [
            ("none", Commands::None),
            ("all", Commands::All),
            ("caused", Commands::Caused),
            ("errors", Commands::Only { slow: None, errors: true }),
            ("slow=10ms", Commands::Only { slow: Some(10 * MILLISECOND), errors: false }),
            ("slow=1500ms,errors", Commands::Only { slow: Some(1_500 * MILLISECOND), errors: true }),
        ] {
            assert_eq!((commands(text), expected.to_string()), (Ok(expected), text.to_owned()));
        }
        assert_eq!(commands("errors, slow=1s"), commands("slow=1000ms,errors"));
        for text in ["", "slow", "slow=", "slow=10", "slow=x", "fast", "all,errors", "slow=1ms,", "ALL"] {
            commands(text).expect_err(text);
        }
    }

    #[test]
    fn libraries_are_read_with_commas_or_one_by_one_and_each_counts_once() {
        let envelopes = |words: &[&str]| {
            let all = [&["redistributed", "--listen", "127.0.0.1:1", "--upstream", "h"], words].concat();
            let loaded =
                Invocation::new(Options::command(), all.into_iter().map(Into::into)).with_file(None, &|_| None);
            loaded.map(|loaded| loaded.settings.policy.envelopes.clone()).map_err(|error| error.to_string())
        };
        assert_eq!(envelopes(&[]), Ok(vec![]));
        assert_eq!(envelopes(&["--envelope", "taskiq, bullmq"]), Ok(vec![Envelope::Taskiq, Envelope::BullMq]));
        let repeated = ["--envelope", "sidekiq", "--envelope", "celery,sidekiq"];
        assert_eq!(envelopes(&repeated), Ok(vec![Envelope::Sidekiq, Envelope::Celery]));
        for unknown in ["bull", "Celery", "celery,", "celery;taskiq", "none"] {
            let error = envelopes(&["--envelope", unknown]).unwrap_err();
            assert!(
                error.contains("--envelope") && error.contains("write celery, taskiq, sidekiq or bullmq"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_form_that_mode_auto_never_adds_costs_a_warning() {
        let warnings = |words: &[&str]| {
            let all = [&["redistributed", "--listen", "127.0.0.1:1", "--upstream", "h"], words].concat();
            let loaded =
                Invocation::new(Options::command(), all.into_iter().map(Into::into)).with_file(None, &|_| None);
            loaded.unwrap().settings.warnings
        };
        let auto = warnings(&["--mode", "auto", "--carrier", "a.*=json", "--carrier", "*=trailer"]);
        assert!(auto.len() == 1 && auto[0].contains("--mode-for 'a.*=inject'"), "{auto:?}");
        assert!(warnings(&["--mode", "auto", "--mode-for", "a.*=inject", "--carrier", "a.*=json"]).is_empty());
        assert!(warnings(&["--mode", "inject", "--carrier", "a.*=opencensus"]).is_empty());
        assert!(warnings(&["--mode", "auto", "--carrier", "*=beside"]).is_empty());
    }

    #[test]
    fn contexts_beside_messages_need_proxies_that_tell_each_other() {
        let load = |words: &[&str]| {
            let all = [&["redistributed", "--listen", "127.0.0.1:1", "--upstream", "h"], words].concat();
            Invocation::new(Options::command(), all.into_iter().map(Into::into)).with_file(None, &|_| None).map(drop)
        };
        assert!(load(&["--carrier", "a*=beside"]).is_ok());
        for silent in [["--out-of-band", "off"], ["--follow", "off"]] {
            let refused =
                load(&[&["--carrier", "a*=beside"], &silent[..]].concat()).expect_err("nothing would be told");
            assert!(format!("{refused:?}").contains("a*=beside"), "{refused:?}");
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_core_which_knows_no_causes_by_itself() {
        let words = ["redistributed", "--listen", "127.0.0.1:1", "--upstream", "h"].map(Into::into);
        let loaded = Invocation::new(Options::command(), words).with_file(None, &|_| None).unwrap();
        let core = Policy {
            follow: Follow::Parent,
            commands: Commands::Caused,
            out_of_band: redistributed_core::policy::OutOfBand::On,
            ..Policy::default()
        };
        assert_eq!(format!("{:?}", loaded.settings.policy), format!("{core:?}"));
    }
}
