//! The operator's decisions about which messages are changed, and how.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::carrier::json::JsonPath;
use crate::carrier::{Carrier, ContextKeys, Envelope, Place, StreamCarrier};
use crate::choice;
use crate::glob::Glob;
use crate::naming;
use crate::queue_names;
use crate::trace::{Change, Context, Destination, Inferred, Operation, Propagators, Sampler, SpanRecord};

/// The settings that the sessions of a service follow. Each call of a session gets the policy that is then in force.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The mode of a channel that no glob of `modes` matches.
    pub mode: Mode,
    /// The modes of channels. The first glob that matches a channel decides.
    pub modes: Vec<(Glob, Mode)>,
    /// How a consumer span refers to its producer span.
    pub relation: Relation,
    /// Which of the contexts that payloads carry become parents.
    pub trust: Trust,
    /// The carriers of channels. The first glob that matches a channel decides, otherwise it is [`Carrier::Trailer`].
    pub carriers: Vec<(Glob, Carrier)>,
    /// Channels that are traced. If there are none, all channels are. Channels that begin with `__` are never traced.
    pub include: Vec<Glob>,
    /// Channels that are not traced even if they are included. Contexts are still removed from their messages.
    pub exclude: Vec<Glob>,
    /// Channels on which a `traceparent` in a JSON object becomes the parent, and where in the object it is. The first glob that
    /// matches a channel decides. On channels whose carrier is [`Carrier::Json`], a member of the outermost object always does. On
    /// all of these, the headers of FastStream's binary envelope do too.
    pub read_json: Vec<(Glob, JsonPath)>,
    /// Channels on which a `json` or `opencensus` context stays in the delivered message, for services that read it. It becomes
    /// that of the delivery.
    pub keep_context: Vec<Glob>,
    /// Channels on which a context that the publishing application itself put into the message is removed at delivery: an
    /// OpenCensus prefix, or members of a JSON object.
    pub strip_supplied: Vec<Glob>,
    /// The carriers of the entries of streams (`--stream-carrier`), by their keys. The first glob that matches a key decides,
    /// otherwise it is [`StreamCarrier::None`].
    pub stream_carriers: Vec<(Glob, StreamCarrier)>,
    /// The libraries whose jobs get contexts in their envelopes where the service adds them to a queue (`--envelope`).
    pub envelopes: Vec<Envelope>,
    /// The keys that contexts are signed and checked with; none if contexts need no proof.
    pub keys: ContextKeys,
    /// What is done at delivery to a context that has no right MAC, where there are keys.
    pub forged: Forged,
    /// The templates of channels' names. The first glob that matches a channel decides, and `None` says that the name stands for
    /// itself. For other channels see [`Policy::destination`].
    pub templates: Vec<(Glob, Option<Arc<str>>)>,
    /// The templates of keys (`--key-template`). The span of a command shows the first one that matches the command's first key. If
    /// there are none, spans tell nothing of keys.
    pub key_templates: Vec<Glob>,
    /// The keys of lists and sorted sets that are queues (`--queue`), besides those of well-known libraries.
    pub queues: Vec<Glob>,
    /// Whether spans leave out channels' names, so that only templates are shown (`--hide-channel-names`).
    pub hide_channel_names: bool,
    /// Longest payload with a context, in bytes, that is sent. A payload that would become longer gets no context.
    /// Delivered payloads are searched for a context up to [`Policy::strip_limit`].
    pub inject_limit: usize,
    /// Whether what the service sends is attributed to what it has received.
    pub follow: Follow,
    /// Whether proxies tell each other the contexts of items of queues and streams, in messages of their own (`--out-of-band`).
    pub out_of_band: OutOfBand,
    /// Whether commands other than publishes get spans.
    pub commands: Commands,
    /// Which new spans are recorded.
    pub sampler: Sampler,
    /// Whether trailers say when a message was published, and are believed about it without a MAC (`--transit-time`).
    pub transit_time: bool,
    /// Whether spans are made (`OTEL_SDK_DISABLED=false`). Otherwise the contexts that payloads carry are still passed on,
    /// and still removed from deliveries.
    pub enabled: bool,
    /// The context formats that are read and passed on (`OTEL_PROPAGATORS`).
    pub propagators: Propagators,
}

/// Default of [`Policy::inject_limit`], in bytes. 1 MiB is the least that Redis allows as `proto-max-bulk-len` and as
/// `client-query-buffer-limit`, and the latter counts the CRLF behind the payload too. So a context never takes a payload over
/// a limit of the server.
pub const DEFAULT_INJECT_LIMIT: usize = (1 << 20) - 2;

