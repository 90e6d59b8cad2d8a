//! One connection to Redis, as the inference of causes sees it.

use std::collections::VecDeque;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use redistributed_core::causes::{
    Answer, Command, Connection as CausesConnection, Delivery, QueueItem, QueueRead, Reason, Taking, Ticket,
};
use redistributed_core::policy::Policy;
use redistributed_core::service::{
    Attribution, Bulks, Inference, MAX_ARGUMENTS, MAX_VALUES, NamedItem, ObservedAck, ObservedCommand,
    ObservedDelivery, ObservedItem, ObservedRead, Passage, PendingEntry, Reading, Told,
};
use redistributed_core::trace::{CommandId, Companion, Context, SpanContext, SpanId, TraceId, UnixNanos};

use super::access::Access;
use super::arrivals::{Held, Own};
use super::lateness::Lateness;
use super::messages::Message;
use super::spans::{FollowedSpans, id_of_command, id_of_span};
use super::writers::{Pending, WritersOf};
use super::{Follow, State};
use crate::clock;
use crate::out_of_band::{Interests, Outbox};

/// The most commands of a connection whose replies are waited for. The oldest makes room for further ones.
const MAX_UNANSWERED: usize = 1024;

/// One connection of a service whose causes are followed.
pub struct FollowedConnection {
    follow: Arc<Follow>,
    number: u32,
    last: u32,
    /// Whether deliveries are measured, so that those wait for work too that are not recorded.
    is_measured: bool,
    connection: CausesConnection,
    /// The commands whose replies are waited for, in order.
    unanswered: VecDeque<Unanswered>,
    /// Who has written what, if reads are linked to it.
    writers: Option<WritersOf>,
    /// The Redis whose contexts other proxies tell, if they do.
    interests: Option<Arc<Interests>>,
    /// Whether its messages come as soon as they are published.
    lateness: Arc<Lateness>,
    /// Where other proxies are told which ids the service takes.
    outbox: Option<Arc<Outbox>>,
}

/// A command whose reply is waited for.
struct Unanswered {
    number: CommandId,
    ticket: Ticket,
    cause: Option<u64>,
    /// What it does to keys, if it matters.
    pending: Option<Pending>,
}

impl FollowedConnection {
    pub(super) fn new(follow: Arc<Follow>, number: u32, writers: Option<WritersOf>) -> Self {
        let (connection, unanswered) = (CausesConnection::default(), VecDeque::new());
        Self {
            follow,
            number,
            last: 0,
            is_measured: false,
            connection,
            unanswered,
            writers,
            interests: None,
            lateness: Arc::default(),
            outbox: None,
        }
    }

    /// Says whether deliveries are measured.
    #[must_use]
    pub fn measured(mut self, is_measured: bool) -> Self {
        self.is_measured = is_measured;
        self
    }

    /// Adds the Redis whose contexts other proxies tell.
    #[must_use]
    pub fn hearing(mut self, interests: Arc<Interests>) -> Self {
        self.interests = Some(interests);
        self
    }

    /// Adds where other proxies are told which ids the service takes.
    #[must_use]
    pub fn telling(mut self, outbox: Arc<Outbox>) -> Self {
        self.outbox = Some(outbox);
        self
    }

    /// Notes whether the client takes what has come for it.
    pub fn stalled(&self, is_stalled: bool) {
        self.lateness.stalled(clock::now(), is_stalled);
    }

    /// Notes whether there is more to be read than was read in one turn.
    pub fn behind(&self, is_behind: bool) {
        self.lateness.behind(clock::now(), is_behind);
    }

    /// The inference, if causes are followed by the policy in force.
    pub fn inference(&mut self, policy: &Policy, now: UnixNanos) -> Option<&mut (dyn Inference + 'static)> {
        if self.follow.follows(policy, now) { Some(self) } else { None }
    }

    /// What keeps its spans of which more may become known.
    pub fn spans(&self) -> FollowedSpans {
        FollowedSpans::new(Arc::clone(&self.follow), self.number)
    }

    /// The number of the next command.
    fn next(&mut self) -> Option<CommandId> {
        self.last = self.last.checked_add(1).unwrap_or(1);
        NonZeroU32::new(self.last).map(CommandId)
    }

    /// Waits for the reply to a command.
    fn expect(&mut self, unanswered: Unanswered) {
        if self.unanswered.len() >= MAX_UNANSWERED {
            // Replies may be switched off, and on again.
            self.unanswered.pop_front();
        }
        self.unanswered.push_back(unanswered);
    }

