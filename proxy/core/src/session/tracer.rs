//! Which context a message gets, what is removed from it, and the span that tells of it.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use super::Call;
use super::channel::{ChannelMemo, text};
use super::hold::Splice;
use crate::carrier::{self, Carrier};
use crate::counts::Counter;
use crate::policy::{Mode, Policy, Relation, Rule, Trust};
use crate::service::{Audience, Audiences, Unknown, Witness};
use crate::trace::{
    Change, Context, Handling, Ids, Operation, SpanContext, SpanId, SpanRecord, TraceFlags, TraceId, UNKNOWN_COMMAND,
    UnixNanos,
};

/// Longest bulk string, in bytes, that Redis takes before authentication: a longer one is a protocol error
/// (`unauthenticated bulk length`, seen on Redis 7.0 and 8.2 and on Valkey 9.1).
const UNAUTHENTICATED_BULK_LEN: usize = 16 * 1024;

/// The decisions about single messages. What is remembered here only saves work.
#[derive(Debug)]
pub(super) struct Tracer {
    policy: Arc<Policy>,
    published: ChannelMemo,
    delivered: ChannelMemo,
    inserted: Vec<u8>,
    /// Whether any channel's mode is `auto`.
    auto: bool,
    audiences: Option<Arc<dyn Audiences>>,
}

/// What a publish becomes.
#[derive(Default)]
pub(super) struct Traced<'a> {
    /// What changes in its payload.
    pub(super) splice: Option<Splice<'a>>,
    /// Its open producer span.
    pub(super) span: Option<SpanRecord>,
    /// What its reply has to say.
    pub(super) witness: Option<Witness>,
}

/// A publish whose payload is complete.
pub(super) struct Publish<'a> {
    pub(super) channel: &'a [u8],
    pub(super) payload: &'a [u8],
    pub(super) sharded: bool,
    /// Whether Redis has answered a command as it only does after authentication.
    pub(super) authenticated: bool,
    /// Whether Redis will execute it as soon as it comes, and its reply will be told apart. Looked at in mode `auto` only.
    pub(super) prompt: bool,
    /// When its first byte was read.
    pub(super) start: UnixNanos,
}

/// A message whose payload is complete.
pub(super) struct Delivery<'a> {
    pub(super) channel: &'a [u8],
    pub(super) pattern: Option<&'a [u8]>,
    pub(super) payload: &'a [u8],
    pub(super) sharded: bool,
}

/// A message whose payload is not looked at.
pub(super) struct Unread<'a> {
    pub(super) channel: &'a [u8],
    pub(super) pattern: Option<&'a [u8]>,
    pub(super) len: u64,
    pub(super) sharded: bool,
}

impl Tracer {
    pub(super) fn new(policy: Arc<Policy>) -> Self {
        let auto = policy.uses(Mode::Auto);
        Self {
            policy,
            published: ChannelMemo::default(),
            delivered: ChannelMemo::default(),
            inserted: Vec::new(),
            auto,
            audiences: None,
        }
    }

    pub(super) fn set_policy(&mut self, policy: Arc<Policy>) {
        self.auto = policy.uses(Mode::Auto);
        self.policy = policy;
        self.published.forget();
        self.delivered.forget();
    }

    pub(super) fn set_audiences(&mut self, audiences: Arc<dyn Audiences>) {
        self.audiences = Some(audiences);
    }

