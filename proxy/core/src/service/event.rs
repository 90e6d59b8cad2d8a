//! The events that a session reports besides bytes and counts.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::trace::{SpanRecord, UnixNanos};

/// Something that happened on a connection and that the rest of the program has to know.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A span has ended. Its cause may still become known ([`Inferred::undecided`](crate::trace::Inferred::undecided)).
    SpanEnded(SpanRecord),
    /// A message is among the bytes to send. Its consumer span ends when these bytes have been written, and the caller
    /// has to set that time.
    Delivered(SpanRecord),
    /// The connection's subscriptions have changed.
    Subscription(SubscriptionChange),
    /// The client has given its connection this name, and Redis has confirmed it (`CLIENT SETNAME`, or `SETNAME` of `HELLO`). It has
    /// at most 128 characters, which are `!` to `~`. `None` if the connection has no name any more.
    ClientNamed(Option<Arc<str>>),
    /// Redis reported another number of receivers than was expected by the evidence with this number
    /// ([`ExpectedReceivers::evidence`](super::ExpectedReceivers::evidence)).
    Contradicted(u64),
    /// A publish without a span was answered after this time, in nanoseconds from its first byte. Only a publish that was
    /// sent while no other request was unanswered is timed. The span of a publish has its times.
    RoundTrip(u64),
    /// A message was delivered that was published at this time by the wall clock of its publisher's proxy. That
    /// proxy has [`Policy::transit_time`](crate::Policy::transit_time) set, and either this one has too or a key proves the time.
    PublishedAt(UnixNanos),
}

/// A change of the connection's subscriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriptionChange {
    /// The server has confirmed a command that subscribes or unsubscribes.
    Confirmed {
        /// Whether the command is about a channel, a pattern or a shard channel.
        kind: SubscriptionKind,
        /// Whether the connection is now subscribed. It may have been so before.
        begun: bool,
        /// The channel's name or the pattern.
        name: Vec<u8>,
        /// The server's count after this change: of channels and patterns together, or of shard channels.
        count: u64,
    },
    /// `RESET` has ended all subscriptions.
    Reset,
    /// The subscriptions are no longer known, or it is no longer certain that every message is searched for a context. No
    /// change is reported after this one.
    Untracked,
}

/// The three kinds of subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SubscriptionKind {
    /// A subscription to a channel (`SUBSCRIBE`).
    Channel,
    /// A pattern of channels (`PSUBSCRIBE`).
    Pattern,
    /// A subscription to a shard channel (`SSUBSCRIBE`).
    Shard,
}
