//! The plan for delivered messages, which removes a context from the payload.

use alloc::vec::Vec;
use core::ops::Range;

use super::channel_cache::ChannelCache;
use super::context::{Consumer, carried_by, derived_context, untraced};
use super::{Bulk, Edits, exceeds};
use crate::carrier::derived::{Identity, Ids};
use crate::carrier::{self, Added, Carrier};
use crate::counts::Counter;
use crate::output::{Call, Output};
use crate::policy::{Forged, Mode, Policy, Rule, Trust};
use crate::service::{Environment, Event, NamedMessage, ObservedDelivery};
use crate::trace::{Change, Context, Operation, SpanContext, SpanId};

/// The rules for messages. The state of the plan only saves work.
#[derive(Debug, Default)]
pub(crate) struct DeliverPlan {
    channels: ChannelCache,
    edits: Edits,
}

/// The head of a `message`, `smessage` or `pmessage`, which is all that is known before its payload.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a> {
    /// The channel's name; `None` if it is too long to be kept.
    pub(crate) channel: Option<&'a [u8]>,
    /// The pattern of a `pmessage`, if it is not too long to be kept.
    pub(crate) pattern: Option<&'a [u8]>,
    pub(crate) sharded: bool,
}

impl DeliverPlan {
    /// Drops what depends on the policy, because another one is in force.
    pub(crate) fn policy_changed(&mut self) {
        self.channels.invalidate();
    }

    /// The edits of the last decision.
    pub(crate) fn edits(&self) -> &Edits {
        &self.edits
    }

    /// Decides whether the payload of a message has to be seen, by the message's head and the length of
    /// the payload in bytes.
    pub(crate) fn admit(&mut self, message: &Message<'_>, len: u64, call: &mut Call<'_>) -> bool {
        let Some(channel) = message.channel else {
            call.out.counts.count(Counter::DeliveredUnread);
            tell_inference(Observed::default(), call);
            return false;
        };
        if Policy::is_reserved(channel) {
            // The channel's name may contain the name of a key, so watchers do not get a record of the message either.
            call.out.counts.count(Counter::DeliveredReserved);
            tell_inference(Observed { channel, ..Observed::default() }, call);
            return false;
        }
        let fits = !exceeds(len, call.env.policy.strip_limit());
        if !fits {
            call.out.counts.count(Counter::DeliveredUnread);
            let id = tell_inference(Observed { channel, ..Observed::default() }, call);
            if call.env.watched {
                self.channels.look_up(channel, call.env.policy);
                let operation = operation(&mut self.channels, message, len, call.env.policy);
                let record = untraced(None, id, call.env.now, Change::None, operation);
                call.out.events.push(Event::Delivered(record));
            }
        }
        fits
    }

    /// Decides about a message that was admitted and whose payload is complete. Returns whether [`DeliverPlan::edits`]
    /// change the payload. An event reports the consumer span, whose end is set when the message has been written.
    pub(crate) fn decide(&mut self, message: &Message<'_>, payload: Bulk<'_>, call: &mut Call<'_>) -> bool {
        let Self { channels, edits } = self;
        let Environment { now, policy, watched, .. } = call.env;
        let channel = message.channel.unwrap_or_default();
        let rule = channels.look_up(channel, policy);
        let body = payload.body();
        let mut added = carrier::find_added(body, &policy.place(channel, rule));
        let is_trusted = policy.trust != Trust::None;
        // Anybody can write a time. One that no key proves counts only if the operator has asked for such times here too.
        if let Some(published) = added.as_ref().and_then(|added| added.context.as_ref()?.published)
            && is_trusted
            && (policy.transit_time || !policy.keys.is_empty())
        {
            call.out.events.push(Event::PublishedAt(published));
        }
        let fate = added.as_ref().map_or(Fate::Stays, |added| fate(added, rule, policy, call.out));
        let mut carried = carried_by(body, added.as_mut(), rule, policy);
        let mut removed = if let (Fate::Removed, Some(added)) = (&fate, &added) { added.range.len() } else { 0 };
        if rule.strip_supplied && rule.mode != Mode::Observe && !matches!(fate, Fate::HandedOn(_)) {
            let range = added.as_ref().map(|added| added.range.clone()).filter(|_| removed > 0);
            let (supplied, ranges) = removable(body, range, policy);
            carried = carried.or(supplied);
            removed = ranges.iter().map(Range::len).sum();
            edits.begin();
            edits.remove_from_bulk(payload, &ranges);
        } else if let (Fate::Removed, Some(added)) = (&fate, &added) {
            edits.begin();
            edits.replace_in_bulk(payload, added.range.clone(), 0..0);
        }
        let parent = carried.as_ref().filter(|_| is_trusted);
        let change = if removed > 0 {
            call.out.counts.count(Counter::Stripped);
            Change::Stripped
        } else {
            Change::None
        };
        let size = u64::try_from(body.len().saturating_sub(removed)).unwrap_or(u64::MAX);
        let mut operation = || operation(channels, message, size, policy);
        let mut awaits = match parent {
            None if added.is_none() && call.env.inference.is_some() => named(message, body, rule, call),
            _ => None,
        };
        let needs_context = awaits.is_some() && rule.mode != Mode::Inject;
        let is_untraced =
            !policy.enabled || !rule.traced || parent.is_none() && rule.mode != Mode::Inject && !needs_context;
        let mut own = None;
        if !is_untraced {
            let span = Consumer::of(parent, policy, call.env.ids);
            if span.is_sampled || watched || awaits.is_some() {
                let mut record = span.record(now, change, operation());
                if let Some(named) = &mut awaits {
                    named.span = span.context;
                    let inferred = record.inferred.get_or_insert_default();
                    (inferred.awaits_context, inferred.needs_context) = (true, needs_context);
                }
                call.out.events.push(Event::Delivered(record));
            }
            own = Some(span);
        }
        let mut id = None;
        if call.env.inference.is_some() {
            let range = added.as_ref().map(|added| added.range.clone()).filter(|_| removed > 0);
            let context = own.as_ref().filter(|_| !needs_context).map(Consumer::passed_on);
            let known = own.as_ref().map(|own| own.context.span_id);
            let payload = visible(body, range);
            id = tell_inference(Observed { known, context, publish: parent, channel, payload, awaits }, call);
        }
        if is_untraced && watched {
            call.out.events.push(Event::Delivered(untraced(parent, id, now, change, operation())));
        }
        if let (Fate::HandedOn(as_it_came), Some(added)) = (fate, &added) {
            let bytes = edits.begin();
            carrier::hand_on(body, added, own.map_or(as_it_came, |own| own.context), bytes);
            let written = bytes.len();
            edits.replace(payload.position(added.range.clone()), 0..written);
            return true;
        }
        removed > 0
    }
}

