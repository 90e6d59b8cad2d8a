//! The plan for delivered messages, which removes a context from the payload.

use alloc::sync::Arc;
use core::ops::Range;

use super::channel_cache::{ChannelCache, text};
use super::context::{carried_by, child_of, record, untraced};
use super::{Bulk, Edits, exceeds};
use crate::carrier::{self, Carrier};
use crate::counts::Counter;
use crate::output::Call;
use crate::policy::{Mode, Policy, Relation, Trust};
use crate::service::{Environment, Event};
use crate::trace::{Change, Operation};

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
            return false;
        };
        if Policy::is_reserved(channel) {
            // The channel's name may contain the name of a key, so watchers do not get a record of the message either.
            call.out.counts.count(Counter::DeliveredReserved);
            return false;
        }
        let fits = !exceeds(len, call.env.policy.strip_limit());
        if !fits {
            call.out.counts.count(Counter::DeliveredUnread);
            if call.env.watched {
                let operation = operation(&text(channel), message, len);
                let record = untraced(None, call.env.now, Change::None, operation);
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
        let (name, rule) = channels.look_up(channel, policy);
        let body = payload.body();
        let mut added = carrier::find_added(body, rule.carrier);
        let is_trusted = policy.trust != Trust::None;
        let published = added.as_ref().and_then(|added| added.context.as_ref()?.published);
        if let Some(published) = published.filter(|_| is_trusted) {
            call.out.events.push(Event::PublishedAt(published));
        }
        let stays = |form| rule.keep_context && form != Carrier::Trailer;
        let removed = match &added {
            Some(added) if rule.mode != Mode::Observe && !stays(added.form) => Some(added.range.clone()),
            _ => None,
        };
        let change = if let Some(range) = &removed {
            edits.begin();
            edits.replace_in_bulk(payload, range.clone(), 0..0);
            call.out.counts.count(Counter::Stripped);
            Change::Stripped
        } else {
            Change::None
        };
        let edited = removed.is_some();
        let is_untraced = !policy.enabled || !rule.traced;
        if is_untraced && !watched {
            return edited;
        }
        let size = body.len() - removed.as_ref().map_or(0, Range::len);
        let operation = || operation(name, message, u64::try_from(size).unwrap_or(u64::MAX));
        let parent = carried_by(body, added.as_mut(), rule, policy).filter(|_| is_trusted);
        if is_untraced || parent.is_none() && rule.mode != Mode::Inject {
            if watched {
                call.out.events.push(Event::Delivered(untraced(parent.as_ref(), now, change, operation())));
            }
            return edited;
        }
        let (parent, link) = match policy.relation {
            Relation::Parent => (parent, None),
            Relation::Link => (None, parent.map(|parent| parent.span)),
        };
        let (context, sampled) = child_of(parent.as_ref(), policy, call.env.ids);
        if sampled || watched {
            let record = record(context, parent.as_ref(), link, now, change, operation());
            call.out.events.push(Event::Delivered(record));
        }
        edited
    }
}

fn operation(name: &Arc<str>, message: &Message<'_>, body_size: u64) -> Operation {
    Operation::Deliver {
        channel: Arc::clone(name),
        pattern: message.pattern.map(text),
        sharded: message.sharded,
        body_size,
    }
}
