//! The plan for `PUBLISH` and `SPUBLISH`, which adds a context to the payload.

use alloc::vec::Vec;
use core::ops::Range;

use super::beside::{self, PublishNumbers};
use super::channel_cache::ChannelCache;
use super::context::{carried_by, child_of, inferred, linked_to, parent_and_link, passed_baggage, record, untraced};
use super::{Bulk, Edits, exceeds};
use crate::carrier::{self, Added, Carrier, Place};
use crate::counts::Counter;
use crate::output::{Call, Output};
use crate::policy::{MAX_CHANNEL_LEN, Mode, Policy, Rule, Trust};
use crate::service::{Attribution, Audience, Environment, ExpectedReceivers, NotProven};
use crate::trace::context::limited_trace_state;
use crate::trace::{Change, Context, Operation, SpanContext, SpanId, SpanRecord, UnixNanos};

/// Longest bulk string, in bytes, that Redis takes before authentication. A longer one is a protocol error
/// (`unauthenticated bulk length`, seen on Redis 7.0 and 8.2 and on Valkey 9.1).
pub(super) const UNAUTHENTICATED_BULK_LEN: usize = 16 * 1024;

/// The rules for publishes. The state of the plan only saves work.
#[derive(Debug, Default)]
pub(crate) struct PublishPlan {
    channels: ChannelCache,
    edits: Edits,
    numbers: PublishNumbers,
}

/// The head of a publish, which is all that is known before its payload.
#[derive(Clone, Copy)]
pub(crate) struct Publish<'a> {
    /// The channel's name; `None` if it is too long to be kept.
    pub(crate) channel: Option<&'a [u8]>,
    pub(crate) sharded: bool,
    /// When the first byte of the publish was read.
    pub(crate) start: UnixNanos,
}

/// The state of the connection that matters to a publish.
#[derive(Clone, Copy)]
pub(crate) struct Standing {
    /// Whether Redis has answered a command as it does only after authentication.
    pub(crate) authenticated: bool,
    /// Whether Redis will execute the publish as soon as it arrives, and its reply will be told from others.
    pub(crate) prompt: bool,
}

/// The decision whether a payload has to be seen.
pub(crate) enum Admission {
    /// The payload is held back until it is complete, and is decided about then.
    Hold,
    /// The publish goes on as it came. It may have a span, or a record for those who watch messages.
    Pass(Option<SpanRecord>),
}

/// The longest payload, in bytes, that is held back although memory is scarce.
const LEN_WHEN_SCARCE: usize = 16 * 1024;

/// The decision about a publish.
#[derive(Debug, Default)]
pub(crate) struct Decision {
    /// Whether [`PublishPlan::edits`] change the payload.
    pub(crate) edited: bool,
    /// The open producer span of the publish, or its record for those who watch messages.
    pub(crate) span: Option<SpanRecord>,
    /// The span whose context was added.
    pub(crate) injected: Option<SpanId>,
    /// The receivers whose number the reply has to confirm.
    pub(crate) expected: Option<ExpectedReceivers>,
}

impl Decision {
    /// The decision about a publish that goes on as it came.
    pub(crate) fn pass(span: Option<SpanRecord>) -> Self {
        Self { span, ..Self::default() }
    }

    /// Adds what is known of the cause of a publish that goes on as it came.
    #[cold]
    pub(crate) fn attribute(&mut self, attribution: &Attribution, policy: &Policy) {
        if let (Some(span), Some((cause, rule))) = (&mut self.span, &attribution.cause)
            && !span.handling.untraced
        {
            policy.attribute(span, cause, rule);
        }
    }
}

impl PublishPlan {
    /// Drops what depends on the policy, because another one is in force.
    pub(crate) fn policy_changed(&mut self) {
        self.channels.invalidate();
    }

    /// The edits of the last decision.
    pub(crate) fn edits(&self) -> &Edits {
        &self.edits
    }

    /// Decides whether the payload of a publish has to be seen, by the publish's head and the length of
    /// the payload in bytes.
    pub(crate) fn admit(&mut self, publish: &Publish<'_>, len: u64, call: &mut Call<'_>) -> Admission {
        let policy = &**call.env.policy;
        let Some(channel) = publish.channel else {
            call.out.counts.count(if policy.enabled { Counter::SkippedSize } else { Counter::SkippedMode });
            return Admission::Pass(None);
        };
        let rule = self.channels.look_up(channel, policy);
        let skipped = if !policy.enabled {
            Counter::SkippedMode
        } else if !rule.traced {
            Counter::SkippedChannel
        } else if exceeds(len, policy.inject_limit) {
            Counter::SkippedSize
        } else if call.env.memory_is_scarce && exceeds(len, LEN_WHEN_SCARCE) {
            Counter::SkippedMemory
        } else {
            return Admission::Hold;
        };
        call.out.counts.count(skipped);
        Admission::Pass(self.pass(publish, len, skipped, call))
    }