    /// Whether any channel's mode is `auto`.
    pub(super) fn uses_auto(&self) -> bool {
        self.auto
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whether a publish must be complete before it goes on. `channel` is `None` if its name is too long.
    pub(super) fn wants_publish(&mut self, channel: Option<&[u8]>, len: u64, call: &mut Call<'_>) -> bool {
        let skipped = if !self.policy.enabled {
            Counter::SkippedMode
        } else if let Some(channel) = channel {
            if !self.published.look_up(channel, &self.policy).1.traced {
                Counter::SkippedChannel
            } else if len > self.policy.inject_limit as u64 {
                Counter::SkippedSize
            } else {
                return true;
            }
        } else {
            Counter::SkippedSize
        };
        call.out.counts.count(skipped);
        false
    }

    /// A publish that goes on as it is because of its size: a producer span tells of it all the same.
    #[cold]
    pub(super) fn publish_unread(
        &mut self,
        channel: &[u8],
        sharded: bool,
        len: u64,
        ids: &mut dyn Ids,
        start: UnixNanos,
        watched: bool,
    ) -> Option<SpanRecord> {
        let (name, rule) = self.published.look_up(channel, &self.policy);
        let operation = || Operation::Publish { channel: name.clone(), sharded, receivers: None, body_size: len };
        if !rule.traced || !self.policy.enabled || rule.mode != Mode::Inject {
            let reason = match rule.traced {
                _ if !self.policy.enabled => Counter::SkippedMode,
                true => Counter::SkippedSize,
                false => Counter::SkippedChannel,
            };
            // The name of a channel of Redis's own may hold a key's.
            let watched = watched && !Policy::is_reserved(channel);
            return watched.then(|| untraced(None, start, Change::Skipped(reason), operation()));
        }
        let (context, sampled) = child_of(None, &self.policy, ids);
        let skipped = Handling { payload: Change::Skipped(Counter::SkippedSize), untraced: false };
        (sampled || watched).then(|| record(context, None, None, start, skipped, operation()))
    }

    /// Decides about a publish.
    pub(super) fn publish(&mut self, publish: &Publish<'_>, ids: &mut dyn Ids, call: &mut Call<'_>) -> Traced<'_> {
        let Self { policy, published, inserted, audiences, .. } = self;
        let (name, rule) = published.look_up(publish.channel, policy);
        let payload = publish.payload;
        let added = carrier::find_added(payload, rule.carrier);
        let trusted = policy.trust == Trust::All;
        let parent = context_of(payload, added.as_ref(), rule, policy).filter(|_| trusted);
        let (mut limit, mut witness) = (policy.inject_limit, None);
        let injects = match rule.mode {
            Mode::Inject => Ok(()),
            Mode::Strip | Mode::Observe => Err(Counter::SkippedMode),
            Mode::Auto => match audience(publish, rule, audiences.as_deref()) {
                Ok(Audience { receivers, longest, token }) => {
                    limit = limit.min(longest);
                    witness = Some(Witness { receivers, token });
                    Ok(())
                }
                Err(unknown) => Err(unknown.counter()),
            },
        };
        let added_len = added.as_ref().map_or(0, |added| added.range.len());
        let operation = || Operation::Publish {
            channel: name.clone(),
            sharded: publish.sharded,
            receivers: None,
            body_size: (payload.len() - added_len) as u64,
        };
        let watched = call.out.watched;
        if let (Err(skipped), None) = (injects, &parent) {
            call.out.counts.count(skipped);
            let span = watched.then(|| untraced(None, publish.start, Change::Skipped(skipped), operation()));
            return Traced { span, ..Traced::default() };
        }
        let (context, sampled) = child_of(parent.as_ref(), policy, ids);
        let injected = Handling { payload: Change::Injected, untraced: false };
        let span =
            (sampled || watched).then(|| record(context, parent.as_ref(), None, publish.start, injected, operation()));
        let injects = injects.and(policy.propagators.carries_traces().then_some(()).ok_or(Counter::SkippedMode));
        if let Err(skipped) = injects {
            return skip(skipped, span, call);
        }
        let outgoing = Context {
            span: context,
            trace_state: parent.as_ref().and_then(|parent| parent.trace_state.clone()),
            baggage: parent.and_then(|parent| parent.baggage).filter(|_| policy.propagators.baggage),
            published: policy
                .transit_time
                .then(|| UnixNanos(publish.start.0.saturating_add_signed(call.out.wall_offset))),
        };
        inserted.clear();
        let range = match added {
            Some(added) => {
                carrier::replace(payload, &added, &outgoing, inserted);
                added.range
            }
            None => match carrier::add(payload, rule.carrier, &outgoing, policy.propagators, inserted) {
                Some(at) => at..at,
                None => return skip(Counter::SkippedCarrier, span, call),
            },
        };
        let new_len = payload.len() - range.len() + inserted.len();
        if new_len > limit {
            return skip(Counter::SkippedSize, span, call);
        }
        if !publish.authenticated && payload.len() <= UNAUTHENTICATED_BULK_LEN && new_len > UNAUTHENTICATED_BULK_LEN {
            return skip(Counter::SkippedUnauthenticated, span, call);
        }
        call.out.counts.count(Counter::Injected);
        Traced { splice: Some(Splice { range, insert: inserted }), span, witness }
    }

