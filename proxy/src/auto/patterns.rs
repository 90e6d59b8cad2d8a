//! The receivers of messages on channels that Redis has not been asked about: subscribers of patterns.
//!
//! A channel that is used once, on which nobody but subscribers of a pattern listens, has no announcement of its own, and its name
//! is not known before the only publish on it. Two facts together tell its receivers all the same: every subscription to a
//! pattern is proven to be behind a proxy, and the channel was not among all channels that anybody was subscribed to. Whoever
//! subscribes to it later is seen by the reply to the publish, as on any other channel.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redistributed_core::glob::Glob;

/// The announced subscriptions of each pattern. The glob is `None` if this program may not read the pattern as Redis does.
#[derive(Debug, Default)]
pub struct PatternCounts(Vec<(Option<Glob>, u64)>);

impl PatternCounts {
    /// Takes each pattern with the number of subscriptions to it.
    pub fn new<'a>(counts: impl Iterator<Item = (&'a [u8], u64)>) -> Self {
        let compile = |pattern: &[u8]| std::str::from_utf8(pattern).ok().and_then(|pattern| Glob::new(pattern).ok());
        Self(counts.map(|(pattern, count)| (compile(pattern), count)).collect())
    }

    /// The number of subscriptions whose pattern may match `channel`.
    pub fn matching(&self, channel: &[u8]) -> u64 {
        let may_match = |glob: &Option<Glob>| glob.as_ref().is_none_or(|glob| glob.matches(channel));
        self.0.iter().filter(|(glob, _)| may_match(glob)).map(|(_, count)| count).sum()
    }

    /// The number of all subscriptions.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }
}

/// Subscriptions to patterns that are all known to be behind proxies.
#[derive(Clone, Debug)]
pub struct PatternReceivers {
    /// The subscriptions.
    pub counts: Arc<PatternCounts>,
    /// The length in bytes of the longest message that all of their proxies search for a context.
    pub search_limit: u64,
}

/// What is known of the receivers on channels that Redis has not been asked about.
#[derive(Debug, Default)]
pub struct PatternEvidence {
    known: Option<Known>,
    /// Whether a subscription to a pattern has ended, or the evidence was contradicted, since that was last asked.
    invalidated: AtomicBool,
}

#[derive(Debug)]
struct Known {
    receivers: PatternReceivers,
    /// All channels that anybody was subscribed to.
    active: Arc<HashSet<Vec<u8>>>,
    fresh_until: u64,
}

impl PatternEvidence {
    /// The number of receivers of a message on `channel` at the time `now`, and the longest payload in bytes that all of them
    /// search for a context.
    pub fn receivers(&self, channel: &[u8], now: u64) -> Option<(u32, usize)> {
        let known = self.known.as_ref().filter(|known| now <= known.fresh_until && !known.active.contains(channel))?;
        let count = u32::try_from(known.receivers.counts.matching(channel)).ok().filter(|count| *count > 0)?;
        let is_void = self.invalidated.load(Ordering::Acquire);
        let max_payload = usize::try_from(known.receivers.search_limit).unwrap_or(usize::MAX);
        (!is_void).then_some((count, max_payload))
    }

    /// Voids the evidence, because a subscription to a pattern has ended, or a reply has contradicted it. What was shown after
    /// the publish is void too: it may rest on a list of channels from before.
    pub fn invalidate(&self) {
        self.invalidated.store(true, Ordering::Release);
    }

    /// Whether the evidence was voided since the previous call. What is voided later outlasts the [`update`](Self::update)
    /// that follows.
    pub fn take_invalidated(&mut self) -> bool {
        let invalidated = std::mem::take(self.invalidated.get_mut());
        if invalidated {
            self.known = None;
        }
        invalidated
    }

    /// Replaces the evidence by what a snapshot has shown, which holds until `fresh_until`.
    pub fn update(&mut self, shown: Option<(PatternReceivers, Arc<HashSet<Vec<u8>>>)>, fresh_until: u64) {
        if *self.invalidated.get_mut() {
            return;
        }
        self.known = shown.map(|(receivers, active)| Known { receivers, active, fresh_until });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown() -> (PatternReceivers, Arc<HashSet<Vec<u8>>>) {
        let counts = PatternCounts::new([(&b"saq:job:*"[..], 2), (b"*", 1), (b"x[", 4)].into_iter());
        (PatternReceivers { counts: Arc::new(counts), search_limit: 1000 }, Arc::new([b"saq:job:1".to_vec()].into()))
    }

    #[test]
    fn receivers_are_known_of_channels_that_nobody_was_subscribed_to() {
        let mut evidence = PatternEvidence::default();
        assert_eq!(evidence.receivers(b"saq:job:2", 7), None);
        evidence.update(Some(shown()), 7);
        assert_eq!(evidence.receivers(b"saq:job:2", 7), Some((7, 1000)), "the pattern that cannot be read may match");
        assert_eq!(evidence.receivers(b"saq:job:1", 7), None, "somebody is subscribed to the channel itself");
        assert_eq!(evidence.receivers(b"saq:job:2", 8), None, "it was shown too long ago");
        evidence.update(None, 9);
        assert_eq!(evidence.receivers(b"saq:job:2", 7), None);
    }

    #[test]
    fn evidence_is_void_once_it_is_contradicted_and_until_it_is_shown_anew() {
        let mut evidence = PatternEvidence::default();
        evidence.update(Some(shown()), 7);
        assert!(evidence.receivers(b"a", 7).is_some());
        evidence.update(Some(shown()), 7);
        evidence.invalidate();
        assert_eq!(evidence.receivers(b"a", 7), None);
        evidence.update(Some(shown()), 7);
        assert_eq!(evidence.receivers(b"a", 7), None, "that snapshot was asked for before");
        assert!(evidence.take_invalidated() && !evidence.take_invalidated());
        assert_eq!(evidence.receivers(b"a", 7), None);
        evidence.update(Some(shown()), 7);
        assert!(evidence.receivers(b"a", 7).is_some());
    }
}