    /// The number of a command among those of all connections.
    fn id(&self, command: CommandId) -> u64 {
        id_of_command(self.number, command)
    }
}

impl Inference for FollowedConnection {
    fn command(&mut self, now: UnixNanos, command: &ObservedCommand<'_>) -> Attribution {
        let Some(number) = self.next() else { return Attribution::default() };
        let observed = command;
        let command = Command { id: self.id(number), name: command.name, arguments: command.arguments.as_slice() };
        let connection = &mut self.connection;
        let (ticket, cause, attribution) = self.follow.with(|state| {
            let sent = state.causes.command(now, connection, &command);
            let (cause, attribution) = state.attribute(now, command.id, sent.answer);
            (sent.ticket, cause, attribution)
        });
        let pending = self.writers.as_ref().and_then(|writers| {
            let access = Access::of(observed.name, observed.arguments.as_slice(), MAX_ARGUMENTS);
            let cause = attribution.cause.as_ref().map(|(cause, _)| cause.span);
            writers.sent(now, observed.database, &access, cause)
        });
        let Some(ticket) = ticket else {
            // A span waits for its cause by this number.
            return Attribution { command: Some(number).filter(|_| attribution.is_undecided), ..attribution };
        };
        self.expect(Unanswered { number, ticket, cause, pending });
        Attribution { command: Some(number), ..attribution }
    }

    fn reads(&mut self, now: UnixNanos, read: &ObservedRead<'_>) -> Reading {
        let connection = &mut self.connection;
        let read = QueueRead { key: read.key, takes_work: read.takes_work };
        let taking = self.follow.with(|state| state.causes.takes(now, connection, &read));
        match (taking, self.next()) {
            (Taking::Work, Some(number)) => Reading::Work(number),
            (Taking::Answer(ticket), Some(number)) => {
                self.expect(Unanswered { number, ticket, cause: None, pending: None });
                Reading::Reply(number)
            }
            _ => Reading::Other,
        }
    }

    fn handed_over(&mut self, now: UnixNanos, item: &ObservedItem<'_>) -> Option<SpanContext> {
        let (id, is_measured, connection) = (id_of_span(item.id), self.is_measured, &mut self.connection);
        let (interests, policy) = (self.interests.as_deref(), &self.follow.policy);
        self.follow.with(|state| {
            let trace = item.context.map(|context| context.span.trace_id.low_u64());
            let values = item.values.as_slice().iter().copied();
            let awaited = item.awaits.as_ref().zip(interests);
            let own = item.context.map(|context| Own { span: context.span, is_nobodys: false });
            let told =
                awaited.and_then(|(named, interests)| state.arrivals.wait(now, interests.number(), id, own, named));
            state.causes.item(now, connection, &QueueItem { id, trace, key: item.key, entry: item.entry }, values);
            let first = match &item.pending {
                Some(entry) => state.begin_entry(now, id, item, entry, is_measured),
                None => {
                    state.begin(now, id, item.context, is_measured, item.awaits.is_some());
                    None
                }
            };
            if let Some(context) = told {
                state.origin_found(now, id, None, context, false, &policy.current());
            }
            first
        })
    }

    fn acknowledged(&mut self, now: UnixNanos, ack: &ObservedAck<'_>) {
        self.follow.with(|state| {
            for id in ack.ids {
                let entry = state.waiting.entry(ack.database, ack.key, ack.group, *id);
                state.waiting.acknowledged(now, entry);
            }
            if ack.is_incomplete {
                state.waiting.missed_acknowledgements(now);
            }
        });
    }

    fn missed(&mut self, now: UnixNanos) {
        self.follow.with(|state| state.causes.warm_up(now));
    }

    fn is_first(&mut self, item: SpanId, passage: Passage) -> bool {
        self.follow.look_up(|state| state.seen.is_first(item, passage))
    }

    fn waits(&mut self, now: UnixNanos, database: u32, keys: Bulks<'_, MAX_VALUES>) {
        self.follow.has_waited.store(true, Ordering::Relaxed);
        self.follow.with(|state| keys.as_slice().iter().for_each(|key| state.waited.waits(now, database, key)));
    }

    fn is_waited_for(&mut self, now: UnixNanos, database: u32, key: &[u8]) -> bool {
        // Most services that add to lists wait for nothing themselves.
        self.follow.has_waited.load(Ordering::Relaxed)
            && self.follow.with(|state| state.waited.uses(now, database, key))
    }