/// Longest name of a channel, in bytes, whose messages are traced. Names are copied, and the limit bounds the copy.
/// Messages on a channel with a longer name are passed on as they come.
pub const MAX_CHANNEL_LEN: usize = 1024;

/// The beginning of the names of channels that belong to Redis and Sentinel. Nothing is ever added to their messages.
const RESERVED: &[u8] = b"__";

/// The policy's decision about one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Whether messages get spans and contexts.
    pub(crate) traced: bool,
    pub(crate) mode: Mode,
    pub(crate) carrier: Carrier,
    /// The index of the first entry of [`Policy::read_json`] that matches the channel.
    pub(crate) read_json: Option<usize>,
    pub(crate) keep_context: bool,
    pub(crate) strip_supplied: bool,
}

impl Policy {
    /// The decision for `channel`.
    pub(crate) fn rule(&self, channel: &[u8]) -> Rule {
        let any = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(channel));
        let carrier = first_match(&self.carriers, channel).unwrap_or_default();
        Rule {
            mode: self.mode_of(channel),
            traced: !Self::is_reserved(channel)
                && (self.include.is_empty() || any(&self.include))
                && !any(&self.exclude),
            carrier,
            read_json: self.read_json.iter().position(|(glob, _)| glob.matches(channel)),
            keep_context: any(&self.keep_context),
            strip_supplied: any(&self.strip_supplied),
        }
    }

    /// What matters to the contexts of messages on `channel`, for which `rule` is the decision.
    pub(crate) fn place<'a>(&'a self, channel: &'a [u8], rule: Rule) -> Place<'a> {
        Place { channel, carrier: rule.carrier, keys: &self.keys }
    }

    /// The channel with this name as spans name it, which messages are published on, or are delivered from by a subscription to
    /// `pattern`.
    ///
    /// Its template is the operator's, otherwise the pattern, otherwise the name with a placeholder for each id in it. Ids in a
    /// pattern have placeholders too. A pattern of wildcards only, which stands for all channels, is none.
    pub fn destination(&self, channel: &str, pattern: Option<&str>) -> Destination {
        let template = match self.templates.iter().find(|(glob, _)| glob.matches(channel.as_bytes())) {
            Some((_, template)) => template.clone(),
            None => match pattern.filter(|pattern| pattern.bytes().any(|byte| !matches!(byte, b'*' | b'?'))) {
                Some(pattern) => {
                    let template = naming::without_ids(pattern).map_or_else(|| Arc::from(pattern), Arc::from);
                    Some(template).filter(|template| **template != *channel)
                }
                None => naming::without_ids(channel).map(Arc::from),
            },
        };
        Destination::new(channel, template, self.hide_channel_names)
    }

    /// The template of a key, if there is one for it.
    pub(crate) fn key_template(&self, key: &[u8]) -> Option<&str> {
        self.key_templates.iter().find(|glob| glob.matches(key)).map(Glob::as_str)
    }

    /// Whether what is added to this key, of a list or a sorted set, is work for somebody.
    pub(crate) fn is_queue(&self, key: &[u8]) -> bool {
        queue_names::is_known(key) || self.queues.iter().any(|glob| glob.matches(key))
    }

    /// Whether other proxies are told the contexts of items that the service adds to queues and streams. A mode that adds nothing to
    /// messages tells nothing either.
    pub fn tells_contexts(&self) -> bool {
        self.out_of_band == OutOfBand::On && self.follow != Follow::Off && self.passes_contexts_on()
    }

    /// Whether contexts are awaited that other proxies tell of items which the service takes.
    pub fn hears_contexts(&self) -> bool {
        self.tells_contexts() && self.trust != Trust::None
    }

    /// Whether other proxies are told the contexts of messages to which none is added.
    pub(crate) fn tells_of_messages(&self) -> bool {
        self.out_of_band == OutOfBand::On
            && self.follow != Follow::Off
            && self.enabled
            && self.propagators.carries_traces()
    }

    /// Whether contexts are awaited that other proxies tell of messages.
    pub fn hears_of_messages(&self) -> bool {
        self.tells_of_messages() && self.trust != Trust::None
    }

    /// Whether other proxies are told any contexts.
    pub fn tells_anything(&self) -> bool {
        self.tells_contexts() || self.tells_of_messages()
    }

    /// Whether any contexts are awaited that other proxies tell.
    pub fn hears_anything(&self) -> bool {
        self.hears_contexts() || self.hears_of_messages()
    }

    /// Whether the entries of a stream with this key carry contexts in fields of their own.
    pub(crate) fn has_fields(&self, key: &[u8]) -> bool {
        key.len() <= MAX_CHANNEL_LEN && first_match(&self.stream_carriers, key) == Some(StreamCarrier::Field)
    }

    /// Whether contexts are added to the entries of any stream. In mode `auto` they are, because the operator has named the
    /// streams.
    pub(crate) fn adds_fields(&self) -> bool {
        !self.stream_carriers.is_empty() && self.passes_contexts_on()
    }

    /// Whether contexts are added to the envelopes of any library. What is written has the format of W3C Trace Context, so there is
    /// none where that is not passed on.
    #[inline]
    pub(crate) fn adds_to_envelopes(&self) -> bool {
        !self.envelopes.is_empty() && self.passes_contexts_on() && self.propagators.trace_context
    }

    /// Whether other proxies get contexts of items in any way.
    fn passes_contexts_on(&self) -> bool {
        self.enabled && self.propagators.carries_traces() && matches!(self.mode, Mode::Inject | Mode::Auto)
    }

    /// Whether contexts are removed from the entries of any stream.
    #[inline]
    pub(crate) fn hides_fields(&self) -> bool {
        !self.stream_carriers.is_empty() && self.mode != Mode::Observe
    }

    /// The form in which contexts are added to messages that are published on `channel`; `None` if none are added. A single
    /// payload may still get no context, because it is too long or does not fit the form.
    pub fn adds(&self, channel: &[u8]) -> Option<Carrier> {
        let rule = self.rule(channel);
        let carries = self.enabled && self.propagators.carries_traces() && channel.len() <= MAX_CHANNEL_LEN;
        (carries && rule.traced && rule.mode == Mode::Inject).then_some(rule.carrier)
    }

    /// Longest delivered payload, in bytes, that is searched for a context. It is never below the longest payload that a
    /// proxy with the default injection limit sends, so that an operator who lowers the limit of one proxy does not make it
    /// deliver the contexts of others.
    pub fn strip_limit(&self) -> usize {
        self.inject_limit.max(DEFAULT_INJECT_LIMIT).saturating_add(crate::carrier::trailer::MAX_LEN)
    }

    /// Adds the cause of a span that became known after the span had begun, and the rule by which it was found.
    ///
    /// The context of a publish has left with its message, and so may that of items of queues. Such a span stays where it is, and gets a
    /// link. Any other span
    /// moves to the trace of its cause, as [`Policy::follow`] says, and is recorded if the cause is.
    pub fn attribute(&self, span: &mut SpanRecord, cause: &Context, rule: &'static str) {
        let has_left = matches!(span.handling.payload, Change::Injected) || span.is_told();
        let inferred = span.inferred.get_or_insert_with(|| Box::new(Inferred::default()));
        inferred.undecided = None;
        inferred.rule = Some(rule);
        // Those of which one was the cause.
        inferred.links.clear();
        let is_sampled = self.sampler.samples(cause.span.trace_id, Some(&cause.span));
        if has_left || self.follow == Follow::Link {
            span.link = Some(cause.span);
            if !has_left {
                span.context.flags = span.context.flags.with_sampled(is_sampled);
            }
        } else {
            if let Operation::Send(sent) = &mut span.operation
                && core::mem::take(&mut sent.is_named_by_item)
            {
                sent.items.push(span.context);
            }
            span.parent = Some(cause.span.span_id);
            span.context.trace_id = cause.span.trace_id;
            span.context.flags = cause.span.flags.with_sampled(is_sampled);
        }
        span.trace_state = span.trace_state.take().or_else(|| cause.trace_state.clone());
    }

    /// The mode of `channel`.
    pub fn mode_of(&self, channel: &[u8]) -> Mode {
        first_match(&self.modes, channel).unwrap_or(self.mode)
    }

    /// Whether any channel has this mode.
    pub fn uses(&self, mode: Mode) -> bool {
        self.mode == mode || self.modes.iter().any(|(_, other)| *other == mode)
    }

    /// Whether contexts are removed from all messages on `channel` up to [`Policy::strip_limit`] before they are delivered.
    /// [`Policy::keep_context`] makes exceptions.
    pub fn strips(&self, channel: &[u8]) -> bool {
        Self::may_carry(channel) && self.mode_of(channel) != Mode::Observe && !self.keeps_unproven()
    }

    /// Whether contexts stay that no key proves. Those of a proxy with other keys, or with none, are then delivered.
    pub fn keeps_unproven(&self) -> bool {
        !self.keys.is_empty() && self.forged == Forged::Keep
    }

    /// Whether a message on `channel` may carry a context at all.
    fn may_carry(channel: &[u8]) -> bool {
        channel.len() <= MAX_CHANNEL_LEN && !Self::is_reserved(channel)
    }

    /// Whether a channel belongs to Redis and Sentinel, so that none of its messages carries a context.
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
            mode: Mode::default(),
            modes: Vec::new(),
            relation: Relation::Parent,
            trust: Trust::All,
            carriers: Vec::new(),
            include: Vec::new(),
            exclude: Vec::new(),
            read_json: Vec::new(),
            keep_context: Vec::new(),
            strip_supplied: Vec::new(),
            stream_carriers: Vec::new(),
            envelopes: Vec::new(),
            keys: ContextKeys::default(),
            forged: Forged::default(),
            templates: Vec::new(),
            key_templates: Vec::new(),
            queues: Vec::new(),
            hide_channel_names: false,
            inject_limit: DEFAULT_INJECT_LIMIT,
            follow: Follow::default(),
            out_of_band: OutOfBand::default(),
            commands: Commands::None,
            sampler: Sampler::default(),
            transit_time: false,
            enabled: true,
            propagators: Propagators::default(),
        }
    }
}