    /// Whether a message must be complete before it goes on. `channel` is `None` if its name is too long.
    pub(super) fn wants_delivery(&self, channel: Option<&[u8]>, len: u64, call: &mut Call<'_>) -> bool {
        let reserved = channel.is_some_and(Policy::is_reserved);
        call.out.counts.add(Counter::DeliveredReserved, u64::from(reserved));
        let may_carry = channel.is_some() && !reserved;
        let fits = len <= self.policy.strip_limit() as u64;
        if may_carry && !fits || channel.is_none() {
            call.out.counts.count(Counter::DeliveredUnread);
        }
        may_carry && fits
    }

    /// Decides about a delivered message: the part of the payload that is removed. Its consumer span goes to the
    /// output, to be ended when the message has been written.
    pub(super) fn deliver(
        &mut self,
        delivery: &Delivery<'_>,
        ids: &mut dyn Ids,
        call: &mut Call<'_>,
    ) -> Option<Range<usize>> {
        let Self { policy, delivered, .. } = self;
        let (name, rule) = delivered.look_up(delivery.channel, policy);
        let payload = delivery.payload;
        let added = carrier::find_added(payload, rule.carrier);
        let trusted = policy.trust != Trust::None;
        if let Some(published) = added.as_ref().and_then(|added| added.context.as_ref()?.published).filter(|_| trusted)
        {
            call.out.published_at.push(published);
        }
        let stays = |form| rule.keep_context && form != Carrier::Trailer;
        let removed = match &added {
            Some(added) if rule.mode != Mode::Observe && !stays(added.form) => Some(added.range.clone()),
            _ => None,
        };
        if removed.is_some() {
            call.out.counts.count(Counter::Stripped);
        }
        let change = if removed.is_some() { Change::Stripped } else { Change::None };
        let operation = || Operation::Deliver {
            channel: name.clone(),
            pattern: delivery.pattern.map(text),
            sharded: delivery.sharded,
            body_size: (payload.len() - removed.as_ref().map_or(0, Range::len)) as u64,
        };
        let untold = !policy.enabled || !rule.traced;
        if untold && !call.out.watched {
            return removed;
        }
        let parent = context_of(payload, added.as_ref(), rule, policy).filter(|_| trusted);
        if untold || parent.is_none() && rule.mode != Mode::Inject {
            if call.out.watched {
                call.out.deliveries.push(untraced(parent.as_ref(), call.now, change, operation()));
            }
            return removed;
        }
        let (parent, link) = match policy.relation {
            Relation::Parent => (parent, None),
            Relation::Link => (None, parent.map(|parent| parent.span)),
        };
        let (context, sampled) = child_of(parent.as_ref(), policy, ids);
        if sampled || call.out.watched {
            let handling = Handling { payload: change, untraced: false };
            call.out.deliveries.push(record(context, parent.as_ref(), link, call.now, handling, operation()));
        }
        removed
    }

    /// A message that is delivered without a look into its payload: nothing tells of it but to who watches.
    #[cold]
    pub(super) fn deliver_unread(&self, message: &Unread<'_>, call: &mut Call<'_>) {
        // The name of a channel of Redis's own may hold a key's.
        if call.out.watched && !Policy::is_reserved(message.channel) {
            let operation = Operation::Deliver {
                channel: text(message.channel),
                pattern: message.pattern.map(text),
                sharded: message.sharded,
                body_size: message.len,
            };
            call.out.deliveries.push(untraced(None, call.now, Change::None, operation));
        }
    }