    fn not_added(&mut self, item: SpanId) {
        self.follow.look_up(|state| state.seen.not_added(item));
    }

    fn adds_id(&mut self, now: UnixNanos, item: &NamedItem, by: SpanId) -> bool {
        let Some(interests) = &self.interests else { return false };
        self.follow.look_up(|state| state.arrivals.adds_id(now, interests.number(), item.name, by))
    }

    fn id_not_added(&mut self, name: TraceId) {
        if let Some(interests) = &self.interests {
            self.follow.look_up(|state| state.arrivals.id_not_added(interests.number(), name));
        }
    }

    fn injected(&mut self, publish: CommandId, span: SpanId) {
        let id = self.id(publish);
        self.follow.with(|state| state.contexts.published(span, id));
    }

    fn replied(&mut self, now: UnixNanos, command: CommandId, values: Bulks<'_, MAX_VALUES>) -> Vec<SpanContext> {
        let Some(at) = self.unanswered.iter().position(|unanswered| unanswered.number == command) else {
            return Vec::new();
        };
        // Commands before it whose replies never came are passed over.
        let Some(Unanswered { ticket, cause, pending, .. }) = self.unanswered.drain(..=at).next_back() else {
            return Vec::new();
        };
        self.follow.with(|state| {
            state.causes.reply(now, ticket, values.as_slice().iter().copied());
            cause.into_iter().for_each(|cause| state.waiting.work_of(cause, now));
        });
        let known = self.writers.as_ref().zip(pending);
        known.map(|(writers, pending)| writers.answered(pending, values.as_slice())).unwrap_or_default()
    }

    fn listens(&mut self, companion: Companion) {
        if let Some(interests) = &self.interests {
            interests.read(clock::now(), companion);
        }
    }

    fn told(&mut self, now: UnixNanos, item: &NamedItem) -> Told {
        let Some(interests) = &self.interests else { return Told::Nothing };
        interests.read(now, item.companion);
        if let Some(outbox) = self.outbox.as_ref().filter(|_| item.is_id) {
            outbox.taken(item.companion, item.name);
        }
        self.follow.look_up(|state| state.arrivals.told(now, interests.number(), item))
    }

    fn hears_of_messages(&self) -> bool {
        self.interests.is_some() && self.follow.are_messages_awaited.load(Ordering::Relaxed)
    }

    fn subscribed(&mut self, now: UnixNanos) {
        self.lateness.subscribed(now);
    }

    fn unsubscribed(&mut self, now: UnixNanos) {
        self.lateness.ended(now);
    }

    fn delivered(&mut self, now: UnixNanos, delivery: &ObservedDelivery<'_>) {
        let id = id_of_span(delivery.id);
        let awaited = delivery.awaits.as_ref().zip(self.interests.as_deref()).map(|(named, interests)| {
            let message = Message {
                delivery: id,
                subscription: (self.number, named.pattern.map_or(0, hash_of)),
                holds_id: named.holds_id,
                derived: named.derived,
                lateness: Arc::clone(&self.lateness),
            };
            (interests.number(), named, message)
        });
        self.follow.with(|state| {
            let publish = delivery.publish.map(|publish| publish.span_id);
            let trace = delivery.publish.or(delivery.context.map(|context| context.span));
            state.causes.message(
                now,
                &Delivery {
                    id,
                    trace: trace.map(|span| span.trace_id.low_u64()),
                    publish: publish.and_then(|publish| state.contexts.publish(publish)),
                    channel: delivery.channel,
                    payload: delivery.payload,
                },
            );
            let waits = awaited.is_some_and(|(redis, named, message)| {
                let own = Own { span: named.span, is_nobodys: delivery.context.is_none() };
                state.await_context(now, redis, named.name, message, own)
            });
            state.begin(now, id, delivery.context, self.is_measured, waits);
        });
    }
}

/// Its subscriptions end with it.
impl Drop for FollowedConnection {
    fn drop(&mut self) {
        self.lateness.ended(clock::now());
    }
}

/// Shows nothing of what is known.
impl fmt::Debug for FollowedConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FollowedConnection").field("number", &self.number).finish_non_exhaustive()
    }
}

/// Tells the patterns of one connection apart.
fn hash_of(pattern: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    pattern.hash(&mut hasher);
    hasher.finish().max(1)
}