choice! {
    /// What is done to the messages of a channel (`--mode`).
    pub enum Mode, default Auto {
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
    /// How a consumer span refers to its producer span (`--relation`).
    pub enum Relation, default Parent {
        /// The consumer span is a child of the producer span: one trace shows the whole transaction.
        Parent = "parent",
        /// The consumer span starts a trace of its own, with a link: for large fan-out and endless loops.
        Link = "link",
    }
}

choice! {
    /// What becomes of an inferred cause (`--follow`): the message or the HTTP request in work for which the service sends a
    /// command.
    pub enum Follow, default Off {
        /// Nothing is inferred.
        Off = "off",
        /// The span of the command begins a trace of its own, with a link to its cause.
        Link = "link",
        /// The span of the command is a child of its cause.
        Parent = "parent",
    }
}

choice! {
    /// Whether proxies tell each other contexts in messages of their own (`--out-of-band`).
    pub enum OutOfBand, default Off {
        /// Nothing is told, and nothing is heard.
        Off = "off",
        /// The contexts of items that are added to queues and streams are told to those who read them, and those of messages to which
        /// none is added to those who subscribe.
        On = "on",
    }
}

choice! {
    /// Which of the contexts that payloads carry become parents (`--trust`).
    ///
    /// A context that is not trusted becomes no span's parent and is not passed on. It is removed like any other.
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
    /// What is done to a context that is not proven by a MAC (`--forged`), where there are keys.
    pub enum Forged, default Drop {
        /// It is removed and not believed. A proxy without the key then costs spans, and no message.
        Drop = "drop",
        /// It is delivered as part of the payload, so that no byte vanishes that somebody without a key has written.
        Keep = "keep",
    }
}

/// Which commands other than publishes get spans (`--commands`). Commands that only manage the connection, such as `AUTH`
/// and `PING`, never get one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Commands {
    /// Only publishes and deliveries get spans.
    #[default]
    None,
    /// Each command gets a CLIENT span, without its arguments.
    All,
    /// A command gets a CLIENT span if its cause is known ([`Policy::follow`]).
    Caused,
    /// A command gets a CLIENT span if it meets one of these conditions.
    Only {
        /// The reply came at least this many nanoseconds after the first byte of the command. `None` does not select slow commands.
        slow: Option<u64>,
        /// Redis answered the command with an error.
        errors: bool,
    },
}

impl Commands {
    /// Whether commands other than publishes get spans at all.
    pub fn any(self) -> bool {
        self != Self::None
    }

    /// Whether the span of a command is reported, now that it has ended.
    pub(crate) fn reports(self, span: &SpanRecord) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Caused => span.parent.is_some() || span.inferred.is_some(),
            Self::Only { slow, errors } => {
                errors && span.error.is_some()
                    || slow.is_some_and(|slow| span.end.0.saturating_sub(span.start.0) >= slow)
            }
        }
    }
}

impl fmt::Display for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::None => f.write_str("none"),
            Self::All => f.write_str("all"),
            Self::Caused => f.write_str("caused"),
            Self::Only { slow, errors } => {
                if let Some(nanos) = slow {
                    write!(f, "slow={}ms", nanos / 1_000_000)?;
                }
                f.write_str(match (slow, errors) {
                    (Some(_), true) => ",errors",
                    (None, true) => "errors",
                    (_, false) => "",
                })
            }
        }
    }
}

#[cfg(test)]
mod tests;
