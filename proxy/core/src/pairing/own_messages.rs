//! The messages that a RESP2 transaction publishes to its own connection.
//!
//! RESP2's subscriber mode refuses a publish, except in a transaction that was open before the subscription. A Redis older
//! than 7.2 sends such a message before the reply to its publish. Later ones, and Valkey, send it behind the transaction, in
//! the form of the protocol that was in use when it was published, even if the transaction has unsubscribed or switched
//! the protocol since. There it looks like the reply to a later command, so it has to be known how many there are. That
//! follows from the subscriptions that the transaction itself has made, and from the channel.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;

use super::Pairing;
use crate::commands::Answer;
use crate::glob::Glob;
use crate::service::SubscriptionKind::{self, Channel, Pattern, Shard};
use crate::trace::SpanId;

/// Most bytes of names that are kept for one connection, of each kind: channels of publishes, and subscriptions. Beyond that
/// they count as unknown.
const MAX_NAME_BYTES: usize = 64 * 1024;

/// The bytes that a kept name takes besides its own.
const NAME_OVERHEAD: usize = 32;

/// Most spans of publishes that are kept for one connection.
const MAX_SPANS: usize = 1024;

/// The beginnings of the channels on which Redis itself publishes when a command changes a key.
const NOTIFYING: [&[u8]; 3] = [b"__key", b"__subkey", b"__redis__:"];

#[derive(Debug, Default)]
pub(super) struct OwnMessages {
    /// The channels of publishes that stand behind a subscription in a transaction; `None` if a name is not known.
    channels: Names<(bool, Option<Box<[u8]>>)>,
    /// How many entries refer to `channels`.
    waiting: usize,
    /// Whether the server is answering an `EXEC`, one reply for each command of the transaction.
    running: bool,
    /// The subscriptions of the connection while a transaction runs that began without any; `None` if they are not known.
    subscriptions: Option<Names<(SubscriptionKind, Box<[u8]>)>>,
    /// How many messages come right behind the running transaction, or behind the one that has just ended.
    due: u64,
    /// Whether further ones may come there that the proxy did not see being published.
    pub(super) unseen: bool,
    /// The spans whose contexts were added to the latest of these publishes. A message with one of them is no reply.
    spans: VecDeque<SpanId>,
    /// Whether a client's own message comes before the reply to its publish; `None` while nothing has shown it.
    pub(super) come_first: Option<bool>,
}

#[derive(Debug)]
struct Names<T> {
    all: Vec<T>,
    bytes: usize,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { all: Vec::new(), bytes: 0 }
    }
}

impl<T> Names<T> {
    /// Whether a name of `len` bytes may be kept too.
    fn has_room_for(&mut self, len: usize) -> bool {
        self.bytes = self.bytes.saturating_add(len).saturating_add(NAME_OVERHEAD);
        self.bytes <= MAX_NAME_BYTES
    }
}

impl OwnMessages {
    /// The bytes that names and spans take.
    pub(super) fn bytes(&self) -> usize {
        let subscriptions = self.subscriptions.as_ref().map_or(0, |subscriptions| subscriptions.bytes);
        (self.channels.bytes + subscriptions).min(2 * MAX_NAME_BYTES) + self.spans.capacity() * size_of::<SpanId>()
    }

    /// Keeps the span whose context was added to a publish that the connection may get itself.
    pub(super) fn keep_span(&mut self, span: SpanId) {
        if self.spans.len() >= MAX_SPANS {
            self.spans.pop_front();
        }
        self.spans.push_back(span);
    }

    /// Whether a context was added to a publish that the connection may have got itself, and that is known by this span.
    pub(super) fn has_span(&self, span: SpanId) -> bool {
        self.spans.contains(&span)
    }

    /// Whether any such span is known.
    pub(super) fn has_spans(&self) -> bool {
        !self.spans.is_empty()
    }

    /// Whether messages may come next that belong to the transaction that has just ended.
    pub(super) fn are_due(&self) -> bool {
        self.due > 0 || self.unseen
    }

    /// Takes note of a reply behind a transaction, so that no message of its own comes any more.
    pub(super) fn forget_due(&mut self) {
        (self.due, self.unseen) = (0, false);
    }

    /// A message has come that may be one of them.
    pub(super) fn came(&mut self) {
        self.due = self.due.saturating_sub(1);
    }