impl State {
    /// A message is delivered that carries no context. Returns whether it waits for one.
    fn await_context(&mut self, now: UnixNanos, redis: u64, name: TraceId, mut message: Message, own: Own) -> bool {
        let (delivery, is_likely) = (message.delivery, self.messages.is_likely(now, redis));
        // Of bytes that come again nobody can tell which publish they come from.
        let is_again = |derived: SpanContext| !self.seen.is_first(derived.span_id, Passage::Taken);
        let is_again = self.messages.is_first(redis, name) && message.derived.is_some_and(is_again);
        if is_again || own.is_nobodys && !is_likely {
            message.derived = None;
        }
        let waits = self.messages.delivered(now, redis, name, message);
        if waits {
            self.arrivals.wait_for_message(now, delivery, Some(own), is_likely);
        }
        waits
    }

    /// A message or an item is handed over to the service, whose span waits for the work that comes of it.
    /// Whether it is recorded is not known while it `waits` for its context.
    fn begin(&mut self, now: UnixNanos, id: u64, context: Option<&Context>, is_measured: bool, waits: bool) {
        let is_recorded = self.remember(now, id, context).is_some() || waits;
        if is_recorded || is_measured {
            self.waiting.delivery_begins(now, id, is_recorded);
        }
    }

    /// An entry of a stream is handed over, whose span waits for its acknowledgement. Returns the span of its first delivery.
    fn begin_entry(
        &mut self,
        now: UnixNanos,
        id: u64,
        item: &ObservedItem<'_>,
        pending: &PendingEntry<'_>,
        is_measured: bool,
    ) -> Option<SpanContext> {
        let recorded = self.remember(now, id, item.context);
        let span = recorded.or(item.context.filter(|_| item.awaits.is_some()).map(|context| context.span));
        let entry = self.waiting.entry(pending.database, item.key, pending.group, pending.id);
        let first = self.waiting.delivered_again(entry, pending.is_redelivery);
        if span.is_some() || is_measured {
            self.waiting.entry_begins(now, entry, id, span);
        }
        first
    }

    /// Remembers the context of what is handed over. Returns its span, if that is recorded.
    fn remember(&mut self, now: UnixNanos, id: u64, context: Option<&Context>) -> Option<SpanContext> {
        let context = context?;
        self.contexts.insert(now, id, context.clone());
        Some(context.span).filter(|span| span.flags.is_sampled())
    }

    /// What an answer means to the span of the command: the id of the cause, and the contexts.
    fn attribute(&mut self, now: UnixNanos, command: u64, answer: Option<Answer>) -> (Option<u64>, Attribution) {
        let mut attribution = Attribution::default();
        match answer {
            Some(Answer::Cause { id, rule }) => {
                self.waiting.work_of(id, now);
                if self.is_held(command, vec![id], Some(rule.name())) {
                    attribution.is_undecided = true;
                    return (Some(id), attribution);
                }
                attribution.cause = self.contexts.get(id).map(|context| (context.clone(), rule.name()));
                return (Some(id), attribution);
            }
            Some(Answer::Batch(causes)) => {
                attribution.is_undecided = self.is_held(command, causes.as_slice().to_vec(), None);
                if !attribution.is_undecided {
                    attribution.links = self.links(causes.as_slice());
                }
                causes.as_slice().iter().for_each(|id| self.waiting.work_of(*id, now));
            }
            Some(Answer::OneOf(causes)) => {
                if self.arrivals.may_tell(causes.as_slice()) {
                    attribution.links = self.links(causes.as_slice());
                }
                attribution.is_undecided = true;
            }
            Some(Answer::Unknown(Reason::Several | Reason::Work | Reason::Contradiction)) => {
                attribution.is_undecided = true;
            }
            Some(Answer::Unknown(_)) | None => {}
        }
        (None, attribution)
    }
}

impl State {
    fn links(&self, causes: &[u64]) -> Vec<SpanContext> {
        causes.iter().filter_map(|id| Some(self.contexts.get(*id)?.span)).collect()
    }

    /// Whether a command waits until the traces of its causes are certain.
    fn is_held(&mut self, command: u64, causes: Vec<u64>, rule: Option<&'static str>) -> bool {
        !self.arrivals.may_tell(&causes) && self.arrivals.hold(Held { command, causes, rule }).is_none()
    }
}

#[cfg(test)]
mod tests;
