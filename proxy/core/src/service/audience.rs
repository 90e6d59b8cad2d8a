//! What is known of those who get what is published on a channel: the question that [`Mode::Auto`](crate::policy::Mode::Auto)
//! asks, and its answer. Whoever looks at Redis answers it; the session has no I/O.

use core::fmt::Debug;

use crate::counts::Counter;

/// Knows audiences.
pub trait Audiences: Debug + Send + Sync {
    /// Who gets what is published on `channel` now, by `SPUBLISH` if `sharded`.
    ///
    /// # Errors
    /// Not everybody is known to be behind a proxy that removes contexts.
    fn audience(&self, channel: &[u8], sharded: bool) -> Result<Audience, Unknown>;
}

/// An audience of which every member is known to be behind a proxy that removes contexts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audience {
    /// How many receivers Redis will report if nobody else has come: a reply that says otherwise is a contradiction.
    pub receivers: u32,
    /// Longest payload with its context, in bytes, that all of these proxies search.
    pub longest: usize,
    /// What [`Output::contradicted`](crate::Output::contradicted) will name.
    pub token: u64,
}

/// Why a context must not be added in [`Mode::Auto`](crate::policy::Mode::Auto).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unknown {
    /// Redis could not be asked, or not lately, or not about this channel yet.
    NoEvidence,
    /// Somebody subscribes who is not known to be behind a proxy.
    Unproxied,
    /// Somebody subscribes to a pattern who is not known to be behind a proxy.
    Pattern,
    /// A replica is connected: its subscribers get messages too, and cannot be counted here.
    Replicas,
    /// Redis is a cluster, where other nodes have subscribers too.
    Cluster,
    /// Nobody subscribes.
    Nobody,
    /// The evidence is good, but has not stood for long enough.
    Proving,
    /// Redis reported another number of receivers than the evidence led to expect.
    Contradicted,
    /// It may be long before Redis executes this publish, or its reply cannot be told apart: it is queued in a
    /// transaction, waits behind a command that blocks, or replies are off.
    Order,
}

impl Unknown {
    /// The counter of publishes that got no context for this reason.
    pub fn counter(self) -> Counter {
        match self {
            Self::NoEvidence => Counter::SkippedAutoUnknown,
            Self::Unproxied => Counter::SkippedAutoUnproxied,
            Self::Pattern => Counter::SkippedAutoPattern,
            Self::Replicas => Counter::SkippedAutoReplicas,
            Self::Cluster => Counter::SkippedAutoCluster,
            Self::Nobody => Counter::SkippedAutoNobody,
            Self::Proving => Counter::SkippedAutoProving,
            Self::Contradicted => Counter::SkippedAutoContradicted,
            Self::Order => Counter::SkippedAutoOrder,
        }
    }
}

/// The number of receivers that a publish was sent with a context for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Witness {
    pub(crate) receivers: u32,
    pub(crate) token: u64,
}

/// A change of what the connection is subscribed to, as the server has confirmed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subscription {
    /// A confirmation.
    Confirmed {
        /// Of what.
        kind: SubscriptionKind,
        /// Begun or ended. It may have been so before.
        begun: bool,
        /// The channel's name or the pattern.
        name: alloc::vec::Vec<u8>,
        /// What the server counts now: channels and patterns together, or shard channels.
        count: u64,
    },
    /// All have ended: `RESET`.
    Reset,
    /// From here on it is not known what the connection is subscribed to, or not certain that every message is searched.
    /// Nothing is reported after this.
    Unaccountable,
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