    /// The pairing is lost. Only the spans still tell a message.
    pub(super) fn lose(&mut self) {
        *self = Self { spans: mem::take(&mut self.spans), ..Self::default() };
    }

    /// Keeps the channel of a publish, and returns its place.
    pub(super) fn keep_channel(&mut self, channel: Option<&[u8]>, sharded: bool) -> u32 {
        if self.waiting == 0 && !self.are_due() {
            self.spans = VecDeque::new();
        }
        self.waiting += 1;
        let channel = channel.filter(|channel| self.channels.has_room_for(channel.len()));
        // Without a name, one place serves all that follow.
        if channel.is_some() || self.channels.all.last().is_none_or(|(_, last)| last.is_some()) {
            self.channels.all.push((sharded, channel.map(Box::from)));
        }
        u32::try_from(self.channels.all.len() - 1).unwrap_or(u32::MAX)
    }

    /// A publish whose channel was kept is answered, or never will be.
    pub(super) fn forget_channel(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
        if self.waiting == 0 {
            self.channels = Names::default();
        }
    }

    /// A transaction begins on a connection that has subscriptions if `subscribed`.
    pub(super) fn transaction_begins(&mut self, subscribed: bool) {
        self.running = true;
        self.subscriptions = (!subscribed).then(Names::default);
    }

    /// The transaction has ended.
    pub(super) fn transaction_ends(&mut self) {
        self.running = false;
        self.subscriptions = None;
    }

    /// Within the transaction, a subscription has begun or ended. `name` is `None` if it is too long to be kept.
    pub(super) fn confirmed(&mut self, kind: SubscriptionKind, begun: bool, name: Option<&[u8]>) {
        let Some(subscriptions) = &mut self.subscriptions else { return };
        let Some(name) = name else {
            self.subscriptions = None;
            return;
        };
        let known = subscriptions.all.iter().position(|(other, known)| *other == kind && **known == *name);
        match (begun, known) {
            (true, None) if subscriptions.has_room_for(name.len()) => subscriptions.all.push((kind, name.into())),
            (true, None) => self.subscriptions = None,
            (false, Some(at)) => drop(subscriptions.all.swap_remove(at)),
            _ => {}
        }
    }

    /// How many messages the connection itself gets by the publish whose channel is kept at `place`; `None` if that is not
    /// known.
    pub(super) fn received(&self, place: u32) -> Option<u64> {
        let (sharded, channel) = self.channels.all.get(usize::try_from(place).ok()?)?;
        let channel = channel.as_deref()?;
        let mut messages = 0;
        for (kind, name) in &self.subscriptions.as_ref()?.all {
            messages += u64::from(match kind {
                Channel => !sharded && **name == *channel,
                Pattern => !sharded && matches(name, channel)?,
                Shard => *sharded && **name == *channel,
            });
        }
        Some(messages)
    }

    /// Whether the subscriptions may get what Redis itself publishes when a command changes a key.
    pub(super) fn may_be_notified(&self) -> bool {
        let reserved = |(kind, name): &(SubscriptionKind, Box<[u8]>)| match kind {
            Channel => NOTIFYING.iter().any(|beginning| name.starts_with(beginning)),
            Pattern => begins_like_reserved(name),
            Shard => false,
        };
        self.subscriptions.as_ref().is_none_or(|subscriptions| subscriptions.all.iter().any(reserved))
    }
}

impl Pairing {
    /// How many RESP2 messages a publish with this answer sends to the connection itself, and forgets its channel; `None` if
    /// that is not known.
    pub(super) fn own_messages_of(&mut self, answer: Answer) -> Option<u64> {
        // Subscriber mode refuses a publish, except in a transaction that was open before.
        let gets_none = !answer.is_publish() || !self.own_messages.running || !self.in_subscriber_mode();
        let Answer::PublishesToItself { channel } = answer else { return gets_none.then_some(0) };
        let own = if gets_none { Some(0) } else { self.own_messages.received(channel) };
        self.own_messages.forget_channel();
        own
    }

    /// A publish has been executed and has sent `own` RESP2 messages to the connection itself, of as many `receivers` as Redis
    /// has reported. They come behind the transaction, unless they have come already.
    pub(super) fn expect_own_messages(&mut self, own: Option<u64>, receivers: Option<u64>) {
        let most = receivers.unwrap_or(u64::MAX);
        if own == Some(0) || most == 0 || self.own_messages.come_first == Some(true) {
            return;
        }
        match own {
            Some(own) => {
                self.own_messages.come_first = Some(false);
                self.own_messages.due = self.own_messages.due.saturating_add(own.min(most));
            }
            None => self.own_messages.unseen = true,
        }
    }

