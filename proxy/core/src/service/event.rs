//! What a session reports, besides bytes and counts.

use alloc::vec::Vec;

use crate::trace::{SpanRecord, UnixNanos};

/// Something that happened on a connection and matters to others.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A span has ended.
    SpanEnded(SpanRecord),
    /// A message is among the bytes to send. Its consumer span ends when these bytes have been written, and the caller
    /// sets that end.
    Delivered(SpanRecord),
    /// The connection's subscriptions have changed.
    Subscription(SubscriptionChange),
    /// Redis reported another number of receivers than this evidence led to expect
    /// ([`ExpectedReceivers::evidence`](super::ExpectedReceivers::evidence)).
    Contradicted(u64),
    /// A publish without a span was answered after so many nanoseconds, counted from its first byte. Only publishes that
    /// were sent while nothing else was unanswered are timed. Those with a span tell their times themselves.
    RoundTrip(u64),
    /// A message was delivered that had been published at this time, by the wall clock of its publisher's proxy
    /// ([`Policy::transit_time`](crate::Policy::transit_time)).
    PublishedAt(UnixNanos),
}

/// A change of what the connection is subscribed to, as the server has confirmed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriptionChange {
    /// The server has confirmed a command that subscribes or unsubscribes.
    Confirmed {
        /// What is subscribed to.
        kind: SubscriptionKind,
        /// Whether the subscription has begun or ended. It may have been so before.
        begun: bool,
        /// The channel's name or the pattern.
        name: Vec<u8>,
        /// The server's count after this change: of channels and patterns together, or of shard channels.
        count: u64,
    },
    /// `RESET` has ended all subscriptions.
    Reset,
    /// From here on it is not known what the connection is subscribed to, or not certain that every message is searched.
    /// No change is reported after this one.
    Untracked,
}

/// The three kinds of subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SubscriptionKind {
    /// `SUBSCRIBE`
    Channel,
    /// `PSUBSCRIBE`
    Pattern,
    /// `SSUBSCRIBE`
    Shard,
}