/// What the inference of causes is told of a delivery.
#[derive(Default)]
struct Observed<'a> {
    /// The id of its span, if it has one.
    known: Option<SpanId>,
    /// What it causes descends from.
    context: Option<Context>,
    /// The context of the span that it comes from.
    publish: Option<&'a Context>,
    channel: &'a [u8],
    payload: &'a [u8],
    awaits: Option<NamedMessage<'a>>,
}

/// Tells the inference of causes, if there is one, of a delivery. Returns what the inference knows it by.
#[cold]
fn tell_inference(observed: Observed<'_>, call: &mut Call<'_>) -> Option<SpanId> {
    call.env.inference.as_ref()?;
    let Observed { known, context, publish, channel, payload, awaits } = observed;
    let id = known.unwrap_or_else(|| call.env.ids.span_id());
    let publish = publish.map(|publish| publish.span);
    if let Some(inference) = call.env.inference.as_deref_mut() {
        let delivery = ObservedDelivery { id, context: context.as_ref(), publish, channel, payload, awaits };
        inference.delivered(call.env.now, &delivery);
    }
    Some(id)
}

/// What names a message that carries no context to other proxies, if one of them may tell it. Its span is not known yet.
#[cold]
fn named<'a>(message: &Message<'a>, payload: &[u8], rule: Rule, call: &Call<'_>) -> Option<NamedMessage<'a>> {
    let Environment { policy, inference, .. } = &call.env;
    let is_heard = rule.traced && rule.mode != Mode::Observe && policy.hears_of_messages();
    if !is_heard || !inference.as_ref().is_some_and(|inference| inference.hears_of_messages()) {
        return None;
    }
    let identity = Identity::of_message(message.channel?, message.sharded, payload)?;
    let (derived, ids) = (derived_context(identity, policy)?, Ids::of(payload));
    let (name, holds_id) = (derived.trace_id, ids != Ids::None);
    let own = Some(derived).filter(|_| ids == Ids::WithMore);
    Some(NamedMessage { name, holds_id, pattern: message.pattern, span: derived, derived: own })
}

/// The payload without the context that is removed from its beginning or its end.
fn visible(payload: &[u8], removed: Option<Range<usize>>) -> &[u8] {
    match removed {
        Some(removed) if removed.end == payload.len() => payload.get(..removed.start).unwrap_or_default(),
        Some(removed) if removed.start == 0 => payload.get(removed.end..).unwrap_or_default(),
        _ => payload,
    }
}

/// What becomes of a context that a proxy added, or that somebody made look so.
enum Fate {
    /// It is delivered as it came.
    Stays,
    Removed,
    /// The service gets it with the identity of the delivery. Without a span of the delivery it is the one that came.
    HandedOn(SpanContext),
}

fn fate(added: &Added, rule: Rule, policy: &Policy, out: &mut Output) -> Fate {
    if added.is_forged {
        out.counts.count(Counter::Forged);
    }
    match &added.context {
        _ if rule.mode == Mode::Observe => Fate::Stays,
        Some(context) if rule.keep_context && added.form != Carrier::Trailer => Fate::HandedOn(context.span),
        None if policy.forged == Forged::Keep => Fate::Stays,
        _ => Fate::Removed,
    }
}

/// The ranges of a payload to remove where the application's own context goes too, and that context. `added` is removed in any
/// case.
#[cold]
fn removable(payload: &[u8], added: Option<Range<usize>>, policy: &Policy) -> (Option<Context>, Vec<Range<usize>>) {
    // In front of a trailer. A proxy adds a context in another form only where the application has none.
    let end = added.as_ref().map_or(payload.len(), |added| added.start);
    let supplied = carrier::find_removable(payload.get(..end).unwrap_or_default(), policy.propagators);
    let (context, mut ranges) = supplied.map_or((None, Vec::new()), |(context, ranges)| (Some(context), ranges));
    ranges.extend(added);
    (context, ranges)
}

/// What a span tells of a message from the channel that was looked up last.
fn operation(channels: &mut ChannelCache, message: &Message<'_>, body_size: u64, policy: &Policy) -> Operation {
    let (channel, pattern) = channels.destination(message.pattern, policy);
    Operation::Deliver { channel, pattern, sharded: message.sharded, body_size }
}
