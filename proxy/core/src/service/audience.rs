//! The receivers of a publish, as far as they are known, for mode `auto`.
//!
//! A session has no I/O and cannot ask Redis who subscribes. The shell asks on connections of its own, and the session
//! gets its answers through [`Audience`].

use core::fmt::Debug;

use crate::counts::Counter;

/// Knows the receivers of what is published.
pub trait Audience: Debug + Send + Sync {
    /// The receivers of a message that is published on `channel` now, by `SPUBLISH` if `sharded`.
    ///
    /// # Errors
    ///
    /// [`NotProven`] says why it is not certain that every receiver is behind a proxy that removes contexts.
    fn expected_receivers(&self, channel: &[u8], sharded: bool) -> Result<ExpectedReceivers, NotProven>;

    /// Whether no client is known to be subscribed to a pattern that may match the channels on which proxies tell each other contexts
    /// ([`CompanionChannel`](crate::carrier::out_of_band::CompanionChannel)). As long as it is not known, nothing is told in
    /// [`Mode::Auto`](crate::policy::Mode::Auto), so that nobody gets messages that nobody has published.
    fn companions_are_unseen(&self) -> bool {
        false
    }
}

/// The receivers of a publish, all of which are known to be behind a proxy that removes contexts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedReceivers {
    /// The number of receivers that Redis will report unless somebody else subscribes meanwhile. A reply with another
    /// number contradicts the evidence.
    pub count: u32,
    /// The longest payload, in bytes and with its context, that all of these proxies search for a context.
    pub max_payload: usize,
    /// The number of the evidence that the answer rests on. [`Event::Contradicted`](super::Event::Contradicted) names it
    /// if a reply contradicts the evidence.
    pub evidence: u64,
}

/// Why a context must not be added in [`Mode::Auto`](crate::policy::Mode::Auto).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotProven {
    /// Redis has not been asked lately, has not been asked about this channel yet, or did not answer.
    NoEvidence,
    /// A subscriber of the channel is not known to be behind a proxy.
    Unproxied,
    /// A subscriber of a matching pattern is not known to be behind a proxy.
    Pattern,
    /// A replica is connected to Redis. Its subscribers receive messages too, and Redis does not count them.
    Replicas,
    /// Redis is a cluster, where other nodes have subscribers too.
    Cluster,
    /// The channel has no subscriber.
    Nobody,
    /// The evidence is good, but has not stood for long enough.
    Proving,
    /// Redis reported another number of receivers than the evidence led to expect.
    Contradicted,
    /// The publish is queued in a transaction, waits for a command that blocks, or gets no reply. So Redis may execute it
    /// much later, or its reply cannot be told from others. Or it follows a subscription in the same transaction, which
    /// nobody knows of yet.
    Order,
}

impl NotProven {
    /// The counter of publishes without a context for this reason.
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