    /// A CLIENT span for a command, a root unless it is not sampled.
    pub(super) fn command(
        &mut self,
        name: &[u8],
        database: u32,
        start: UnixNanos,
        ids: &mut dyn Ids,
    ) -> Option<SpanRecord> {
        let (context, sampled) = child_of(None, &self.policy, ids);
        // A name that is too long to be a command's has not been kept.
        let name = if name.is_empty() { UNKNOWN_COMMAND.into() } else { text(name) };
        let operation = Operation::Command { name, database, batch_size: None };
        sampled.then(|| record(context, None, None, start, Handling::default(), operation))
    }
}

/// Who gets this publish, if it may get a context for them.
#[cold]
fn audience(publish: &Publish<'_>, rule: Rule, audiences: Option<&dyn Audiences>) -> Result<Audience, Unknown> {
    if rule.carrier == Carrier::OpenCensus {
        // Removed only where a proxy is told that this channel has it, and that is not known of other proxies.
        return Err(Unknown::NoEvidence);
    }
    let known = audiences.ok_or(Unknown::NoEvidence)?.audience(publish.channel, publish.sharded)?;
    publish.prompt.then_some(known).ok_or(Unknown::Order)
}

/// A new span's identity, and whether it is recorded. The decision travels in the flags either way.
fn child_of(parent: Option<&Context>, policy: &Policy, ids: &mut dyn Ids) -> (SpanContext, bool) {
    let parent = parent.map(|parent| &parent.span);
    let trace_id = parent.map_or_else(|| ids.trace_id(), |parent| parent.trace_id);
    let sampled = policy.sampler.samples(trace_id, parent);
    let flags = parent.map_or(TraceFlags::default(), |parent| parent.flags).with_sampled(sampled);
    (SpanContext { trace_id, span_id: ids.span_id(), flags }, sampled)
}

/// The context that a payload carries, whoever put it there. None is understood with `OTEL_PROPAGATORS=none`.
fn context_of(payload: &[u8], added: Option<&carrier::Added>, rule: Rule, policy: &Policy) -> Option<Context> {
    if !policy.propagators.carries_traces() {
        return None;
    }
    match added {
        Some(added) => added.context.clone(),
        None => carrier::find_supplied(payload, rule.carrier, rule.read_json, policy.propagators),
    }
}

/// A span that is not finished yet: its end is its start.
fn record(
    context: SpanContext,
    parent: Option<&Context>,
    link: Option<SpanContext>,
    start: UnixNanos,
    handling: Handling,
    operation: Operation,
) -> SpanRecord {
    SpanRecord {
        parent: parent.map(|parent| parent.span.span_id),
        link,
        trace_state: parent.and_then(|parent| parent.trace_state.clone()),
        handling,
        ..SpanRecord::new(context, start, operation)
    }
}

/// A publish that goes on as it came, and why.
#[cold]
fn skip<'a>(reason: Counter, mut span: Option<SpanRecord>, call: &mut Call<'_>) -> Traced<'a> {
    call.out.counts.count(reason);
    if let Some(span) = &mut span {
        span.handling.payload = Change::Skipped(reason);
    }
    Traced { span, ..Traced::default() }
}

/// What who watches is told of a message that has no span.
fn untraced(parent: Option<&Context>, at: UnixNanos, payload: Change, operation: Operation) -> SpanRecord {
    let trace_id = parent.map_or(TraceId::MIN, |parent| parent.span.trace_id);
    // No id is made, so that watching changes none of those that are.
    let context = SpanContext { trace_id, span_id: SpanId::MIN, flags: TraceFlags::default() };
    record(context, parent, None, at, Handling { payload, untraced: true }, operation)
}