    /// Whether a command of the running transaction may send messages to the connection that the proxy did not see being
    /// published: a script may publish, and Redis itself when a key changes.
    pub(super) fn publishes_unseen(&self) -> bool {
        let in_question = !self.executing.is_empty() && self.in_subscriber_mode() && !self.muted;
        in_question && (self.executing_scripts || self.own_messages.may_be_notified())
    }

    /// Whether the next array may as well be a message of the connection's own as a reply.
    pub(super) fn cannot_tell_own_messages(&self) -> bool {
        if let Some(front) = self.executing.front() {
            return matches!(front.answer, Answer::Replies(_) | Answer::Entries { .. })
                && self.own_messages.come_first != Some(false)
                && self.publishes_unseen();
        }
        self.own_messages.due == 0
            && self.own_messages.unseen
            && !self.in_subscriber_mode()
            && self.queue.front().is_some_and(|front| may_be_answered_by_an_array(front.answer))
    }
}

fn may_be_answered_by_an_array(answer: Answer) -> bool {
    !answer.is_publish()
        && !matches!(
            answer,
            Answer::Multi
                | Answer::Discard
                | Answer::Reset
                | Answer::Select(_)
                | Answer::SetName(_)
                | Answer::Confirmations { .. }
        )
}

/// Whether a pattern matches a channel; `None` if servers might not agree on that.
fn matches(pattern: &[u8], channel: &[u8]) -> Option<bool> {
    let glob = Glob::new(core::str::from_utf8(pattern).ok()?).ok()?;
    Some(glob.matches(channel))
}

/// Whether a pattern may match a name that begins with `__`.
fn begins_like_reserved(pattern: &[u8]) -> bool {
    for byte in pattern.iter().take(2) {
        match byte {
            b'*' | b'?' | b'[' | b'\\' => return true,
            b'_' => {}
            _ => return false,
        }
    }
    pattern.len() >= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_receivers_follow_from_the_subscriptions_of_the_transaction() {
        let mut own = OwnMessages::default();
        let [plain, sharded] = [false, true].map(|sharded| own.keep_channel(Some(b"news"), sharded));
        assert_eq!(own.received(plain), None, "no transaction runs");
        own.transaction_begins(false);
        for (kind, name) in
            [(Channel, &b"news"[..]), (Channel, b"news"), (Pattern, b"n*"), (Pattern, b"x*"), (Shard, b"news")]
        {
            own.confirmed(kind, true, Some(name));
        }
        assert_eq!((own.received(plain), own.received(sharded)), (Some(2), Some(1)));
        own.confirmed(Pattern, false, Some(b"n*"));
        assert_eq!(own.received(plain), Some(1));
        own.confirmed(Channel, true, None);
        assert_eq!(own.received(plain), None);
        own.transaction_begins(true);
        assert_eq!(own.received(plain), None);
    }

    #[test]
    fn names_are_kept_up_to_a_bound_and_given_back() {
        let mut own = OwnMessages::default();
        own.transaction_begins(false);
        let places: Vec<_> = (0..100_000).map(|_| own.keep_channel(Some(&[b'x'; 1000]), false)).collect();
        assert!(own.channels.all.len() < 70);
        assert_eq!((own.received(places[0]), own.received(places[99_999])), (Some(0), None));
        places.iter().for_each(|_| own.forget_channel());
        assert_eq!(own.channels.all.capacity(), 0);
        for name in 0..10_000_u32 {
            own.confirmed(Channel, true, Some(&name.to_be_bytes()));
        }
        assert!(own.subscriptions.is_none());
    }

    #[test]
    fn patterns_that_match_names_of_redis() {
        for pattern in ["*", "?_x", "[_]_*", "__key*", "_*", "_?", "\\_*", "__"] {
            assert!(begins_like_reserved(pattern.as_bytes()), "{pattern}");
        }
        for pattern in ["", "_", "a*", "_a*", "x"] {
            assert!(!begins_like_reserved(pattern.as_bytes()), "{pattern}");
        }
    }
}
