//! What the operator decided: the only file with product decisions about which message is touched.

use alloc::vec::Vec;

use crate::carrier::Carrier;
use crate::choice;
use crate::glob::Glob;
use crate::trace::{Propagators, Sampler};

/// Settings of all sessions of a route. Fixed when the session starts.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Whether contexts are added, only removed, or only looked at, on channels that no glob of `modes` matches.
    pub mode: Mode,
    /// The mode of a channel: the first glob that matches.
    pub modes: Vec<(Glob, Mode)>,
    /// How a consumer span refers to its producer span.
    pub relation: Relation,
    /// Which contexts that payloads carry become parents.
    pub trust: Trust,
    /// The carrier of a channel: the first glob that matches, otherwise [`Carrier::Trailer`].
    pub carriers: Vec<(Glob, Carrier)>,
    /// Channels that are traced; empty means all. `__*` never is.
    pub include: Vec<Glob>,
    /// Channels that are not traced, though included. Contexts are still removed from their messages.
    pub exclude: Vec<Glob>,
    /// Channels on which a `traceparent` in a JSON object is taken as the parent, besides those whose carrier is
    /// [`Carrier::Json`].
    pub read_json: Vec<Glob>,
    /// Channels whose `json` or `opencensus` context is left in the delivered message, for services that read it.
    pub keep_context: Vec<Glob>,
    /// Longest payload, in bytes and with the context in it, that is sent. Messages up to [`Policy::strip_limit`] are
    /// searched for a context.
    pub inject_limit: usize,
    /// Whether commands other than publishes get spans.
    pub commands: Commands,
    /// Which new spans are recorded.
    pub sampler: Sampler,
    /// Whether trailers say when a message was published (`--transit-time`).
    pub transit_time: bool,
    /// `OTEL_SDK_DISABLED=false`. If not enabled no span is made; contexts that payloads carry are still passed on and
    /// removed.
    pub enabled: bool,
    /// Which context formats are understood (`OTEL_PROPAGATORS`).
    pub propagators: Propagators,
}

/// Injection limit unless set, in bytes: 1 MiB, the least that Redis allows as `proto-max-bulk-len`. So a context never
/// takes a payload over the server's limit.
pub const DEFAULT_INJECT_LIMIT: usize = 1 << 20;

/// Longest channel name, in bytes, whose messages are traced. The name is copied, and a longer one is passed on as it
/// comes.
pub const MAX_CHANNEL_LEN: usize = 1024;

/// Channels that begin so belong to Redis and Sentinel: nothing is ever added there.
const RESERVED: &[u8] = b"__";

/// What the policy says about one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Whether messages get spans and contexts.
    pub(crate) traced: bool,
    pub(crate) mode: Mode,
    pub(crate) carrier: Carrier,
    pub(crate) read_json: bool,
    pub(crate) keep_context: bool,
}

impl Policy {
    /// The decision for `channel`.
    pub(crate) fn rule(&self, channel: &[u8]) -> Rule {
        let any = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(channel));
        let carrier = first_match(&self.carriers, channel).unwrap_or_default();
        Rule {
            mode: first_match(&self.modes, channel).unwrap_or(self.mode),
            traced: !Self::is_reserved(channel)
                && (self.include.is_empty() || any(&self.include))
                && !any(&self.exclude),
            carrier,
            read_json: carrier == Carrier::Json || any(&self.read_json),
            keep_context: any(&self.keep_context),
        }
    }

    /// The form in which a context is added to what is published on `channel`; `None` if none is. Single payloads may be
    /// left alone all the same, because they are too long or do not fit the form.
    pub fn adds(&self, channel: &[u8]) -> Option<Carrier> {
        let rule = self.rule(channel);
        let carries = self.enabled && self.propagators.carries_traces() && channel.len() <= MAX_CHANNEL_LEN;
        (carries && rule.traced && rule.mode == Mode::Inject).then_some(rule.carrier)
    }

    /// Longest delivered payload, in bytes, that is searched for a context. Never below what a proxy with the default
    /// injection limit may have made, so that lowering one's own limit leaves no context in a message.
    pub fn strip_limit(&self) -> usize {
        self.inject_limit.max(DEFAULT_INJECT_LIMIT).saturating_add(crate::carrier::trailer::MAX_LEN)
    }

    /// Whether `mode` is that of any channel.
    pub fn uses(&self, mode: Mode) -> bool {
        self.mode == mode || self.modes.iter().any(|(_, other)| *other == mode)
    }

    /// Whether every context in a message on `channel` is removed before it is delivered, within
    /// [`Policy::strip_limit`], except one that is kept on purpose.
    pub fn strips(&self, channel: &[u8]) -> bool {
        Self::may_carry(channel) && first_match(&self.modes, channel).unwrap_or(self.mode) != Mode::Observe
    }

    /// Whether a message on `channel` may carry a context at all.
    fn may_carry(channel: &[u8]) -> bool {
        channel.len() <= MAX_CHANNEL_LEN && !Self::is_reserved(channel)
    }

    /// Whether a channel belongs to Redis and Sentinel: no message there carries a context.
    pub(crate) fn is_reserved(channel: &[u8]) -> bool {
        channel.starts_with(RESERVED)
    }
}

fn first_match<T: Copy>(choices: &[(Glob, T)], channel: &[u8]) -> Option<T> {
    choices.iter().find(|(glob, _)| glob.matches(channel)).map(|(_, choice)| *choice)
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            mode: Mode::Inject,
            modes: Vec::new(),
            relation: Relation::Parent,
            trust: Trust::All,
            carriers: Vec::new(),
            include: Vec::new(),
            exclude: Vec::new(),
            read_json: Vec::new(),
            keep_context: Vec::new(),
            inject_limit: DEFAULT_INJECT_LIMIT,
            commands: Commands::None,
            sampler: Sampler::default(),
            transit_time: false,
            enabled: true,
            propagators: Propagators::default(),
        }
    }
}

choice! {
    /// `--mode`
    pub enum Mode, default Inject {
        /// Add a context to each publish, remove it from each delivery.
        Inject = "inject",
        /// Add nothing, remove contexts from deliveries.
        Strip = "strip",
        /// Change no byte; make spans only where a message already carries a context.
        Observe = "observe",
        /// As inject while every subscriber of the channel is known to be behind a proxy, otherwise as strip.
        Auto = "auto",
    }
}

choice! {
    /// `--relation`
    pub enum Relation, default Parent {
        /// The consumer span is a child of the producer span: one trace shows the whole transaction.
        Parent = "parent",
        /// The consumer span starts a trace of its own, with a link: for large fan-out and endless loops.
        Link = "link",
    }
}

choice! {
    /// `--trust`
    ///
    /// A context that is not believed begins no span and is passed on to nobody; it is removed as any other.
    pub enum Trust, default All {
        /// Contexts in all payloads, those that the service itself publishes among them.
        All = "all",
        /// Contexts in messages that Redis delivers.
        Redis = "redis",
        /// No context: each publish and each delivery begins a trace of its own.
        None = "none",
    }
}

choice! {
    /// `--commands`
    pub enum Commands, default None {
        /// Only publishes and deliveries get spans.
        None = "none",
        /// Each command gets a CLIENT span, without its arguments.
        All = "all",
    }
}
