//! The receivers of a publish, as far as somebody outside the connection knows them, for mode `auto`.
//!
//! A session has no I/O and cannot ask Redis who subscribes. The shell asks, on connections of its own, and answers
//! through [`Audience`].

use core::fmt::Debug;

use crate::counts::Counter;

/// Answers who receives what is published.
pub trait Audience: Debug + Send + Sync {
    /// The receivers of a message that is published on `channel` now, by `SPUBLISH` if `sharded`.
    ///
    /// # Errors
    /// It is not proven that every receiver is behind a proxy that removes contexts.
    fn expected_receivers(&self, channel: &[u8], sharded: bool) -> Result<ExpectedReceivers, NotProven>;
}

/// The receivers of a publish, all of which are known to be behind a proxy that removes contexts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedReceivers {
    /// The number of receivers that Redis will report unless somebody else subscribes meanwhile. A reply with another
    /// number contradicts the evidence.
    pub count: u32,
    /// The longest payload with its context, in bytes, that all of these proxies search.
    pub max_payload: usize,
    /// The evidence that the answer rests on, as [`Event::Contradicted`](super::Event::Contradicted) will name it.
    pub evidence: u64,
}

/// Why a context must not be added in [`Mode::Auto`](crate::policy::Mode::Auto).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotProven {
    /// Redis could not be asked, or not lately, or not about this channel yet.
    NoEvidence,
    /// A subscriber of the channel is not known to be behind a proxy.
    Unproxied,
    /// A subscriber of a matching pattern is not known to be behind a proxy.
    Pattern,
    /// A replica is connected. Its subscribers receive messages too, and cannot be counted here.
    Replicas,
    /// Redis is a cluster, where other nodes have subscribers too.
    Cluster,
    /// Nobody subscribes.
    Nobody,
    /// The evidence is good, but has not stood for long enough.
    Proving,
    /// Redis reported another number of receivers than the evidence led to expect.
    Contradicted,
    /// Redis may execute this publish much later, or its reply cannot be told apart: it is queued in a transaction,
    /// waits behind a command that blocks, or replies are off.
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