    /// The record of a publish whose payload is not read. A publish that is only too long has a producer span all the same.
    fn pass(&mut self, publish: &Publish<'_>, len: u64, skipped: Counter, call: &mut Call<'_>) -> Option<SpanRecord> {
        let Environment { policy, watched, .. } = call.env;
        let rule = self.channels.last(policy);
        let mut operation = || operation(&mut self.channels, publish.sharded, len, policy);
        let change = Change::Skipped(skipped);
        if !matches!(skipped, Counter::SkippedSize | Counter::SkippedMemory)
            || !matches!(rule.mode, Mode::Inject | Mode::Auto)
        {
            // The name of a channel that belongs to Redis may contain the name of a key.
            let is_reserved = publish.channel.is_none_or(Policy::is_reserved);
            return (watched && !is_reserved).then(|| untraced(None, None, publish.start, change, operation()));
        }
        let (context, sampled) = child_of(None, policy, call.env.ids);
        (sampled || watched).then(|| record(context, None, None, publish.start, change, operation()))
    }

    /// The PRODUCER span of a script's publish of `payload`, which goes on as it came. As of a publish, there is none in the
    /// modes that add nothing. No context is ever added to the payload, because it is the script's input, so it goes beside
    /// the message wherever that of a publish might.
    #[cold]
    pub(crate) fn span_of_script(
        &mut self,
        publish: &Publish<'_>,
        payload: &[u8],
        attribution: Option<&Attribution>,
        call: &mut Call<'_>,
    ) -> Option<SpanRecord> {
        let Environment { policy, watched, .. } = call.env;
        let channel = publish.channel.filter(|channel| policy.enabled && channel.len() <= MAX_CHANNEL_LEN)?;
        let rule = self.channels.look_up(channel, policy);
        if !rule.traced || !matches!(rule.mode, Mode::Inject | Mode::Auto) {
            return None;
        }
        let (parent, link) =
            attribution.map_or((None, None), |attribution| parent_and_link(attribution, policy.follow));
        let named = beside::of_script(channel, payload, rule, &mut self.channels, call);
        let (context, sampled) = match (parent, link, &named) {
            (None, None, Some(named)) => beside::root(named, policy, call.env.ids),
            (parent, None, _) => child_of(parent, policy, call.env.ids),
            (_, link, _) => linked_to(link, policy, call.env.ids),
        };
        let change = match &named {
            None if rule.carrier != Carrier::Beside => Change::None,
            _ => Change::Skipped(Counter::SkippedBeside),
        };
        let len = u64::try_from(payload.len()).unwrap_or(u64::MAX);
        let operation = operation(&mut self.channels, false, len, policy);
        (sampled || watched || named.is_some()).then(|| SpanRecord {
            inferred: beside::telling(named, &mut self.numbers, attribution.and_then(inferred), parent, &mut call.env),
            ..record(context, parent, link, publish.start, change, operation)
        })
    }

    /// Decides about a publish that was admitted and whose payload is complete. `attribution` is what is known of its cause, if
    /// causes are followed.
    pub(crate) fn decide(
        &mut self,
        publish: &Publish<'_>,
        payload: Bulk<'_>,
        standing: Standing,
        attribution: Option<&Attribution>,
        call: &mut Call<'_>,
    ) -> Decision {
        let Self { channels, edits, numbers } = self;
        let Environment { policy, watched, wall_offset, .. } = call.env;
        let rule = channels.last(policy);
        let body = payload.body();
        let place = policy.place(publish.channel.unwrap_or_default(), rule);
        let mut added = believed(body, &place, policy, call.out);
        let carried = carried_by(body, added.as_mut(), rule, policy);
        let carried = carried.as_ref().filter(|_| policy.trust == Trust::All);
        let size = body.len() - added.as_ref().map_or(0, |added| added.range.len());
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        let permission = permission(publish, standing, rule, call);
        let named = match (&permission, carried, &added, publish.channel) {
            (Err(skipped), None, None, Some(channel)) if beside::is_used(*skipped, call) => {
                beside::named(channel, publish.sharded, body, channels, call)
            }
            _ => None,
        };
        let mut operation = || operation(channels, publish.sharded, size, policy);
        // In mode `auto` the publish has a producer span all the same, which says why no context was added.
        if let (Err(skipped), None) = (&permission, carried)
            && rule.mode != Mode::Auto
            && *skipped != Counter::SkippedBeside
        {
            call.out.counts.count(*skipped);
            let change = Change::Skipped(*skipped);
            let span = watched.then(|| untraced(None, None, publish.start, change, operation()));
            return Decision::pass(span);
        }
        let attribution = attribution.filter(|_| carried.is_none());
        let (parent, link) = match attribution {
            None => (carried, None),
            Some(attribution) => parent_and_link(attribution, policy.follow),
        };
        let (context, sampled) = match (parent, link, &named) {
            (None, None, Some(named)) => beside::root(named, policy, call.env.ids),
            (parent, None, _) => child_of(parent, policy, call.env.ids),
            (_, link, _) => linked_to(link, policy, call.env.ids),
        };
        let form = added.as_ref().map_or(rule.carrier, |added| added.form);
        let context = carrier::carried_span(context, form, body, added.as_ref());
        let injected = permission.and_then(|expected| {
            let outgoing = outgoing(context, parent, publish.start, wall_offset, policy);
            let bytes = edits.begin();
            let range = write_context(body, added.as_ref(), &outgoing, &place, policy, bytes)?;
            let written = bytes.len();
            let limit = expected.map_or(policy.inject_limit, |expected| policy.inject_limit.min(expected.max_payload));
            check_len(body.len(), body.len() - range.len() + written, limit, standing)?;
            edits.replace_in_bulk(payload, range, 0..written);
            Ok(expected)
        });
        let (counter, change) = match injected {
            Ok(_) => (Counter::Injected, Change::Injected),
            Err(skipped) => (skipped, Change::Skipped(skipped)),
        };
        call.out.counts.count(counter);
        // What is not sampled is told as well, so that who gets the message decides alike.
        let span = (sampled || watched || named.is_some()).then(|| {
            let inferred = beside::telling(named, numbers, attribution.and_then(inferred), parent, &mut call.env);
            SpanRecord { inferred, ..record(context, parent, link, publish.start, change, operation()) }
        });
        let added = injected.is_ok().then_some(context.span_id);
        Decision { edited: injected.is_ok(), span, injected: added, expected: injected.ok().flatten() }
    }
}

