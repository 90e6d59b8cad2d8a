//! What has one name and comes within one moment: contexts that other proxies tell, and messages by the subscriptions that get
//! them.
//!
//! A server executes the publishes of one connection in their order, and sends the messages to each subscription in the order in
//! which they were executed. So if all contexts come from one connection, and a subscription that was there all the time has got
//! as many messages, these are the same publishes: the first message is of the first context, and so on. What would make that
//! untrue puts the window in doubt:
//!
//! - contexts from two connections, whose order nobody knows
//! - more messages than contexts or fewer, as when somebody publishes without a proxy, or when a subscription begins or ends in
//!   between
//! - a client that may have got less than was published, or later: its subscription was young when the window began, be it by a
//!   context, it has ended one, or it does not take what comes

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use redistributed_core::trace::{Context, PublishNumber, SpanContext, UnixNanos};

use super::{Decided, Found, Message, PATIENCE, QUIET, QUIET_WITH_ID, Subscription};
use crate::follow::lateness::Lateness;

/// The most messages and contexts of one window. With more, nothing of it is matched.
pub(super) const MAX_OF_WINDOW: usize = 4096;

/// What has one name, while it is not decided which message is whose.
#[derive(Debug)]
pub(super) struct Window {
    began: UnixNanos,
    /// When the last message or context came.
    last: UnixNanos,
    /// Each once, however often it was told, in the order of its connection.
    contexts: BTreeMap<PublishNumber, Context>,
    received: HashMap<Subscription, Received>,
    /// The number of messages and contexts.
    size: usize,
    /// Whether a subscription has got several messages.
    has_repeats: bool,
    /// Whether a client has got a message that may have been published some time ago.
    has_late: bool,
    holds_id: bool,
    /// What the spans of all messages are linked to if nothing is told.
    derived: Option<SpanContext>,
    is_in_doubt: bool,
}

/// What one subscription has got.
#[derive(Debug)]
struct Received {
    /// The ids of the deliveries' spans, in order.
    deliveries: Vec<u64>,
    lateness: Arc<Lateness>,
}

impl Window {
    /// Nothing has come yet.
    pub(super) fn new(now: UnixNanos) -> Self {
        Self {
            began: now,
            last: now,
            contexts: BTreeMap::new(),
            received: HashMap::new(),
            size: 0,
            has_repeats: false,
            has_late: false,
            holds_id: false,
            derived: None,
            is_in_doubt: false,
        }
    }

    /// Something comes now.
    pub(super) fn touch(&mut self, now: UnixNanos, holds_id: bool) {
        self.last = now;
        self.holds_id |= holds_id;
        self.size += 1;
        self.is_in_doubt |= self.size > MAX_OF_WINDOW;
    }

    /// A subscription has got a further message.
    pub(super) fn add_message(&mut self, message: Message, is_late: bool) {
        let Message { delivery, subscription, lateness, derived, .. } = message;
        if self.received.is_empty() {
            self.derived = derived;
        }
        let received = self.received.entry(subscription);
        let received = received.or_insert_with(|| Received { deliveries: Vec::new(), lateness });
        received.deliveries.push(delivery);
        self.has_repeats |= received.deliveries.len() > 1;
        self.has_late |= is_late;
    }

    /// The context of this publish was told. It may be told again, for another subscription of the service.
    pub(super) fn add_context(&mut self, publish: PublishNumber, context: Context) {
        let known = self.contexts.entry(publish).or_insert_with(|| context.clone());
        self.is_in_doubt |= *known != context;
        let ends = self.contexts.first_key_value().zip(self.contexts.last_key_value());
        self.is_in_doubt |= ends.is_some_and(|((first, _), (last, _))| first.connection != last.connection);
    }

    /// Nothing of it can be matched.
    pub(super) fn put_in_doubt(&mut self) {
        self.is_in_doubt = true;
    }

    /// Whether nothing of it can be matched.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.is_in_doubt
    }

    /// Whether any subscription has got a message.
    pub(super) fn has_messages(&self) -> bool {
        !self.received.is_empty()
    }

    /// When it is over, unless each message has its context by then.
    pub(super) fn patience_ends(&self) -> UnixNanos {
        UnixNanos(self.began.0.saturating_add(PATIENCE))
    }

    /// Whether any context was told.
    pub(super) fn has_contexts(&self) -> bool {
        !self.contexts.is_empty()
    }

    /// The publishes whose contexts were told.
    pub(super) fn publishes(&self) -> impl Iterator<Item = PublishNumber> {
        self.contexts.keys().copied()
    }

    /// Whether no other message is likely to have the same bytes, because they hold an id and have come once.
    pub(super) fn relies_on_id(&self) -> bool {
        self.holds_id && !self.is_in_doubt && !self.has_repeats && self.contexts.len() <= 1
    }

    /// Whether each message has its context for certain, nothing has come for long enough, and nothing more can.
    pub(super) fn is_certain(&self, now: UnixNanos) -> bool {
        let quiet = if self.relies_on_id() { QUIET_WITH_ID } else { QUIET };
        self.is_matched() && now.0.saturating_sub(self.last.0) >= quiet && self.is_read()
    }

    /// Whether nothing is waited for any more. Where the same bytes are published all the time, there is no quiet moment.
    pub(super) fn is_over(&self, now: UnixNanos) -> bool {
        let longest = if self.is_matched() { PATIENCE + QUIET } else { PATIENCE };
        self.is_in_doubt || now.0.saturating_sub(self.began.0) >= longest
    }

    /// The messages, with their contexts if they are certain, or with that which follows from what names them if none was told and
    /// the bytes have come once.
    pub(super) fn decide(self, is_certain: bool) -> impl Iterator<Item = Decided> {
        let derived = self.derived.filter(|_| self.relies_on_id() && self.contexts.is_empty());
        let contexts: Vec<_> = self.contexts.into_values().collect();
        let deliveries = self.received.into_values().flat_map(|received| received.deliveries.into_iter().enumerate());
        deliveries.map(move |(nth, delivery)| {
            let told = contexts.get(nth).filter(|_| is_certain).cloned();
            let found = told.map(Found::Context).or(derived.map(Found::Derived)).unwrap_or(Found::Nothing);
            (delivery, found)
        })
    }

    /// Whether each subscription has got as many messages as there are contexts, all of which come from one connection.
    fn is_matched(&self) -> bool {
        let is_whole = |received: &Received| received.deliveries.len() == self.contexts.len();
        !self.is_in_doubt
            && (self.relies_on_id() || !self.has_late)
            && !self.contexts.is_empty()
            && !self.received.is_empty()
            && self.received.values().all(is_whole)
    }

    /// Whether all that had come when the last message or context came has been read, by subscriptions that were there all the
    /// time.
    fn is_read(&self) -> bool {
        let is_there = |lateness: &Lateness| self.relies_on_id() || lateness.is_unchanged_since(self.began);
        let mut all = self.received.values().map(|received| &received.lateness);
        all.all(|lateness| lateness.has_been_read_since(self.last) && is_there(lateness))
    }
}