/// The context in a payload of the service that another proxy added, if such a context is believed. One that is not is part of
/// the payload: it stays, and the new context is added to it.
fn believed(payload: &[u8], place: &Place<'_>, policy: &Policy, out: &mut Output) -> Option<Added> {
    if policy.trust != Trust::All {
        return None;
    }
    let added = carrier::find_added(payload, place)?;
    if added.is_forged {
        out.counts.count(Counter::Forged);
        return None;
    }
    Some(added)
}

/// What a span tells of a publish on the channel that was looked up last.
fn operation(channels: &mut ChannelCache, sharded: bool, body_size: u64, policy: &Policy) -> Operation {
    let (channel, _) = channels.destination(None, policy);
    Operation::Publish { channel, sharded, receivers: None, body_size }
}

/// Whether a context may be added to a publish, and, in mode `auto`, the receivers that this decision rests on.
fn permission(
    publish: &Publish<'_>,
    standing: Standing,
    rule: Rule,
    call: &Call<'_>,
) -> Result<Option<ExpectedReceivers>, Counter> {
    match rule.mode {
        Mode::Inject | Mode::Auto if rule.carrier == Carrier::Beside => Err(Counter::SkippedBeside),
        Mode::Inject => Ok(None),
        Mode::Strip | Mode::Observe => Err(Counter::SkippedMode),
        Mode::Auto => {
            expected_receivers(publish, standing, rule, call.env.audience).map(Some).map_err(NotProven::counter)
        }
    }
}

#[cold]
fn expected_receivers(
    publish: &Publish<'_>,
    standing: Standing,
    rule: Rule,
    audience: Option<&dyn Audience>,
) -> Result<ExpectedReceivers, NotProven> {
    if rule.carrier != Carrier::Trailer {
        // A proxy removes the other forms only if its own settings name them for the channel. Those of others are not known.
        return Err(NotProven::NoEvidence);
    }
    let channel = publish.channel.ok_or(NotProven::NoEvidence)?;
    let expected = audience.ok_or(NotProven::NoEvidence)?.expected_receivers(channel, publish.sharded)?;
    standing.prompt.then_some(expected).ok_or(NotProven::Order)
}

/// The context that travels with the message.
fn outgoing(
    span: SpanContext,
    parent: Option<&Context>,
    start: UnixNanos,
    wall_offset: i64,
    policy: &Policy,
) -> Context {
    Context {
        span,
        trace_state: parent.and_then(|parent| parent.trace_state.as_ref()).map(limited_trace_state),
        baggage: passed_baggage(parent, policy),
        published: policy.transit_time.then(|| UnixNanos(start.0.saturating_add_signed(wall_offset))),
    }
}

/// Writes `context` to `bytes`, in the channel's carrier or in the form of the context that it replaces. Returns the
/// range of the payload that these bytes replace.
fn write_context(
    payload: &[u8],
    added: Option<&Added>,
    context: &Context,
    place: &Place<'_>,
    policy: &Policy,
    bytes: &mut Vec<u8>,
) -> Result<Range<usize>, Counter> {
    if !policy.propagators.carries_traces() {
        return Err(Counter::SkippedMode);
    }
    match added {
        Some(added) => {
            carrier::replace(payload, added, place, context, bytes);
            Ok(added.range.clone())
        }
        None => match carrier::add(payload, place, context, policy.propagators, bytes) {
            Some(at) => Ok(at..at),
            None => Err(Counter::SkippedCarrier),
        },
    }
}

/// Whether a payload may grow from `before` to `after` bytes.
fn check_len(before: usize, after: usize, limit: usize, standing: Standing) -> Result<(), Counter> {
    if after > limit {
        Err(Counter::SkippedSize)
    } else if !standing.authenticated && (before..after).contains(&UNAUTHENTICATED_BULK_LEN) {
        Err(Counter::SkippedUnauthenticated)
    } else {
        Ok(())
    }
}
